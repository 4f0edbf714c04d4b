"""Attacks' tries from the folders of earlier runs, held against the plan as their scores are."""

from collections.abc import Collection, Iterable
from io import BytesIO
from pathlib import Path

import numpy as np
import pandas as pd
from pandas import DataFrame

from erasure_bench.bench.planning.plan import Plan
from erasure_bench.bench.reporting.counting import CELL, widened
from erasure_bench.bench.reporting.evidence import CellKey
from erasure_bench.bench.reporting.tries import TRY_COLUMNS, attacked, counted
from erasure_bench.bench.running.failures import Failure
from erasure_bench.errors import BenchError

_ONE = [*CELL, "attack", "on", "evaluator", "metric", "prompt_id", "number"]
"""What names one try's score: no two rows have all of it in common."""
_SIDE = "_merge"


def read_tries(data: bytes, path: Path) -> DataFrame:
    """A run's attacks.parquet, columns `TRY_COLUMNS`. Raises BenchError where it is something else."""
    try:
        frame = pd.read_parquet(BytesIO(data), columns=list(TRY_COLUMNS))
        return frame.astype({"seed": "int64", "number": "int64", "loss": "float64", "value": "float64"})
    except (OSError, ValueError, TypeError, KeyError, NotImplementedError) as error:
        raise BenchError(f"{path}: these are no tries of attacks: {error}") from error


def check_tries(
    tries: DataFrame, plan: Plan, cells: Collection[CellKey], failures: Iterable[Failure], path: Path
) -> None:
    """Holds the tries of `cells` against the plan; only what a failure explains may be missing.

    Raises BenchError that names the first one that is missing, doubled, asked for by nobody, counted as a
    success by another metric, or out of its metric's bounds.
    """
    if (doubled := tries.duplicated(_ONE)).any():
        raise _refused(path, tries[doubled], "are there twice")
    both = tries.merge(_expected(plan, cells), on=_ONE, how="outer", indicator=_SIDE, suffixes=("", "_due"))
    if (foreign := both[_SIDE] == "left_only").any():
        raise _refused(path, both[foreign], "are none that the plan asks for")
    missing = both[both[_SIDE] == "right_only"]
    for failure in failures:
        missing = missing[~_explained(missing, failure)]
    if len(missing):
        raise _refused(path, missing, "are missing")
    found = both[both[_SIDE] == "both"]
    inside = (found["value"] >= found["low"]) & (found["value"] <= found["high"])
    unscored = found["value"].isna() & (found["reason"].fillna("") != "")
    alike = found["success"].astype(bool) == found["success_due"].astype(bool)
    if (wrong := ~((inside | unscored) & alike & ~found["loss"].isna())).any():
        raise _refused(path, found[wrong], "are out of their metric's bounds or of another kind")


def _expected(plan: Plan, cells: Collection[CellKey]) -> DataFrame:
    """What names each try's score that the plan has for these cells, and what it must be."""
    bounds = {
        (evaluator.name, metric.name): widened(metric.bounds)
        for evaluator in plan.evaluators
        for metric in evaluator.metrics
    }
    rows = [
        (*key, at.attack, at.on, task.evaluator, metric, image.prompt.id, image.image_index, success)
        + bounds[task.evaluator, metric]
        for cell in plan.cells
        if (key := (cell.method.name, cell.case.name, cell.seed)) in cells
        for task, at in attacked(cell)
        for metric, success in counted(plan, task.evaluator).items()
        for image in task.generate.images.images
    ]
    return DataFrame(rows, columns=[*_ONE, "success", "low", "high"])


def _explained(missing: DataFrame, failure: Failure) -> "np.ndarray[tuple[int], np.dtype[np.bool_]]":
    """Whatever of the cell failed: an attack needs the base model's pictures and another concept's edit."""
    of_cell = (
        (missing["method"] == failure.method)
        & (missing["concept"] == failure.concept)
        & (missing["seed"] == failure.seed)
    )
    evaluator = (missing["evaluator"] == failure.evaluator) | (failure.evaluator is None)
    return np.asarray(of_cell & evaluator, dtype=bool)


def _refused(path: Path, wrong: DataFrame, what: str) -> BenchError:
    first = wrong.iloc[0]
    return BenchError(
        f"{path}: {len(wrong)} tries {what}, the first: {first['method']} · {first['concept']} · seed "
        f"{first['seed']}: {first['metric']} ({first['evaluator']}) of {first['attack']} on "
        f"{first['prompt_id']} #{first['number']}; run the same bench run again"
    )
