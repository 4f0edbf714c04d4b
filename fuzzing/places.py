"""Where the bytes of one input lie while they are parsed: one folder for the whole process."""

import atexit
import shutil
import tempfile
from functools import cache
from pathlib import Path


@cache
def folder() -> Path:
    """An empty folder, gone when the process ends."""
    made = Path(tempfile.mkdtemp(prefix="fuzz-"))
    atexit.register(shutil.rmtree, made, ignore_errors=True)
    return made


def written(name: str, data: bytes) -> Path:
    """The file with these bytes."""
    path = folder() / name
    path.write_bytes(data)
    return path
