"""Intervals of shares."""

from typing import NamedTuple

from statsmodels.stats.proportion import proportion_confint


class Interval(NamedTuple):
    low: float
    high: float


def wilson(right: int, n: int) -> Interval:
    """Wilson's 95 % interval of a proportion."""
    low, high = proportion_confint(right, n, method="wilson")
    return Interval(float(low), float(high))
