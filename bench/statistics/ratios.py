"""How many times one level another is, with an interval, from the intervals of both."""

import numpy as np

from erasure_bench.bench.statistics.cells import Values


def ratio_ends(
    value: Values,
    low: Values,
    high: Values,
    base: Values,
    base_low: Values,
    base_high: Values,
    together: Values,
) -> tuple[Values, Values]:
    """Interval ends of value / base, for arrays of one shape of levels that are not negative.

    MOVER for ratios (Donner and Zou 2012, equations 9 and 10): the ratio r at the end is that at which the
    MOVER interval of value − r · base ends at zero. `together` is the correlation of the two estimates. Where
    the base's interval holds zero the upper end is infinite.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        below, base_above = value - low, base_high - base
        product = value * base - together * below * base_above
        inner = product**2 - low * base_high * (2 * value - low) * (2 * base - base_high)
        least = (product - np.sqrt(np.maximum(inner, 0))) / (base_high * (2 * base - base_high))
        above, base_below = high - value, base - base_low
        product = value * base - together * above * base_below
        inner = product**2 - high * base_low * (2 * value - high) * (2 * base - base_low)
        most = (product + np.sqrt(np.maximum(inner, 0))) / (base_low * (2 * base - base_low))
    known = np.isfinite(value + base + low + high) & (base > 0)
    least = np.where(2 * base > base_high, np.maximum(least, 0.0), 0.0)
    most = np.where((base_low > 0) & (2 * base > base_low), most, np.inf)
    return np.where(known, least, np.nan), np.where(known, most, np.nan)
