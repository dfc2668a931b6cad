"""What happened, for people: a pure projection of the logs into one view per workflow and one ordered list of steps."""
