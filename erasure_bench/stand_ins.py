"""What lies where a file should be when a download went wrong: a Git LFS pointer, a web page, nothing."""

from pathlib import Path

from erasure_bench.errors import BenchError

LFS_START = b"version https://git-lfs.github.com/spec/"
PAGE_STARTS = (b"<!doctype html", b"<html")
READ_BYTES = 512


def stand_in(path: Path) -> str | None:
    """What the file is instead of its content, with the way to get it; None where it may be the content.

    Raises OSError where it cannot be read.
    """
    with path.open("rb") as file:
        start = file.read(READ_BYTES)
    if not start:
        return "an empty file: the download or the copy failed; get it again"
    if start.startswith(LFS_START):
        return (
            "a Git LFS pointer, not the file itself: run `git lfs install` and `git lfs pull` in the clone "
            "that it comes from, or download the file itself"
        )
    if start.lstrip().lower().startswith(PAGE_STARTS):
        return "a web page, not the file itself: the download needed a login or another address; get it again"
    return None


def refuse_stand_in(path: Path) -> None:
    """Raises BenchError where the file is a stand-in or cannot be read."""
    try:
        found = stand_in(path)
    except OSError as error:
        raise BenchError(f"{path}: cannot be read: {error.strerror or error}") from error
    if found:
        raise BenchError(f"{path}: {found}")
