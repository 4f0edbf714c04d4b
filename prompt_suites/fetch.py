"""Upstream data: a file pinned by commit and sha256, taken from a local copy or fetched once.

Upstream prompt files are not shipped with the project. A copy in the user's data folder serves
without network; otherwise the file is fetched into the user's cache folder.
"""

import gzip
import hashlib
import http.client
import os
import tempfile
import urllib.error
import urllib.parse
import urllib.request
import zlib
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from erasure_bench.environment import why_offline
from erasure_bench.errors import BenchError
from erasure_bench.permissions import follow_umask
from erasure_bench.stand_ins import stand_in

DATA_FOLDER_VARIABLE = "BENCH_DATA"
"""Environment variable naming the user's folder of upstream data."""
UPSTREAM_VARIABLE = "BENCH_UPSTREAM"
"""Environment variable naming a mirror of raw.githubusercontent.com."""

UPSTREAM = "https://raw.githubusercontent.com"
TIMEOUT_SECONDS = 30.0


@dataclass(frozen=True, kw_only=True)
class UpstreamFile:
    """A file at a commit of a public repository.

    `sha256` (lower-case hex) and `size` (bytes) are those of the file as upstream holds it, not
    gzipped. `folder` is the folder below the user's data folder in which a copy is looked for, under
    its own name or as `copy`: upstreams call many files alike.
    """

    repository: str
    commit: str
    path: str
    sha256: str
    size: int
    folder: str
    copy: str | None = None

    @property
    def name(self) -> str:
        return PurePosixPath(self.path).name

    def url(self, base: str = UPSTREAM) -> str:
        """Where `base`, raw.githubusercontent.com or a mirror of it, serves the file."""
        return f"{base.rstrip('/')}/{self.repository}/{self.commit}/{urllib.parse.quote(self.path)}"

    def local_names(self) -> tuple[str, ...]:
        """Paths below a data folder where a copy may lie, the likeliest first."""
        names = (self.name,) if self.copy is None else (self.copy, self.name)
        folders = (f"{self.folder}/", "")
        return tuple(f"{at}{name}{end}" for name in names for at in folders for end in (".gz", ""))


class WrongCopy(BenchError):
    """A copy of an upstream file that is not the pinned one."""


class Found(NamedTuple):
    """An upstream file that is at hand: which, where the copy lies, and its checked content."""

    file: UpstreamFile
    where: Path
    content: bytes


def locate(
    *files: UpstreamFile,
    data_dir: Path | None,
    cache_dir: Path | None = None,
    base_url: str | None = None,
) -> Found:
    """The first of `files` of which a copy is at hand, else the first one fetched from upstream.

    Looks in `data_dir` (plain or gzipped), then in the cache, then fetches and keeps a copy in
    the cache, unless offline. `cache_dir` is the user's cache folder and `base_url` $BENCH_UPSTREAM
    or raw.githubusercontent.com unless given.
    Raises BenchError if `data_dir` is no folder, a copy is not the pinned file, or none can be had.
    """
    if data_dir is not None and not data_dir.is_dir():
        raise BenchError(f"data folder {data_dir}: no such folder (--data-dir, {DATA_FOLDER_VARIABLE})")
    cache = cache_dir or user_cache()
    places = [(file, data_dir / name) for file in files for name in file.local_names() if data_dir]
    places += [(file, _cached(file, cache)) for file in files]
    for file, place in places:
        if place.is_file():
            return Found(file, place, _checked(file, _read(place), str(place)))
    return _fetched(files[0], cache, base_url or os.environ.get(UPSTREAM_VARIABLE) or UPSTREAM, data_dir)


def _read(place: Path) -> bytes:
    try:
        if found := stand_in(place):
            raise BenchError(f"{place}: {found}; or name another --data-dir")
        content = place.read_bytes()
        return gzip.decompress(content) if place.suffix == ".gz" else content
    except (OSError, EOFError, zlib.error) as error:
        raise BenchError(f"cannot read {place}: {error}; replace it or name another --data-dir") from error


_OF_A_COPY = f"delete it, or name another folder with --data-dir or {DATA_FOLDER_VARIABLE}"
_OF_UPSTREAM = f"try again, or give a copy with --data-dir or {DATA_FOLDER_VARIABLE}"
_OF_A_MIRROR = f"{UPSTREAM_VARIABLE} names a mirror that holds something else"


def _checked(file: UpstreamFile, content: bytes, where: str, mend: str = _OF_A_COPY) -> bytes:
    digest = hashlib.sha256(content).hexdigest()
    if digest != file.sha256:
        raise WrongCopy(
            f"{where} is not {file.name} of {file.repository}@{file.commit[:12]}: its sha256 is {digest} "
            f"({len(content)} bytes), expected {file.sha256} ({file.size} bytes); {mend}"
        )
    return content


def _fetched(file: UpstreamFile, cache: Path, base: str, data_dir: Path | None) -> Found:
    url = file.url(base)
    place = _cached(file, cache)
    try:
        if off := why_offline():
            raise ConnectionRefusedError(off)
        with urllib.request.urlopen(url, timeout=TIMEOUT_SECONDS) as answer:
            content = answer.read(file.size + 1)
    except (OSError, http.client.HTTPException, ValueError) as error:
        reason = error.reason if isinstance(error, urllib.error.URLError) else error
        looked = f"{data_dir} ({' or '.join(file.local_names())})" if data_dir else "no data folder"
        if base != UPSTREAM:
            reason = f"{reason}; {UPSTREAM_VARIABLE}={base}"
        raise BenchError(
            f"{file.name} is missing: looked in {looked} and at {place}, and fetching it failed ({reason}). "
            f"Ways to get it: --data-dir FOLDER or {DATA_FOLDER_VARIABLE}=FOLDER with a copy as "
            f"{file.folder}/{file.copy or file.name} (or .gz), or save {url} as {place}"
        ) from error
    _checked(file, content, url, _OF_UPSTREAM if base == UPSTREAM else _OF_A_MIRROR)
    _save(content, place)
    return Found(file, place, content)


def _save(content: bytes, place: Path) -> None:
    """Write to a temporary name and rename, so that no half-written copy is ever found."""
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=place.parent, prefix=f".{place.name}.", delete=False) as partial:
            try:
                partial.write(content)
                partial.flush()
                os.fsync(partial.fileno())
                follow_umask(Path(partial.name))
                os.replace(partial.name, place)
            except OSError:
                Path(partial.name).unlink(missing_ok=True)
                raise
    except OSError as error:
        raise BenchError(
            f"cannot keep a copy at {place}: {error}; set XDG_CACHE_HOME to a folder that can be written"
        ) from error


def _cached(file: UpstreamFile, cache: Path) -> Path:
    return cache / "upstream" / file.repository / file.commit / file.path


def user_cache() -> Path:
    """The folder below the user's caches in which this project keeps what it fetched or worked out."""
    from platformdirs import user_cache_path

    return user_cache_path("erasure-bench")
