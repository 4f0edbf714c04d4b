"""What is asked: options become a config, a config cells and tasks. Draws, trains and loads nothing."""
