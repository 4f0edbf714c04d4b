"""Attacks' tries from the folders of earlier runs, held against the plan as their scores are."""

from collections.abc import Collection, Iterable
from io import BytesIO
from pathlib import Path

import pandas as pd
from pandas import DataFrame

from erasure_bench.bench.planning.plan import Plan
from erasure_bench.bench.reporting.counting import CELL, Rows, held_against, refused, widened
from erasure_bench.bench.reporting.evidence import CellKey
from erasure_bench.bench.reporting.tries import TRY_COLUMNS, attacked, counted
from erasure_bench.bench.running.failures import Failure
from erasure_bench.errors import BenchError

_TRIES = Rows(
    "tries",
    [*CELL, "attack", "on", "evaluator", "metric", "prompt_id", "number"],
    lambda row: f"{row['attack']} on {row['prompt_id']} #{row['number']}",
)


def read_tries(data: bytes, path: Path) -> DataFrame:
    """A run's attacks.parquet, columns `TRY_COLUMNS`. Raises BenchError where it is something else.

    Of one that an earlier version wrote no try counts as held back.
    """
    try:
        frame = pd.read_parquet(BytesIO(data))
        frame = frame.assign(held_back=frame.get("held_back", False))[list(TRY_COLUMNS)]
        return frame.astype({"seed": "int64", "number": "int64", "loss": "float64", "value": "float64"})
    except (OSError, ValueError, TypeError, KeyError, NotImplementedError) as error:
        raise BenchError(f"{path}: these are no tries of attacks: {error}") from error


def check_tries(
    tries: DataFrame, plan: Plan, cells: Collection[CellKey], failures: Iterable[Failure], path: Path
) -> None:
    """Holds the tries of `cells` against the plan; only what a failure explains may be missing.

    Whatever of the cell failed explains it: an attack needs the base model's pictures and another concept's
    edit.
    Raises BenchError that names the first one that is missing, doubled, asked for by nobody, counted as a
    success by another metric, or out of its metric's bounds.
    """
    found = held_against(_TRIES, tries, _expected(plan, cells), failures, path)
    inside = (found["value"] >= found["low"]) & (found["value"] <= found["high"])
    unscored = found["value"].isna() & (found["reason"].fillna("") != "")
    alike = found["success"].astype(bool) == found["success_due"].astype(bool)
    if (wrong := ~((inside | unscored) & alike & ~found["loss"].isna())).any():
        raise refused(_TRIES, path, found[wrong], "are out of their metric's bounds or of another kind")


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
    return DataFrame(rows, columns=[*_TRIES.names, "success", "low", "high"])
