"""What does it: the worker does one task, the executor hands tasks out; and what a user sees meanwhile."""
