"""Reference agents: one folder per scenario."""
