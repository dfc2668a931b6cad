"""Sales development: five agents that take a lead from a form to a sent mail. `python -m agents.sdr.serve` runs them."""
