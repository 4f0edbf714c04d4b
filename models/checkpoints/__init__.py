"""Weights that a user brings: every published format read safely, and edits written for other tools."""
