"""Whether an interval reaches a bar: met, missed or undecided. A bar is never decided by a point value."""

from typing import Literal

Verdict = Literal["met", "missed", "undecided"]
VERDICTS: tuple[Verdict, ...] = ("met", "missed", "undecided")

ENOUGH_GONE = 0.5
"""The bar on what is to be erased: at least this share of what the base model shows of it is gone."""
MOST_LOST = 0.10
"""The bar on what is to be kept: at most this much of a share is lost."""

_ROUNDING = 1e-9


def bar_of(erased: bool) -> str:
    """The bar on what is to be erased, or on what is to be kept, in words."""
    return f"at least {ENOUGH_GONE:.0%} gone" if erased else f"at most {100 * MOST_LOST:g} points lost"


def at_least(bar: float, low: float | None, high: float | None) -> Verdict:
    """Whether a value of the interval [low, high] is `bar` or more.

    Met where the whole interval is, missed where none of it is, else undecided, as is a value without an
    interval. Of a two-sided interval of 95 % this is a one-sided test at .025 in either direction.
    """
    if low is None or high is None:
        return "undecided"
    if low >= bar - _ROUNDING:
        return "met"
    return "missed" if high < bar - _ROUNDING else "undecided"


def at_most(bar: float, low: float | None, high: float | None) -> Verdict:
    """Whether a value of the interval [low, high] is `bar` or less; as `at_least`."""
    if low is None or high is None:
        return "undecided"
    return at_least(-bar, -high, -low)
