"""What a workflow is: its document, its state, the transitions that records may cause, and the fold over them. Pure."""
