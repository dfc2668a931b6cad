"""Flink jobs: graph assembly alone."""
