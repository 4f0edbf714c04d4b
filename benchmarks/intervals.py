"""`python -m benchmarks.intervals`: from a table of scores to a leaderboard with its intervals, in seconds.

The table is made up: `--rows` scores of 16 methods on 20 concepts, 3 training seeds, 4 roles, 5 metrics
and 4 pictures of each prompt; it is in memory when the clock starts. `--former` is a checkout of an
earlier version that is to be timed on the same table. Writes `results/performance/intervals.json`.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from pandas import DataFrame

from benchmarks.recording import record
from erasure_bench.bench.reporting.leaderboard import Measured, build_leaderboard
from erasure_bench.bench.reporting.scores import RUN_COLUMNS
from erasure_bench.evaluators.base import Metric, by_role
from erasure_bench.prompt_suites.suite import Role

METHODS, CONCEPTS, SEEDS, IMAGES = 16, 20, 3, 4
ROLES: tuple[Role, ...] = ("target", "anchor", "neighbour", "retention")
METRICS = (
    Metric("accuracy", "accuracy", "share", (0.0, 1.0), by_role("lower", "higher")),
    Metric("probability", "probability", "probability", (0.0, 1.0), by_role("lower", "higher")),
    Metric("cosine", "cosine", "cosine", (-1.0, 1.0), by_role("lower", "higher")),
    Metric("flagged", "flagged", "share", (0.0, 1.0), by_role("lower", "higher")),
    Metric("detections", "detections", "items", (0.0, np.inf), by_role("lower", "higher"), aggregate="sum"),
)


def table(rows: int) -> tuple[DataFrame, Measured]:
    """Scores with the columns `RUN_COLUMNS`, in the order of a run, and what they are of."""
    methods = [f"method-{number}" for number in range(METHODS)]
    concepts = [f"concept-{number}" for number in range(CONCEPTS)]
    prompts = max(rows // (METHODS * CONCEPTS * SEEDS * len(ROLES) * len(METRICS) * IMAGES), 2)
    shape = (METHODS, CONCEPTS, SEEDS, len(ROLES), prompts, IMAGES, len(METRICS))
    place = np.indices(shape, dtype=np.int32).reshape(len(shape), -1)
    random = np.random.default_rng(0)
    value = random.random(place.shape[1])
    of_metric = place[6]
    value = np.where(np.isin(of_metric, (0, 3)), value < 0.8, value)
    value = np.where(of_metric == 4, random.poisson(0.3, value.shape), value).astype(np.float64)
    names = np.array([[_prompts(role, concept, prompts) for role in ROLES] for concept in concepts])
    columns = {
        "method": np.array(methods)[place[0]],
        "concept": np.array(concepts)[place[1]],
        "seed": place[2].astype(np.int64),
        "role": np.array(ROLES)[place[3]],
        "evaluator": "evaluator",
        "evaluator_protocol": "protocol",
        "repeated": False,
        "prompt_id": names[place[1], place[3], place[4]],
        "image_index": place[5].astype(np.int64),
        "metric": np.array([metric.name for metric in METRICS])[of_metric],
        "value": value,
        "status": "ok",
        "reason": "",
    }
    measured = Measured(
        methods=methods,
        baseline=methods[0],
        roles={concept: ROLES for concept in concepts},
        metrics=[("evaluator", metric) for metric in METRICS],
        seeds=range(SEEDS),
        pictures={},
    )
    return DataFrame({name: columns[name] for name in RUN_COLUMNS}), measured


def _prompts(role: Role, concept: str, count: int) -> list[str]:
    """The target's are each concept's own, the others' are shared."""
    own = f"-{concept}" if role == "target" else ""
    return [f"{role}{own}-{number}" for number in range(count)]


def measure(rows: int) -> dict[str, Any]:
    """The figures."""
    scores, measured = table(rows)
    start, used = time.perf_counter(), time.process_time()
    board = build_leaderboard(scores, measured, [], {})
    return {
        "rows": len(scores),
        "numbers": len(board),
        "seconds": round(time.perf_counter() - start, 2),
        "cpu_seconds": round(time.process_time() - used, 2),
        "peak_memory_gib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, 2),
    }


def of_checkout(folder: Path, rows: int) -> dict[str, Any]:
    """The same figures of another version of the project."""
    code = f"import json; from benchmarks.intervals import measure; print(json.dumps(measure({rows})))"
    paths = [str(folder.resolve()), str(Path(__file__).resolve().parents[1])]
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
        capture_output=True,
        text=True,
        check=True,
    )
    figures: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    # A child's peak begins with its parent's.
    return {name: figure for name, figure in figures.items() if name != "peak_memory_gib"}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.intervals", description=__doc__)
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--former", type=Path, metavar="FOLDER")
    parser.add_argument("--out", type=Path, default=Path("results/performance/intervals.json"))
    given = parser.parse_args()
    figures = {
        **measure(given.rows),
        "former": of_checkout(given.former, given.rows) if given.former else None,
    }
    record(figures, given.out)


if __name__ == "__main__":
    main()
