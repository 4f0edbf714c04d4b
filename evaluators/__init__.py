"""Evaluators: they look at images and write scores. They know nothing of methods."""
