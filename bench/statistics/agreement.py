"""How far two detectors agree on the same pictures, beyond what their rates alone would bring about."""

from typing import NamedTuple

import numpy as np

from erasure_bench.bench.statistics.cells import Values


class Agreement(NamedTuple):
    """Of `units` that both have judged: how many each calls 1, on how many they differ, Krippendorff's α.

    α is 1 where they never differ and 0 where they differ as often as chance would have it; None where both
    say the same of everything, which leaves nothing to agree about.
    """

    units: int
    ones: tuple[int, int]
    differ: int
    alpha: float | None


def agreement(one: Values, other: Values) -> Agreement:
    """Of two arrays [units] of 1, 0 and NaN, not judged. Krippendorff 2011, nominal data."""
    import krippendorff

    both = np.isfinite(one) & np.isfinite(other)
    rated = np.stack([one[both], other[both]])
    differ = int((rated[0] != rated[1]).sum())
    alpha = None
    if np.unique(rated).size > 1:
        alpha = float(krippendorff.alpha(reliability_data=rated, level_of_measurement="nominal"))
    ones = tuple(int(row.sum()) for row in rated)
    return Agreement(rated.shape[1], (ones[0], ones[1]), differ, alpha)
