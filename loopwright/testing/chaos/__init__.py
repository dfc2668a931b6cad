"""Kill anything at any moment, under load, and see whether every workflow is accounted for: `python -m loopwright.testing.chaos`.

A platform of its own, agents that take their time, a model that answers differently each time, two hundred workflows in flight, and SIGKILL
for one part after the other, by a schedule that follows from a seed. At the end a report of what held.
"""
