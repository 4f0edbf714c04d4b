"""The microworld: a small drawn world with known labels, and the small text-to-image model trained on it."""
