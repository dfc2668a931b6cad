"""Flink jobs of the peers that run on Flink: each as a user would write it by Flink's documentation alone."""
