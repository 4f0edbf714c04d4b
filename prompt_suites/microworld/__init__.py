"""The suites of the built-in model: known concepts, known answers."""
