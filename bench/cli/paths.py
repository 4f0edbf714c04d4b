"""Where a run's files go when the user does not say: below the current folder."""

import os
import re
from pathlib import Path, PurePath

from erasure_bench.bench.identity.ids import content_id
from erasure_bench.bench.planning.config import CHANGES_NO_RESULT, RunConfig
from erasure_bench.bench.sharing.finding import RUNS
from erasure_bench.bench.sharing.finding import find_run as find_run
from erasure_bench.errors import BenchError
from erasure_bench.user_paths import user_path

STORE_VARIABLE, REMOTE_VARIABLE = "BENCH_STORE", "BENCH_REMOTE"
DEFAULT_STORE = Path(".bench") / "store"
_ADDRESS = re.compile(r"[a-z][a-z0-9+.-]+:/")
_ONCE_COUNTED = ("task_timeout", "checkpoint_minutes")
"""They count as their defaults: so folders keep the names that they had when these were part of them."""
_CAME_LATER = ("images", "scheduler", "steps")
"""They count where they are said: so folders keep the names that they had before these were there."""


def store_folder(asked: Path | None) -> Path:
    """--store, else $BENCH_STORE, else .bench/store."""
    if asked is not None:
        return asked
    named = os.environ.get(STORE_VARIABLE)
    return user_path(named) if named else DEFAULT_STORE


def remote_url(asked: str | None) -> str | None:
    """--remote, else $BENCH_REMOTE, else none."""
    return asked or os.environ.get(REMOTE_VARIABLE) or None


def check_store(store: Path, *, make: bool = True) -> None:
    """Raises BenchError where the store is no folder and cannot be made one.

    The store itself would say so, but only task by task. Without `make` nothing is created.
    """
    if _ADDRESS.match(str(store)):
        raise BenchError(
            f"--store {store}: a store is a folder of this machine; a bucket is named besides it, by --remote"
        )
    try:
        if make:
            store.mkdir(parents=True, exist_ok=True)
        why = _obstacle(store)
    except OSError as error:
        why = error.strerror or str(error)
    if why:
        raise BenchError(f"--store {store}: cannot be made: {why}")


def check_out(out: Path) -> None:
    """Raises BenchError where the results' folder is none and cannot be made one; makes nothing."""
    if why := _obstacle(out):
        raise BenchError(f"--out {out}: cannot be made: {why}")


def _obstacle(folder: Path) -> str | None:
    """What is in the way of a folder there, if anything."""
    try:
        there = folder.resolve()
        while not there.exists() and there != there.parent:
            there = there.parent
        return None if there.is_dir() else f"{there} is a file"
    except (OSError, RuntimeError) as error:  # RuntimeError: a link that leads to itself
        return str(getattr(error, "strerror", None) or error)


def check_apart(out: Path, store: Path) -> None:
    """Raises BenchError where the results would lie among the store's entries."""
    # Not Path.resolve, which gives up on a link that leads to itself.
    if Path(os.path.realpath(out)).is_relative_to(os.path.realpath(store)):
        raise BenchError(f"--out {out} lies in the store {store}, which holds tasks alone: name another")


def run_folder(asked: Path | None, config: RunConfig, model: str) -> Path:
    """--out, else a folder of `runs` named by the config: the same command, the same folder."""
    if asked is not None:
        return asked
    defaults = {key: RunConfig.model_fields[key].default for key in _ONCE_COUNTED}
    unsaid = {key for key in _CAME_LATER if getattr(config, key) is None}
    said = config.model_dump(exclude={*CHANGES_NO_RESULT, *unsaid})
    digest = content_id(said | defaults | {"model": model})
    suite = PurePath(config.suite).name.removesuffix(".yaml").removesuffix(".yml")
    return RUNS / f"{suite}-{model.replace('/', '-')}-{digest[:8]}"
