"""`python -m benchmarks.cached_run`: the same run again, of which the store has everything.

The run is made up (`benchmarks.made_up`): 10 methods, 5 seeds, as many concepts as `--cells` take, tiny
pictures of one colour and random scores. What is timed is all that `bench run` does: plan, look into the
store, gather the scores, build the leaderboard, write the run's folder. On a busy machine read the time on a
core beside the wall time. Writes `results/performance/cached-run.json`.
"""

import argparse
import cProfile
import io
import pstats
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from pandas import DataFrame
from PIL import Image

from benchmarks.made_up import METRICS, SIDE, Given, given, planned
from benchmarks.recording import MEMORY, Clock, record
from erasure_bench.bench.planning.tasks import EraseTask, GenerateTask, ScoreTask
from erasure_bench.bench.reporting.completing import complete
from erasure_bench.bench.reporting.results import write_results
from erasure_bench.bench.running.executor import Work
from erasure_bench.bench.running.progress import Quiet
from erasure_bench.bench.running.scoring import SCORES_FILE
from erasure_bench.bench.storage.store import Store
from erasure_bench.evaluators.base import SCORE_COLUMNS
from erasure_bench.prompt_suites.concepts import Concept

METHODS = 10
LIMIT = {"seconds": 5}
"""Of 1,000 cells: the aim."""


class Filler:
    """Puts entries of the right form into the store as quickly as can be."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self._random = np.random.default_rng(0)

    def prepare(self, evaluators: list[str]) -> None: ...

    def forget_model(self) -> None: ...

    def close(self) -> None: ...

    def features(self, task: Any) -> None: ...

    def erase(self, task: EraseTask, concept: Concept, watcher: Any) -> None:
        """An edit without anything in it."""
        with self.store.writing(task.kind, task.id) as draft:
            (draft.folder / "edit.json").write_text("{}")
            draft.about = {"erase_seconds": 1.0, "peak_memory_bytes": 0}

    def generate(self, task: GenerateTask, watcher: Any) -> None:
        """Pictures of one colour."""
        colour = tuple(int(level) for level in self._random.integers(0, 256, 3))
        buffer = io.BytesIO()
        Image.new("RGB", (SIDE, SIDE), colour).save(buffer, format="PNG")
        with self.store.writing(task.kind, task.id) as draft:
            for number, _ in enumerate(task.images.images):
                (draft.folder / task.file_name(number)).write_bytes(buffer.getvalue())
            draft.about = {
                "generate_seconds": 1.0,
                "device_name": "none",
                "versions": {"torch": "none"},
                "images": [{"file": task.file_name(n), **_said(i)} for n, i in enumerate(task.images.images)],
            }

    def score(self, task: ScoreTask) -> None:
        """Random numbers."""
        images = task.generate.images.images
        values = self._random.random((len(images), len(METRICS)))
        values[:, 0] = values[:, 0] < 0.7
        rows = [
            (image.prompt.id, image.image_index, metric.name, values[place, number], "ok", "")
            for place, image in enumerate(images)
            for number, metric in enumerate(METRICS)
        ]
        with self.store.writing(task.kind, task.id) as draft:
            DataFrame(rows, columns=list(SCORE_COLUMNS)).to_parquet(draft.folder / SCORES_FILE, index=False)
            draft.about = {"evaluator": task.evaluator}


def _said(image: Any) -> dict[str, Any]:
    return {"prompt_id": image.prompt.id, "image_index": image.image_index, "seed": image.seed}


def run(made_from: Given, folder: Path, out: Path) -> Clock:
    """The run; the first time it fills the store."""
    clock = Clock()
    plan = planned(made_from)
    assert plan.id
    clock.lap("plan")
    with Store(folder) as store:
        missing = plan.missing(store)
        clock.lap("what_the_store_lacks")
        filler: Work = Filler(store)
        outcome, results = complete(plan, filler, store, Quiet)
        assert not outcome.failures
        clock.lap("leaderboard" if not sum(missing.tasks.values()) else "filling")
        write_results(out, plan, results, {}, store)
        clock.lap("files")
    return clock


def measure(cells: int, *, profile: bool = False, store: Path | None = None) -> dict[str, Any]:
    """The figures of the second run, in a store that stays where it is named."""
    made_from = given(cells, METHODS)
    memory = MEMORY if MEMORY.is_dir() else None
    with tempfile.TemporaryDirectory(dir=memory) as own, tempfile.TemporaryDirectory(dir=memory) as out:
        folder = own if store is None else store
        run(made_from, Path(folder), Path(out))
        profiler = cProfile.Profile(time.process_time)
        if profile:
            profiler.enable()
        clock = run(made_from, Path(folder), Path(out))
        if profile:
            profiler.disable()
            pstats.Stats(profiler).sort_stats("tottime").print_stats(25)
        files = sum(1 for path in Path(folder).rglob("*") if path.is_file())
    return {
        "cells": cells,
        "files_in_the_store": files,
        "seconds": clock.laps,
        "seconds_in_all": clock.total,
        "limit": LIMIT,
    }


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.cached_run", description=__doc__)
    parser.add_argument("--cells", type=int, default=1_000)
    parser.add_argument(
        "--store", type=Path, help="folder that keeps the store, which a later call finds filled"
    )
    parser.add_argument("--profile", action="store_true", help="print where the time goes")
    parser.add_argument("--out", type=Path, default=Path("results/performance/cached-run.json"))
    asked = parser.parse_args()
    record(measure(asked.cells, profile=asked.profile, store=asked.store), asked.out)


if __name__ == "__main__":
    main()
