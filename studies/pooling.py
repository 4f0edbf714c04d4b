"""Numbers over the concepts of several suites or cases, from their scores: each as a leaderboard's is.

Means over concepts of means over prompts. Intervals are the leaderboards': 95 %, paired, for other prompts on
the same concepts and, where there are several, other training seeds.
"""

from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from erasure_bench.bench.statistics.intervals import Scale, change_intervals, correlation, level_intervals
from erasure_bench.bench.statistics.moments import Moments
from erasure_bench.bench.statistics.one_number import moments_of_one
from erasure_bench.bench.statistics.ratios import ratio_ends

BOUNDS = (0.0, 1.0)
CASE = ["suite", "concept"]
PICTURE = [*CASE, "prompt_id", "seed", "image_index"]


class Compared(NamedTuple):
    """A number and its interval's ends."""

    value: float
    low: float
    high: float


def gone(own: pd.Series, base: pd.Series, scale: Scale) -> Compared:
    """1 − p / p_none of the same pictures; both in [0, 1], with the index `PICTURE`."""
    method, before, change = pooled(own), pooled(base), pooled(own - base)
    left, was = (level_intervals(level, scale, BOUNDS) for level in (method, before))
    together = correlation(method, before, change)
    least, most = ratio_ends(method.value, left.low, left.high, before.value, was.low, was.high, together)
    return Compared(*(1 - each.item() for each in (method.value / before.value, most, least)))


def change_in_points(own: pd.Series, base: pd.Series, scale: Scale) -> Compared:
    """100 (a − a_none) of the same pictures; both in [0, 1], with the index `PICTURE`."""
    method, before, change = pooled(own), pooled(base), pooled(own - base)
    ends = change_intervals(method, before, change, scale, BOUNDS)
    return Compared(*(100 * each.item() for each in (change.value, ends.low, ends.high)))


def pooled(values: pd.Series) -> Moments:
    """Of one number: concepts are its strata, prompts its clusters; a method that draws the same whatever
    the training seed has one."""
    frame = values.reset_index(name="value")
    stratum = frame.groupby(CASE, sort=True).ngroup().to_numpy().astype(np.int64)
    spread = frame.groupby([*CASE, "prompt_id", "image_index"])["value"].agg(np.ptp)
    same = (spread.groupby(CASE, sort=True).max() == 0).to_numpy()
    return moments_of_one(
        stratum,
        frame["prompt_id"].to_numpy(),
        frame["seed"].to_numpy(),
        frame["value"].to_numpy(np.float64),
        same,
    )


def written(row: Any, form: str) -> str:
    """`0.98 [0.95, 0.99]` of a row with a `Compared`'s numbers; a dash where there are none."""
    if row is None or np.isnan(row.value):
        return "–"
    texts = [form.format(each) for each in (row.value, row.low, row.high) if not np.isnan(each)]
    value, *ends = (text.replace("-", "−") for text in texts)
    return f"{value} [{', '.join(ends)}]" if ends else value
