"""Checks of attacks' settings."""

import math


def at_least(least: float, **settings: float) -> None:
    """Raises ValueError where one of the settings is below `least`, or no number at all."""
    for name, value in settings.items():
        if not least <= value < math.inf:
            raise ValueError(f"{name}={value}: at least {least:g}, a finite number")


def probabilities(**settings: float) -> None:
    """Raises ValueError where one of the settings is none."""
    for name, value in settings.items():
        if not 0 <= value <= 1:
            raise ValueError(f"{name}={value}: a probability, 0 to 1")
