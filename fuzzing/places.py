"""Where the bytes of one input lie while they are parsed: one folder for the whole process."""

import atexit
import shutil
import tempfile
from functools import cache
from pathlib import Path

MEMORY, ROOM = Path("/dev/shm"), 1 << 30
"""Linux' disk in memory. Others write at once what replaces a file, which takes longer than to parse it."""


@cache
def folder() -> Path:
    """An empty folder, gone when the process ends; in memory where there is a GiB of room."""
    in_memory = MEMORY.is_dir() and shutil.disk_usage(MEMORY).free > ROOM
    made = Path(tempfile.mkdtemp(prefix="fuzz-", dir=MEMORY if in_memory else None))
    atexit.register(shutil.rmtree, made, ignore_errors=True)
    return made


def written(name: str, data: bytes) -> Path:
    """The file with these bytes."""
    path = folder() / name
    path.write_bytes(data)
    return path
