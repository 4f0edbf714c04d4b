"""`python -m benchmarks.intervals`: from a table of scores to a leaderboard with its intervals, in seconds.

The table is made up: `--rows` scores of 16 methods on 20 concepts, 3 training seeds, 4 roles, 5 metrics
and 4 pictures of each prompt; it is in memory when the clock starts. `--former` is a checkout of an
earlier version that is to be timed on the same table. Writes `results/performance/intervals.json`.
"""

import argparse
import json
import math
import os
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray
from pandas import DataFrame

from benchmarks.recording import record
from erasure_bench.bench.reporting.leaderboard import Measured, build_leaderboard
from erasure_bench.bench.reporting.scores import RUN_COLUMNS
from erasure_bench.evaluators.base import Metric, by_role
from erasure_bench.prompt_suites.suite import Role

LIMIT = {"seconds": 15, "peak_memory_gib": 3.73}
"""Of ten million rows: the aim, in 4 GB."""
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
    names = [[_prompts(role, concept, prompts) for role in ROLES] for concept in concepts]
    columns = {
        "method": _texts(shape, [0], methods),
        "concept": _texts(shape, [1], concepts),
        "seed": _numbers(shape, [2]),
        "role": _texts(shape, [3], ROLES),
        "evaluator": _texts(shape, [], ["evaluator"]),
        "evaluator_protocol": _texts(shape, [], ["protocol"]),
        "repeated": False,
        "prompt_id": _texts(shape, [1, 3, 4], names),
        "image_index": _numbers(shape, [5]),
        "metric": _texts(shape, [6], [metric.name for metric in METRICS]),
        "value": _values(shape),
        "status": _texts(shape, [], ["ok"]),
        "reason": _texts(shape, [], [""]),
    }
    measured = Measured(
        methods=methods,
        baseline=methods[0],
        roles={concept: ROLES for concept in concepts},
        metrics=[("evaluator", metric) for metric in METRICS],
        seeds=range(SEEDS),
        pictures={},
    )
    return DataFrame({name: columns[name] for name in RUN_COLUMNS}, copy=False), measured


def _numbers(shape: tuple[int, ...], axes: list[int]) -> NDArray[np.int64]:
    """[scores]: which of the combinations of these axes' places a score has."""
    sizes = [size if axis in axes else 1 for axis, size in enumerate(shape)]
    return np.broadcast_to(np.arange(math.prod(sizes)).reshape(sizes), shape).reshape(-1)


def _texts(shape: tuple[int, ...], axes: list[int], names: Any) -> pd.Series:
    """[scores]: the name of that combination, made without a Python object for each score."""
    codes = pa.array(_numbers(shape, axes).astype(np.int32))
    spelt = pa.array(np.asarray(names).reshape(-1), pa.large_string())
    return pd.Series(pa.DictionaryArray.from_arrays(codes, spelt).cast(pa.large_string()), dtype="str")


def _values(shape: tuple[int, ...]) -> NDArray[np.float64]:
    """Shares, numbers from 0 to 1, and counts of the last metric."""
    random = np.random.default_rng(0)
    value = random.random(shape)
    for share in (0, 3):
        value[..., share] = value[..., share] < 0.8
    value[..., 4] = random.poisson(0.3, shape[:-1])
    return value.reshape(-1)


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
        "limit": LIMIT,
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
