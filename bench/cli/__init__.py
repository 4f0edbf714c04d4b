"""The command line: words in, lines and exit codes out. Decides nothing that a script could not ask for."""
