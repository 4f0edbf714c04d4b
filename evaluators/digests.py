"""sha256 of weights: what a number's protocol names them by."""

import hashlib
from functools import lru_cache
from pathlib import Path

from erasure_bench.stand_ins import refuse_stand_in


def sha256_of(path: Path) -> str:
    """Lower-case hex sha256 of a file, or of a folder (names and contents of its files, at any depth).

    Files are read once per process as long as size, both times, inode and device stay the same: a user
    can set a modification time back, not the time of the inode's last change. Raises
    `BenchError` where a download left something else in a file's place, such as a Git LFS pointer.
    """
    if path.is_dir():
        lines = (
            f"{file.relative_to(path).as_posix()} {sha256_of(file)}\n"
            for file in sorted(path.rglob("*"))
            if file.is_file() and "__pycache__" not in file.parts
        )
        return hashlib.sha256("".join(lines).encode()).hexdigest()
    stat = path.stat()
    key = (stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino, stat.st_dev)
    return _sha256_of_file(path.resolve(), key)


@lru_cache(maxsize=256)
def _sha256_of_file(path: Path, key: tuple[int, ...]) -> str:
    if key[0]:  # a package's empty __init__.py is what it should be
        refuse_stand_in(path)
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
