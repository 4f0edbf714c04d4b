"""How good a candidate for a preset is: the merit, from its numbers on the validation concepts."""

import math
from collections.abc import Collection, Iterable, Mapping
from typing import Any

import pandas as pd

from studies.leaderboard_summary import ERASED, KEPT

PROBABILITY, ACCURACY, KNOWN = "class_probability", "class_accuracy", "known_share"
COHERENCE = "coherence"
EVALUATORS = ("classifier", "coherence")
"""Those whose metrics these are."""
Row = Mapping[str, Any]


def values(rows: Iterable[Row], method: str, metric: str, roles: tuple[str, ...]) -> pd.Series:
    """A metric, indexed by role and concept; NaN where a cell has no number."""
    found = {
        (row["role"], row["concept"]): row["value"]
        for row in rows
        if (row["method"], row["scope"], row["metric"]) == (method, "concept", metric)
        and row["role"] in roles
    }
    index = pd.MultiIndex.from_tuples(found, names=["role", "concept"])
    return pd.Series(list(found.values()), index=index, dtype=float)


def merit(rows: Iterable[Row], method: str) -> dict[str, float]:
    """Four shares and their harmonic mean; NaN where the method lacks a number that the base model has."""
    rows = list(rows)

    def relative(metric: str, roles: tuple[str, ...]) -> float:
        base = values(rows, "none", metric, roles)
        own = values(rows, method, metric, roles).reindex(base.index)
        if own.isna().any():
            return math.nan
        means = [each.groupby("role").mean().mean() for each in (own, base)]
        return min(max(float(means[0] / means[1]), 0.0), 1.0)

    parts = {
        "erased": 1 - relative(PROBABILITY, ERASED),
        "kept": relative(ACCURACY, KEPT),
        "known": relative(KNOWN, ERASED),
        "coherent": relative(COHERENCE, ERASED + KEPT),
    }
    return parts | {"merit": _harmonic_mean(parts.values())}


def _harmonic_mean(parts: Collection[float]) -> float:
    if any(math.isnan(part) for part in parts):
        return math.nan
    return len(parts) / sum(1 / part for part in parts) if all(parts) else 0.0


def by_concept(rows: Iterable[Row], method: str) -> dict[str, float]:
    """The probability that is left of each concept, and the share of what was to be kept of it."""
    rows = list(rows)
    left = values(rows, method, PROBABILITY, ERASED).groupby("concept").mean()
    kept = values(rows, method, ACCURACY, KEPT).groupby("concept").mean()
    return {f"left of {name}": value for name, value in left.items()} | {
        f"kept beside {name}": value for name, value in kept.items()
    }
