"""Concepts and suites: what is erased, and the prompts that show whether it is gone."""
