"""Agent definitions: what an agent promises, in which versions, and how a set of definitions differs from another. No network."""
