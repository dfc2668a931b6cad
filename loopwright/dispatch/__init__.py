"""Acting on decisions: which call to make, when to try again, what its outcome means. Pure: the calls themselves are made in edges."""
