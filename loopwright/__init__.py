"""A durable orchestrator for teams of AI agents."""
