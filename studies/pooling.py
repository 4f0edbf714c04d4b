"""Numbers over the concepts of several suites or cases, from their scores: each as a leaderboard's is.

Means over concepts of means over prompts. Intervals are the leaderboards': 95 %, paired, for other prompts on
the same concepts and, where there are several, other trainings.
"""

from collections.abc import Collection
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from erasure_bench.bench.reporting.record import read_record
from erasure_bench.bench.reporting.results import SCORES
from erasure_bench.bench.statistics.intervals import Scale, change_intervals, correlation, level_intervals
from erasure_bench.bench.statistics.moments import Moments
from erasure_bench.bench.statistics.one_number import moments_of_one
from erasure_bench.bench.statistics.ratios import ratio_ends

BOUNDS = (0.0, 1.0)
CASE = ["suite", "concept"]
PICTURE = [*CASE, "prompt_id", "seed", "image_index"]
Case = tuple[str, str]
"""A suite and its concept."""


class Compared(NamedTuple):
    """A number and its interval's ends."""

    value: float
    low: float
    high: float


def read_scores(folder: Path, suite: str) -> pd.DataFrame:
    """A run's scores, with the `suite` and the `model` that drew each picture, as run.json names it."""
    models = pd.DataFrame(read_record(folder)["cells"])[["method", "concept", "seed", "model"]]
    scores = pd.read_parquet(folder / SCORES).astype({"method": str, "concept": str})
    return scores.merge(models, on=["method", "concept", "seed"], how="left", validate="m:1").assign(
        suite=suite
    )


def trained_anew(scores: pd.DataFrame, method: str) -> set[Case]:
    """The cases for which the method has several models, each of a training of its own."""
    models = scores[scores["method"] == method].groupby(CASE)["model"].nunique()
    return set(models[models > 1].index)


def gone(own: pd.Series, base: pd.Series, trained: Collection[Case], scale: Scale) -> Compared:
    """1 − p / p_none of the same pictures; both in [0, 1], with the index `PICTURE`.

    As in a leaderboard, the base model's pictures are told apart by seeds where the method's are.
    """
    method, before, change = (pooled(each, trained) for each in (own, base, own - base))
    left, was = (level_intervals(level, scale, BOUNDS) for level in (method, before))
    together = correlation(method, before, change)
    least, most = ratio_ends(method.value, left.low, left.high, before.value, was.low, was.high, together)
    return Compared(*(1 - each.item() for each in (method.value / before.value, most, least)))


def change_in_points(own: pd.Series, base: pd.Series, trained: Collection[Case], scale: Scale) -> Compared:
    """100 (a − a_none) of the same pictures; both in [0, 1], with the index `PICTURE`."""
    method, before, change = (pooled(each, trained) for each in (own, base, own - base))
    ends = change_intervals(method, before, change, scale, BOUNDS)
    return Compared(*(100 * each.item() for each in (change.value, ends.low, ends.high)))


def pooled(values: pd.Series, trained: Collection[Case]) -> Moments:
    """Of one number: concepts are its strata, prompts its clusters; where one model drew all pictures,
    several seeds are more pictures of it."""
    frame = values.reset_index(name="value")
    strata = frame.groupby(CASE, sort=True)
    return moments_of_one(
        strata.ngroup().to_numpy().astype(np.int64),
        frame["prompt_id"].to_numpy(),
        frame["seed"].to_numpy(),
        frame["value"].to_numpy(np.float64),
        np.array([case not in trained for case in strata.size().index], dtype=bool),
    )


def written(row: Any, form: str) -> str:
    """`0.98 [0.95, 0.99]` of a row with a `Compared`'s numbers; a dash where there are none."""
    if row is None or np.isnan(row.value):
        return "–"
    texts = [form.format(each) for each in (row.value, row.low, row.high) if not np.isnan(each)]
    value, *ends = (text.replace("-", "−") for text in texts)
    return f"{value} [{', '.join(ends)}]" if ends else value
