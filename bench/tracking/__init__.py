"""Runs told to experiment trackers: one small interface, and what a run tells it."""
