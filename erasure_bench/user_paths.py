"""Paths as users write them, where no shell has put in what they stand for."""

import os
from pathlib import Path

from erasure_bench.errors import BenchError


def user_path(text: str | os.PathLike[str]) -> Path:
    """The path with `~`, `~name`, `$NAME` and `${NAME}` replaced; a variable that is not set stays as it is.

    Raises BenchError where the system knows no such user, or no home.
    """
    path = Path(os.path.expandvars(text))
    try:
        return path.expanduser()
    except RuntimeError as error:
        raise BenchError(f"{path}: {path.parts[0]} is nobody's home folder; write the path out") from error
