"""A finished run, as commands and notebooks are told of it: a folder, a name below `runs`, or an archive."""

import atexit
import functools
import shutil
import tempfile
from pathlib import Path

from erasure_bench.bench.sharing.archives import SUFFIX, is_archive, name_of, unpack
from erasure_bench.errors import BenchError
from erasure_bench.user_paths import user_path

RUNS = Path("runs")
LEADERBOARDS = ("leaderboard.json", "leaderboard.csv", "leaderboard.csv.gz")
"""What tables are read from: a folder may keep the table alone (`bench.reporting.reading`)."""


def find_run(name: str, *files: str) -> Path:
    """The folder of a run with one of `files` in it: its leaderboard, unless others are asked for.

    An archive is checked and unpacked, until this process ends.

    Raises BenchError that lists the runs below `runs`, or says what is wrong with the archive.
    """
    files = files or LEADERBOARDS
    places = list(dict.fromkeys((Path(name), RUNS / name)))
    for place in places:
        if is_archive(place):
            return _unpacked(place.resolve())
        if any((place / file).is_file() for file in files):
            return place
    known = sorted({path.parent.name for file in files for path in RUNS.glob(f"*/{file}")})
    there = f"; runs here: {', '.join(known)}" if known else ""
    where = " or ".join(str(place) for place in places)
    what = f"no packed run {where}" if name.endswith(SUFFIX) else f"no {files[0]} in {where}"
    raise BenchError(f"no run {name!r}: {what}{there}")


def find_run_at(path: str | Path) -> Path:
    """`find_run` for a path as people write them in code."""
    return find_run(str(user_path(path)))


def is_passing(folder: Path) -> bool:
    """Whether the run's folder is one that an archive was unpacked to, and goes when this process ends."""
    return folder.parent in _passing


def find_own_run(name: str, *files: str) -> Path:
    """`find_run` for what is written into a run's folder: raises BenchError for an archive."""
    folder = find_run(name, *files)
    if is_passing(folder):
        raise BenchError(f"{name} is packed, and is not written to: unpack it first (bench unpack {name})")
    return folder


_passing: set[Path] = set()


@functools.cache
def _unpacked(archive: Path) -> Path:
    folder = Path(tempfile.mkdtemp(prefix="erasure-bench-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    _passing.add(folder)
    return unpack(archive, folder / name_of(archive))
