"""Intervals of shares."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from statsmodels.stats.proportion import proportion_confint


class Interval(NamedTuple):
    low: float
    high: float


def wilson(right: int, n: int) -> Interval:
    """Wilson's 95 % interval of a proportion."""
    low, high = proportion_confint(right, n, method="wilson")
    return Interval(float(low), float(high))


def share(right: Sequence[bool]) -> dict[str, Any]:
    """The share that is right, of how many, with its interval, as records hold it."""
    count = sum(right)
    return {"share": count / len(right), "n": len(right), "interval": list(wilson(count, len(right)))}
