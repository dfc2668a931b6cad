"""Flink adapters: thin shells round the core."""
