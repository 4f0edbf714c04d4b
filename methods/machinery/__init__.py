"""What the method families share: training, parameters, cards, checks, user files. Names no family."""
