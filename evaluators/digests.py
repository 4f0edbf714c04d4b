"""sha256 of weights: what a number's protocol names them by."""

import hashlib
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Generic, ParamSpec, TypeVar

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
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    _replaced.note(path, digest)
    return digest


class _Replaced:
    """Counts how often a file was found to hold something else than before."""

    def __init__(self) -> None:
        self.times = 0
        self._held: dict[Path, str] = {}

    def note(self, path: Path, digest: str) -> None:
        self.times += self._held.get(path, digest) != digest
        self._held[path] = digest


_replaced = _Replaced()

P = ParamSpec("P")
T = TypeVar("T")


class LoadedOnce(Generic[P, T]):
    """A function that loads networks, whose last few results are kept; made by `loaded_once`."""

    def __init__(self, load: Callable[P, T], most: int) -> None:
        self._load = load
        self._kept = lru_cache(maxsize=most)(self._anew)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> T:
        return self._kept(_replaced.times, *args, **kwargs)  # type: ignore[arg-type]

    def cache_clear(self) -> None:
        """Forgets what is kept."""
        self._kept.cache_clear()

    def _anew(self, _times: int, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return self._load(*args, **kwargs)


def loaded_once(most: int) -> Callable[[Callable[P, T]], LoadedOnce[P, T]]:
    """Keeps the last `most` results of a function for the same arguments, until a weights file is replaced.

    That a file is another one shows when `sha256_of` is asked for it, as every protocol does.
    """
    return lambda load: LoadedOnce(load, most)
