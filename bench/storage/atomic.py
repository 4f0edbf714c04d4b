"""Files that are either all there or not there."""

import fcntl
import os
import secrets
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from erasure_bench.permissions import follow_umask

_TOKEN_BYTES = 6


def fsync_path(path: Path) -> None:
    """Asks the disk to keep a file's contents, or a folder's entries, before going on."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_atomically(path: Path, write: Callable[[Path], object]) -> None:
    """Lets `write` fill a temporary file beside `path`, then puts it in place: readers see old or new, whole.

    The temporary file is removed where `write` fails.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.stem}.{secrets.token_hex(_TOKEN_BYTES)}{path.suffix}")
    try:
        write(temporary)
        follow_umask(temporary)
        fsync_path(temporary)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    fsync_path(path.parent)


def remove_temporaries(folder: Path, names: Iterable[str]) -> None:
    """Removes what killed processes left of writing these files; nobody may be writing them meanwhile."""
    for name in map(Path, names):
        for left in folder.glob(f".{name.stem}.{'[0-9a-f]' * 2 * _TOKEN_BYTES}{name.suffix}"):
            left.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """`write_atomically` for text in UTF-8."""
    write_atomically(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Waits until no other process holds the folder; leaves no file behind.

    On a file system that knows no locks everyone goes on at once.
    """
    handle = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
