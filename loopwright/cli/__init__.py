"""What a person types: the command `loopwright`."""
