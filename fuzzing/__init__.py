"""Every parser that reads what others wrote, given what nobody would write: `python -m fuzzing`."""
