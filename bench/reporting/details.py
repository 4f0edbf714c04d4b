"""What an evaluator keeps of each picture beside its scores: boxes, faces, predictions."""

import io
from collections.abc import Sequence
from typing import NamedTuple

import pandas as pd
from pandas import DataFrame

from erasure_bench.bench.planning.plan import Plan
from erasure_bench.bench.running.scoring import DETAILS_FILE
from erasure_bench.bench.storage.store import Store

WHOSE = ("method", "concept", "seed", "role")
"""The columns that say of which pictures a row is, before the evaluator's own."""


class Details(NamedTuple):
    """`rows`, columns `WHOSE` and the evaluator's; how many of the tasks `scored` keep any, and how many of
    the plan's are `lacking` from the store."""

    rows: DataFrame
    scored: int
    lacking: int


def collect_details(plan: Plan, store: Store, evaluator: str) -> Details:
    """Those of the plan's pictures by the evaluator of this name, each cell's in turn.

    Rows that two cells share (the base model's) appear under each of them. Raises DamagedEntry.
    """
    parts: list[DataFrame] = []
    scored, lacking = 0, 0
    for cell in plan.cells:
        for task in (task for task in cell.score if task.evaluator == evaluator):
            if not store.has(task.kind, task.id):
                lacking += 1
                continue
            entry = store.entry(task.kind, task.id)
            if DETAILS_FILE not in entry.files:
                continue
            scored += 1
            own = pd.read_parquet(io.BytesIO(entry.read(DETAILS_FILE)))
            whose = (cell.method.name, cell.case.name, cell.seed, task.generate.images.role)
            parts.append(of_pictures(whose, own))
    return Details(together(parts), scored, lacking)


def of_pictures(whose: tuple[str, str, int, str], own: DataFrame) -> DataFrame:
    """The evaluator's rows with `WHOSE` they are before them."""
    said = {name: [value] * len(own) for name, value in zip(WHOSE, whose, strict=True)}
    return pd.concat([DataFrame(said), own], axis=1)


def together(parts: Sequence[DataFrame]) -> DataFrame:
    """One after the other. Parts without a row say nothing of types, and are left out where any has one."""
    rows = [part for part in parts if len(part)] or parts[:1]
    return pd.concat(rows, ignore_index=True) if rows else DataFrame(columns=list(WHOSE))
