"""Where a run's files go when the user does not say: below the current folder."""

import os
from pathlib import Path

from erasure_bench.bench.identity.ids import content_id
from erasure_bench.bench.planning.config import RunConfig
from erasure_bench.prompt_suites.errors import BenchError

STORE_VARIABLE = "BENCH_STORE"
DEFAULT_STORE = Path(".bench") / "store"
RUNS = Path("runs")
_CHANGES_NOTHING = {"device", "batch_size", "data_dir"}


def store_folder(asked: Path | None) -> Path:
    """--store, else $BENCH_STORE, else .bench/store."""
    if asked is not None:
        return asked
    named = os.environ.get(STORE_VARIABLE)
    return Path(named) if named else DEFAULT_STORE


def run_folder(asked: Path | None, config: RunConfig, model: str) -> Path:
    """--out, else a folder of `runs` named by the config: the same command, the same folder."""
    if asked is not None:
        return asked
    digest = content_id(config.model_dump(exclude=_CHANGES_NOTHING) | {"model": model})
    return RUNS / f"{config.suite}-{model.replace('/', '-')}-{digest[:8]}"


def find_run(name: str, file: str = "leaderboard.json") -> Path:
    """The folder of a finished run, with `file` in it: a path, or a name below `runs`.

    Raises BenchError that lists the runs below `runs`.
    """
    places = [Path(name), RUNS / name]
    for place in places:
        if (place / file).is_file():
            return place
    known = sorted(path.parent.name for path in RUNS.glob(f"*/{file}"))
    there = f"; runs here: {', '.join(known)}" if known else ""
    raise BenchError(f"no run {name!r}: no {file} in {' or '.join(str(place) for place in places)}{there}")
