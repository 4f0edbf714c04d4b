"""`python -m benchmarks.planning`: from a suite to cells, tasks and their ids, and what of it the store has.

The plan is made up (`benchmarks.made_up`): 40 methods, 5 seeds, as many concepts as `--cells` take. The store
is empty. On a busy machine read the time on a core beside the wall time. The peak of memory includes Python
and what it imports. Writes `results/performance/planning.json`.
"""

import argparse
import resource
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.made_up import given, planned
from benchmarks.recording import Clock, record
from erasure_bench.bench.storage.store import Store

LIMIT = {"seconds": 10, "peak_memory_gib": 0.93}
"""Of 100,000 cells: the aim, in 1 GB."""


def measure(cells: int) -> dict[str, Any]:
    """Seconds of each step, and the peak of memory."""
    made_from = given(cells)
    before = _peak_gib()
    clock = Clock()
    plan = planned(made_from)
    clock.lap("make_plan")
    assert plan.id
    clock.lap("plan_id")
    with tempfile.TemporaryDirectory() as folder:
        missing = plan.missing(Store(Path(folder)))
    clock.lap("what_the_store_lacks")
    return {
        "cells": len(plan.cells),
        "tasks": len(plan.tasks),
        "images_to_draw": missing.images,
        "seconds": clock.laps,
        "seconds_in_all": clock.total,
        "peak_memory_gib": {"before": round(before, 2), "after": round(_peak_gib(), 2)},
        "limit": LIMIT,
    }


def _peak_gib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.planning", description=__doc__)
    parser.add_argument("--cells", type=int, default=100_000)
    parser.add_argument("--out", type=Path, default=Path("results/performance/planning.json"))
    asked = parser.parse_args()
    record(measure(asked.cells), asked.out)


if __name__ == "__main__":
    main()
