"""Which methods may be the best of a column: all that a paired test does not tell from the best value."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

ALPHA = 0.05
RESAMPLES = 9999
SEED = 20230712
_CELLS_AT_ONCE = 4_000_000

Values = NDArray[np.float64]


class Best(NamedTuple):
    """The method with the best value, and of each the p value of its difference from it, after Holm."""

    best: int
    p: Values

    @property
    def among(self) -> NDArray[np.bool_]:
        """Which methods are not told from the best, that one among them."""
        found: NDArray[np.bool_] = self.p > ALPHA
        return found


def paired_p(differences: Values) -> Values:
    """Two-sided p values [pairs] of paired differences [pairs, prompts]: is their mean zero?

    Permutation test (Fisher 1935): the two methods of a pair may change places in every prompt. All
    2^prompts ways are looked at where they are no more than `RESAMPLES` (13 prompts), else as many by chance,
    the same for every pair. As `scipy.stats.permutation_test` with single samples, without its arrays of all
    pairs, prompts and ways, which take twenty times as long.
    """
    rounding = 1e-12 * np.abs(differences).sum(axis=1)
    edge = np.abs(differences.sum(axis=1)) - rounding
    prompts = differences.shape[1]
    every = 2**prompts <= RESAMPLES
    total = 2**prompts if every else RESAMPLES
    rng = np.random.default_rng(SEED)
    extreme = np.zeros(len(differences))
    at_once = max(1, _CELLS_AT_ONCE // max(1, prompts))
    for start in range(0, total, at_once):
        way = np.arange(start, min(start + at_once, total))
        swapped = way[:, None] >> np.arange(prompts) & 1 if every else rng.integers(0, 2, (len(way), prompts))
        extreme += (np.abs((1.0 - 2.0 * swapped) @ differences.T) >= edge).sum(axis=0)
    return extreme / total if every else (extreme + 1) / (total + 1)


def holm(p: Values) -> Values:
    """P values adjusted by Holm's steps (1979): the k-th smallest of m times m − k + 1, never falling.

    As `statsmodels.stats.multitest.multipletests`, which collects garbage, .1 s, in each of its calls.
    """
    order = np.argsort(p)
    steps = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(steps, 1.0)
    return adjusted


def find_best(values: Values, *, lower: bool) -> Best:
    """The best of a column's `values` [methods, prompts], whose means over prompts are compared.

    Every method is compared with the one of the best mean by `paired_p`; the p values are Holm's over these
    comparisons, so that a method that is as good as any is left out in at most a share `ALPHA` of columns.
    """
    means = values.mean(axis=1)
    index = int(np.argmin(means) if lower else np.argmax(means))
    p = np.ones(len(values))
    others = np.delete(np.arange(len(values)), index)
    p[others] = holm(paired_p(values[others] - values[index]))
    return Best(index, p)
