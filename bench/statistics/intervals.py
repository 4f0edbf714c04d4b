"""Confidence intervals in closed form, from `Moments`: they depend on a number's own data alone.

Prompts are few, values often lie at the end of their range, and one prompt not seen may be a failure: each
interval allows for a prompt at the bound that nobody has tried. Which estimator covers, and what it costs
in width, is measured by `python -m studies.coverage` (results/statistics/coverage.md).
"""

from typing import Literal, NamedTuple

import numpy as np
from scipy.special import betaincinv, gammaincinv, ndtri, stdtrit
from statsmodels.stats.proportion import proportion_confint

from erasure_bench.bench.statistics.cells import Values
from erasure_bench.bench.statistics.moments import Moments

CONFIDENCE = 0.95
LEAST_CORRELATION = 0.2
"""Pictures of one prompt are taken to be at least so much alike, however alike the few that failed look."""
HEAVIER = 1.5
"""The prompt that nobody has tried may have so many times the most that any prompt has: totals of detections
hang on a few heavy prompts. Chosen by simulation, as `LEAST_CORRELATION` is (`studies.coverage`)."""
HALF_WAY = 0.5
"""How far towards its bound an imagined prompt of a free mean lies: its values keep far from bounds."""

Scale = Literal["share", "bounded", "free", "count", "statistic"]
"""What a number is a mean of: 0 and 1; values in a range that they reach; values that keep far from their
bounds, or have none; a total of counts from 0 up; or a statistic of a set, in its prompts' shares."""
UNBOUNDED = (-np.inf, np.inf)


class Ends(NamedTuple):
    """Interval ends [numbers]; NaN where there is no interval (a concept with fewer than two prompts)."""

    low: Values
    high: Values


def level_intervals(
    moments: Moments, scale: Scale, bounds: tuple[float, float], confidence: float = CONFIDENCE
) -> Ends:
    """The interval of each number's value.

    share: Wilson (1927) on the effective number of pictures (Korn and Graubard 1998), the end towards the
    nearer bound at least Clopper and Pearson's; where all are equal Clopper and Pearson's on the prompts.
    bounded: one imagined prompt at each bound (Gaffke 2005), as a Beta distribution of the same two moments.
    free: Student's t, in quadrature with one imagined prompt half-way to each of `bounds` that is finite.
    count: the Gamma interval of Fay and Feuer (1997).
    statistic: Student's t on the jackknife's shares (`bench.statistics.jackknife`), cut at `bounds`.

    A free mean's `bounds` are its reach, past which it may go; `within` cuts it at what is possible.
    """
    if scale == "share":
        return _share(moments, confidence)
    if scale == "count":
        return _count(moments, confidence)
    if scale == "bounded":
        return _bounded(moments, bounds, confidence)
    if scale == "statistic":
        return within(_free(moments, moments.value, UNBOUNDED, confidence), bounds)
    return _free(moments, moments.value, bounds, confidence)


def within(ends: Ends, bounds: tuple[float, float]) -> Ends:
    """Cut at `bounds`, past which no mean can lie: as many intervals cover theirs as before."""
    return Ends(np.clip(ends.low, *bounds), np.clip(ends.high, *bounds))


def change_intervals(
    method: Moments,
    base: Moments,
    change: Moments,
    scale: Scale,
    bounds: tuple[float, float],
    confidence: float = CONFIDENCE,
) -> Ends:
    """The interval of each paired change, method less base, all three on the pictures that both have.

    Newcombe's (1998) method 10, MOVER: from both levels' intervals, and how the prompts' values go together.
    free: Student's t on the differences, in quadrature with an imagined prompt where the method's value is
    half-way to either bound and the base model's as it is. statistic: Student's t on the differences.
    """
    if scale == "statistic":
        return _free(change, method.value, UNBOUNDED, confidence)
    if scale == "free":
        return _free(change, method.value, bounds, confidence)
    return _mover(method, base, change, scale, bounds, confidence)


def correlation(method: Moments, base: Moments, change: Moments) -> Values:
    """How the estimates of the two levels go together: by their prompts, never by their training seeds."""
    with np.errstate(divide="ignore", invalid="ignore"):
        together = (method.prompt_variance + base.prompt_variance - change.prompt_variance) / 2
        found = together / np.sqrt(method.variance * base.variance)
    return np.clip(np.where(np.isfinite(found), found, 0.0), -1.0, 1.0)


def _mover(
    method: Moments,
    base: Moments,
    change: Moments,
    scale: Scale,
    bounds: tuple[float, float],
    confidence: float,
) -> Ends:
    own, other = (level_intervals(level, scale, bounds, confidence) for level in (method, base))
    alike = correlation(method, base, change)
    below, above = method.value - own.low, own.high - method.value
    base_below, base_above = base.value - other.low, other.high - base.value

    def distance(of_own: Values, of_base: Values) -> Values:
        squared = of_own**2 + of_base**2 - 2 * alike * of_own * of_base
        return np.asarray(np.sqrt(np.maximum(squared, 0.0)))

    return Ends(change.value - distance(below, base_above), change.value + distance(above, base_below))


def _free(moments: Moments, level: Values, bounds: tuple[float, float], confidence: float) -> Ends:
    """About the value; `level` is what has the bounds. None where nothing varies and there is no bound."""
    half = _t(moments.df, confidence) * np.sqrt(moments.variance)
    imagined = 1 - ((1 - confidence) / 2) ** (1 / np.maximum(moments.clusters, 1))

    def distance(room: Values) -> Values:
        found = np.hypot(half, imagined * np.where(np.isfinite(room), np.maximum(room, 0.0), 0.0))
        return np.where(found > 0, found, np.nan)

    below, above = distance(HALF_WAY * (level - bounds[0])), distance(HALF_WAY * (bounds[1] - level))
    return Ends(moments.value - below, moments.value + above)


def _t(df: Values, confidence: float) -> Values:
    return np.asarray(stdtrit(df, 0.5 + confidence / 2))


def _share(moments: Moments, confidence: float) -> Ends:
    value, variance = np.clip(moments.value, 0.0, 1.0), moments.variance
    z = ndtri(0.5 + confidence / 2)
    per_prompt = moments.pictures / np.maximum(moments.clusters, 1)
    most = moments.pictures / (1 + LEAST_CORRELATION * (per_prompt - 1))
    with np.errstate(divide="ignore", invalid="ignore"):
        size = np.minimum(
            value * (1 - value) / variance * (z / _t(moments.df, confidence)) ** 2,
            most * (z / _t(moments.prompt_df, confidence)) ** 2,
        )
    constant = (variance == 0) | (value == 0) | (value == 1)
    size = np.where(constant, moments.clusters, size)
    size = np.where(np.isnan(variance), np.nan, size)
    with np.errstate(invalid="ignore", divide="ignore"):
        wilson = proportion_confint(value * size, size, 1 - confidence, method="wilson")
    low, high = (np.asarray(end) for end in wilson)
    exact_low, exact_high = _clopper_pearson(value, size, confidence)
    low = np.where(constant, exact_low, np.where(value > 0.5, low, np.minimum(low, exact_low)))
    high = np.where(constant, exact_high, np.where(value < 0.5, high, np.maximum(high, exact_high)))
    return Ends(low, high)


def _clopper_pearson(value: Values, size: Values, confidence: float) -> tuple[Values, Values]:
    """For sizes that are no whole numbers."""
    tail = (1 - confidence) / 2
    found = value * size
    with np.errstate(invalid="ignore"):
        low = np.where(found > 0, betaincinv(np.where(found > 0, found, 1.0), size - found + 1, tail), 0.0)
        lacking = size - found
        high = np.where(
            lacking > 0, betaincinv(found + 1, np.where(lacking > 0, lacking, 1.0), 1 - tail), 1.0
        )
    return low, high


def _bounded(moments: Moments, bounds: tuple[float, float], confidence: float) -> Ends:
    low, high = bounds
    prompts = moments.clusters.astype(np.float64)
    value = np.clip((moments.value - low) / (high - low), 0.0, 1.0)
    z = ndtri(0.5 + confidence / 2)
    variance = moments.variance / (high - low) ** 2 * (_t(moments.df, confidence) / z) ** 2
    ends = []
    for bound, quantile in ((0.0, (1 - confidence) / 2), (1.0, (1 + confidence) / 2)):
        mean = (prompts * value + bound) / (prompts + 1)
        # w of the imagined prompt is Beta(1, prompts); the others have the rest in equal parts.
        spread = variance * (prompts / (prompts + 1)) ** 2 + (value - bound) ** 2 * prompts / (
            (prompts + 1) ** 2 * (prompts + 2)
        )
        ends.append(low + (high - low) * _beta_quantile(mean, spread, quantile))
    return Ends(*ends)


def _beta_quantile(mean: Values, variance: Values, quantile: float) -> Values:
    """Of the Beta distribution with these moments: the mean itself where it is 0 or 1, and the nearer end of
    the range where no distribution varies so much (hardly any prompts)."""
    with np.errstate(divide="ignore", invalid="ignore"):
        size = mean * (1 - mean) / variance - 1
        found = betaincinv(mean * size, (1 - mean) * size, quantile)
    found = np.where(size <= 0, float(quantile > 0.5), found)
    return np.where((mean <= 0) | (mean >= 1), mean, found)


def _count(moments: Moments, confidence: float) -> Ends:
    tail = (1 - confidence) / 2
    z = ndtri(1 - tail)
    value = moments.value
    variance = moments.variance * (_t(moments.df, confidence) / z) ** 2
    one_more = HEAVIER * np.maximum(moments.largest, 1.0 / np.maximum(moments.strata, 1))
    with np.errstate(divide="ignore", invalid="ignore"):
        low = np.where(value > 0, gammaincinv(value**2 / variance, tail) * (variance / value), value * 0.0)
        low = np.where((value > 0) & (variance == 0), value, low)
        wider, above = variance + one_more**2, value + one_more
        high = gammaincinv(above**2 / wider, 1 - tail) * (wider / above)
    return Ends(np.where(np.isnan(variance), np.nan, low), high)
