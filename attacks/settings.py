"""Checks of attacks' settings."""


def at_least(least: float, **settings: float) -> None:
    """Raises ValueError where one of the settings is below `least`."""
    for name, value in settings.items():
        if value < least:
            raise ValueError(f"{name}={value:g}: at least {least:g}")
