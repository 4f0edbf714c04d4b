"""Selective Amnesia: forgetting with generative replay and elastic weight consolidation."""
