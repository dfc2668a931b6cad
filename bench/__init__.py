"""Measurements: what is stated in the docs as a figure is measured here, by a command that anybody can run."""
