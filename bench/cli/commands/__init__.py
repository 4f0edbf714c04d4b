"""What each command does. Returns the exit code; mistakes are BenchErrors."""
