"""Runs that leave their machine: archives, entries of public folders, model cards, notebooks."""
