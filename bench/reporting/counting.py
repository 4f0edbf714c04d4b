"""Are a received run's scores those that the plan asks for: every one there, once, and within its bounds?"""

from collections.abc import Collection, Iterable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pandas import DataFrame

from erasure_bench.bench.planning.plan import Plan
from erasure_bench.bench.reporting.evidence import CellKey
from erasure_bench.bench.reporting.scores import RUN_SCHEMA, protocol_key
from erasure_bench.bench.running.failures import Failure
from erasure_bench.errors import BenchError
from erasure_bench.evaluators.score_frames import MISSING, OK, ROUNDING

CELL = ["method", "concept", "seed"]
_ONE = [*CELL, "role", "evaluator", "evaluator_protocol", "prompt_id", "image_index", "metric"]
"""What names one score: no two rows have all of it in common."""
_SIDE = "_merge"


def read_scores(data: bytes, path: Path) -> DataFrame:
    """A run's scores.parquet, columns `RUN_COLUMNS`. Raises BenchError where it is something else."""
    try:
        table = pq.read_table(pa.BufferReader(data), columns=RUN_SCHEMA.names, use_threads=False)
        frame: DataFrame = table.cast(RUN_SCHEMA).to_pandas()
    except (OSError, ValueError, TypeError, KeyError, NotImplementedError) as error:
        raise BenchError(f"{path}: these are no scores of a run: {error}") from error
    return frame


def check_scores(
    scores: DataFrame, plan: Plan, cells: Collection[CellKey], failures: Iterable[Failure], path: Path
) -> None:
    """Holds the scores of `cells` against the plan; only what a failure explains may be missing.

    Raises BenchError that names the first cell with a score that is missing, doubled, asked for by nobody,
    or out of its metric's bounds.
    """
    if (doubled := scores.duplicated(_ONE)).any():
        raise _refused(path, scores[doubled], "are there twice")
    both = scores.merge(expected(plan, cells), on=_ONE, how="outer", indicator=_SIDE)
    if (foreign := both[_SIDE] == "left_only").any():
        raise _refused(path, both[foreign], "are none that the plan asks for")
    missing = both[both[_SIDE] == "right_only"]
    for failure in failures:
        missing = missing[~_explained(missing, failure)]
    if len(missing):
        raise _refused(path, missing, "are missing")
    found = both[both[_SIDE] == "both"]
    scored, value = found["status"] == OK, found["value"]
    inside = (value >= found["low"]) & (value <= found["high"]) & np.isfinite(value)
    if (wrong := ~np.where(scored, inside, value.isna() & (found["status"] == MISSING))).any():
        raise _refused(path, found[wrong], "are out of their metric's bounds or of no known status")


def expected(plan: Plan, cells: Collection[CellKey]) -> DataFrame:
    """What names each score that the plan has for these cells, and what its value must lie within."""
    metrics = {
        evaluator.name: [(metric.name, *widened(metric.bounds)) for metric in evaluator.metrics]
        for evaluator in plan.evaluators
    }
    rows = [
        (*key, task.generate.images.role, task.evaluator, protocol, *picture, *metric)
        for cell in plan.cells
        if (key := (cell.method.name, cell.case.name, cell.seed)) in cells
        for task in cell.score
        if (protocol := protocol_key(task.protocol))
        for picture in ((image.prompt.id, image.image_index) for image in task.generate.images.images)
        for metric in metrics[task.evaluator]
    ]
    return DataFrame(rows, columns=[*_ONE, "low", "high"])


def widened(bounds: tuple[float, float]) -> tuple[float, float]:
    """A metric's bounds, with the room for rounding that an evaluator's own values are given."""
    room = ROUNDING * max([1.0, *(abs(bound) for bound in bounds if np.isfinite(bound))])
    return bounds[0] - room, bounds[1] + room


def _explained(missing: DataFrame, failure: Failure) -> "np.ndarray[tuple[int], np.dtype[np.bool_]]":
    of_cell = (
        (missing["method"] == failure.method)
        & (missing["concept"] == failure.concept)
        & (missing["seed"] == failure.seed)
    )
    role = (missing["role"] == failure.role) | (failure.role is None)
    evaluator = (missing["evaluator"] == failure.evaluator) | (failure.evaluator is None)
    return np.asarray(of_cell & role & evaluator, dtype=bool)


def _refused(path: Path, wrong: DataFrame, what: str) -> BenchError:
    first = wrong.iloc[0]
    return BenchError(
        f"{path}: {len(wrong)} scores {what}, the first: {first['method']} · {first['concept']} · seed "
        f"{first['seed']}: {first['metric']} ({first['evaluator']}) of {first['role']} picture "
        f"{first['prompt_id']} #{first['image_index']}; run the same bench run again"
    )
