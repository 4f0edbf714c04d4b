"""Which methods may be the best of a column: all that a paired test does not tell from the best value."""

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from erasure_bench.bench.statistics.cells import Values

ALPHA = 0.05
RESAMPLES = 9999
SEED = 20230712
_CELLS_AT_ONCE = 4_000_000


class Best(NamedTuple):
    """The method with the best value, and of each the p value of its difference from it, after Holm."""

    best: int
    p: Values

    @property
    def among(self) -> NDArray[np.bool_]:
        """Which methods are not told from the best, that one among them."""
        found: NDArray[np.bool_] = self.p > ALPHA
        return found

    @property
    def told(self) -> bool:
        """Whether any method is told from the best: a mark on all says as little as none."""
        return not self.among.all()


def paired_p(differences: Values) -> Values:
    """Two-sided p values [pairs] of paired differences [pairs, prompts]: is their mean zero?

    Permutation test (Fisher 1935): the two methods of a pair may change places in every prompt. All
    2^prompts ways are looked at where they are no more than `RESAMPLES` (13 prompts), else as many by chance,
    the same for every pair. As `scipy.stats.permutation_test` with single samples, without its arrays of all
    pairs, prompts and ways, which take twenty times as long.
    """
    rounding = 1e-12 * np.abs(differences).sum(axis=1)
    edge = np.abs(differences.sum(axis=1)) - rounding
    ways = _ways(differences.shape[1])
    at_once = max(1, _CELLS_AT_ONCE // max(1, *differences.shape))
    extreme = np.zeros(len(differences))
    for start in range(0, len(ways), at_once):
        signs = 1.0 - 2.0 * ways[start : start + at_once]
        extreme += (np.abs(signs @ differences.T) >= edge).sum(axis=0)
    every = len(ways) == 2 ** differences.shape[1]
    return extreme / len(ways) if every else (extreme + 1) / (len(ways) + 1)


@lru_cache(maxsize=1)
def _ways(prompts: int) -> NDArray[np.int8]:
    """[ways, prompts]: 1 where the two methods have changed places. Columns of as many prompts share them."""
    if 2**prompts <= RESAMPLES:
        return (np.arange(2**prompts)[:, None] >> np.arange(prompts) & 1).astype(np.int8)
    return np.random.default_rng(SEED).integers(0, 2, (RESAMPLES, prompts), dtype=np.int8)


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
    As good means as good in every kind of prompt: a method that fails in one of fifty prompts, and did not in
    these, is told from one that is a little worse in all.
    """
    means = values.mean(axis=1)
    index = int(np.argmin(means) if lower else np.argmax(means))
    p = np.ones(len(values))
    others = np.delete(np.arange(len(values)), index)
    p[others] = holm(paired_p(values[others] - values[index]))
    return Best(index, p)


def second_best(values: Values, best: Best, *, lower: bool) -> NDArray[np.bool_]:
    """Which of the methods that are told from the `best` of this column are not told from the best of these.

    None where that tells nobody from anybody: a mark on all the others says as little as none.
    """
    found = np.zeros(len(values), dtype=bool)
    rest = np.flatnonzero(~best.among)
    if len(rest):
        next_best = find_best(values[rest], lower=lower)
        found[rest] = next_best.told & next_best.among
    return found
