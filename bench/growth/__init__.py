"""How cost grows with what is kept, what is in flight, and what is given to work with: `python -m bench.growth`."""
