"""Transformations of suites: the same prompts in other words, drawn from the same noise."""
