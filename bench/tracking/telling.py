"""What a run tells its trackers: settings, losses, progress, and the leaderboard with its files."""

import json
import math
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from erasure_bench.bench.planning.plan import Cell, Plan
from erasure_bench.bench.planning.tasks import GenerateTask, Task
from erasure_bench.bench.reporting.run_file import RESULTS, RUN
from erasure_bench.bench.running.progress import Quiet
from erasure_bench.bench.tracking.base import OF_THE_RUN, TrackedRun
from erasure_bench.bench.tracking.guarded import Guarded

EVERY_SECONDS = 10.0
"""How long losses are kept back: a step of a training takes less time than a word over the network."""
_COSTS = ("erase_seconds", "seconds_per_image", "peak_memory_bytes")


class Telling(Quiet):
    """A reporter that tells trackers how a run goes."""

    def __init__(self, trackers: Sequence[Guarded]) -> None:
        self._trackers = tuple(trackers)
        self._losses: dict[tuple[str, str], list[tuple[int, float]]] = defaultdict(list)
        self._at: tuple[str, str] | None = None
        self._done = self._images = 0
        self._told = time.monotonic()

    def working_on(self, cell: Cell, task: Task) -> None:
        self._at = (cell.method.name, f"loss/{cell.case.name}/seed {cell.seed}")

    def step(self, step: int, steps: int, loss: float) -> None:
        if self._at is not None:
            self._losses[self._at].append((step, loss))
        if time.monotonic() - self._told >= EVERY_SECONDS:
            self._tell_losses()

    def finished(self, task: Task, *, well: bool) -> None:
        self._tell_losses()
        self._done += 1
        self._images += len(task.images) if well and isinstance(task, GenerateTask) else 0
        self._log(OF_THE_RUN, {"progress/tasks": self._done, "progress/images": self._images}, self._done)

    def results(self, document: Mapping[str, Any], folder: Path) -> None:
        """The leaderboard's overall numbers, and the files of the run's folder."""
        for method, values in leaderboard_values(document).items():
            self._log(method, values, 0)
        for name in (RUN, *RESULTS):
            if (folder / name).is_file():
                for tracker in self._trackers:
                    tracker.keep(folder / name)

    def _tell_losses(self) -> None:
        self._told = time.monotonic()
        for (row, name), curve in self._losses.items():
            for step, loss in curve:
                self._log(row, {name: loss}, step)
        self._losses.clear()

    def _log(self, row: str, values: Mapping[str, float], step: int) -> None:
        finite = {name: float(value) for name, value in values.items() if math.isfinite(value)}
        if finite:
            for tracker in self._trackers:
                tracker.log(row, finite, step)


def leaderboard_values(document: Mapping[str, Any]) -> dict[str, dict[str, float]]:
    """By method: the overall numbers as `role/evaluator/metric`, their intervals as `…_low` and `…_high`.

    With `cost/…`, and `collapsed` as 1 or 0.
    """
    found: dict[str, dict[str, float]] = {name: {} for name in document["methods"]}
    for row in document["rows"]:
        if row["scope"] != "overall":
            continue
        values = found[row["method"]]
        name = f"{row['role']}/{row['evaluator']}/{row['metric']}"
        numbers = {name: row["value"], f"{name}_low": row["low"], f"{name}_high": row["high"]}
        numbers |= {f"cost/{cost}": row[cost] for cost in _COSTS}
        values |= {key: number for key, number in numbers.items() if number is not None}
        values["collapsed"] = max(values.get("collapsed", 0.0), float(row["collapsed"] is not None))
    return found


def tracked_run(plan: Plan, folder: Path) -> TrackedRun:
    """The run's settings and those of its rows, flat and as text."""
    config = json.loads(plan.config.model_dump_json(exclude_defaults=True))
    about = {"model.sha256": plan.model.digest, "suite.version": plan.suite.version, "plan": plan.id}
    return TrackedRun(
        name=folder.resolve().name,
        folder=folder,
        settings=dict(_flat({**config, **about})),
        rows={
            method.name: dict(_flat({"preset": method.preset, "code": method.code, **method.settings}))
            for method in plan.methods
        },
    )


@contextmanager
def telling(trackers: Iterable[Guarded], run: TrackedRun) -> Iterator[Telling]:
    """Tells the trackers that the run begins, and at the block's end how it ended."""
    told = tuple(trackers)
    for tracker in told:
        tracker.begin(run)
    well = False
    try:
        yield Telling(told)
        well = True
    finally:
        for tracker in told:
            tracker.end(well=well)


def _flat(values: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, str]]:
    for key, value in values.items():
        name = f"{before}{key}" or "all"
        if isinstance(value, Mapping):
            yield from _flat(value, f"{name}.")
        else:
            yield name, value if isinstance(value, str) else json.dumps(value, default=str)
