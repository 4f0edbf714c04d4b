"""What installed packages offer besides our own: methods, evaluators and kinds of what an edit may hold."""

import functools
import sys
from importlib.metadata import entry_points


def offered(group: str) -> dict[str, str]:
    """The entry points of a group, `module:name` by name."""
    return dict(_offered(group, tuple(sys.path)))


@functools.cache
def _offered(group: str, search_path: tuple[str, ...]) -> dict[str, str]:
    """Of the packages on this search path: to read what all of them say takes hundredths of a second."""
    return {point.name: point.value for point in entry_points(group=group)}
