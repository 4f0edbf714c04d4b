"""Are a received run's rows those that the plan asks for: every one there, once, and within its bounds?"""

from collections.abc import Callable, Collection, Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pandas import DataFrame, Series

from erasure_bench.bench.planning.plan import Plan
from erasure_bench.bench.reporting.evidence import CellKey
from erasure_bench.bench.reporting.scores import RUN_SCHEMA, protocol_key
from erasure_bench.bench.running.failures import Failure
from erasure_bench.errors import BenchError
from erasure_bench.evaluators.score_frames import MISSING, OK, ROUNDING

CELL = ["method", "concept", "seed"]
_SIDE = "_merge"


class Rows(NamedTuple):
    """What a received file's rows are: a word for them, the columns that name one, and what one is of."""

    called: str
    names: list[str]
    """No two rows have all of these in common."""
    of: "Callable[[Series[str]], str]"


_SCORES = Rows(
    "scores",
    [*CELL, "role", "evaluator", "evaluator_protocol", "prompt_id", "image_index", "metric"],
    lambda row: f"{row['role']} picture {row['prompt_id']} #{row['image_index']}",
)


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
    found = held_against(_SCORES, scores, expected(plan, cells), failures, path)
    scored, value = found["status"] == OK, found["value"]
    inside = (value >= found["low"]) & (value <= found["high"]) & np.isfinite(value)
    if (wrong := ~np.where(scored, inside, value.isna() & (found["status"] == MISSING))).any():
        raise refused(_SCORES, path, found[wrong], "are out of their metric's bounds or of no known status")


def held_against(
    rows: Rows, there: DataFrame, due: DataFrame, failures: Iterable[Failure], path: Path
) -> DataFrame:
    """The rows of `there` with the columns of `due` beside them; only what a failure explains may be missing.

    A column that both have besides the names is `_due` there. Raises BenchError that names the first row that
    is missing, doubled or due to nobody.
    """
    if (doubled := there.duplicated(rows.names)).any():
        raise refused(rows, path, there[doubled], "are there twice")
    both = there.merge(due, on=rows.names, how="outer", indicator=_SIDE, suffixes=("", "_due"))
    if (foreign := both[_SIDE] == "left_only").any():
        raise refused(rows, path, both[foreign], "are none that the plan asks for")
    missing = both[both[_SIDE] == "right_only"]
    for failure in failures:
        missing = missing[~_explained(missing, failure)]
    if len(missing):
        raise refused(rows, path, missing, "are missing")
    return both[both[_SIDE] == "both"]


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
    return DataFrame(rows, columns=[*_SCORES.names, "low", "high"])


def widened(bounds: tuple[float, float]) -> tuple[float, float]:
    """A metric's bounds, with the room for rounding that an evaluator's own values are given."""
    room = ROUNDING * max([1.0, *(abs(bound) for bound in bounds if np.isfinite(bound))])
    return bounds[0] - room, bounds[1] + room


def _explained(missing: DataFrame, failure: Failure) -> "np.ndarray[tuple[int], np.dtype[np.bool_]]":
    """What failed for no role failed for all; rows that know no role are explained by any."""
    explained = (
        (missing["method"] == failure.method)
        & (missing["concept"] == failure.concept)
        & (missing["seed"] == failure.seed)
        & ((missing["evaluator"] == failure.evaluator) | (failure.evaluator is None))
    )
    if "role" in missing:
        explained &= (missing["role"] == failure.role) | (failure.role is None)
    return np.asarray(explained, dtype=bool)


def refused(rows: Rows, path: Path, wrong: DataFrame, what: str) -> BenchError:
    """Names the first of the wrong rows."""
    first = wrong.iloc[0]
    return BenchError(
        f"{path}: {len(wrong)} {rows.called} {what}, the first: {first['method']} · {first['concept']} · "
        f"seed {first['seed']}: {first['metric']} ({first['evaluator']}) of {rows.of(first)}; run the same "
        "bench run again"
    )
