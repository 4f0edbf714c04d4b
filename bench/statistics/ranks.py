"""Places in a column and how sure they are; whether seeds agree on the order."""

from functools import lru_cache
from itertools import combinations
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from erasure_bench.bench.statistics.cells import Values

CONFIDENCE = 0.95
RESAMPLES = 2000
SEED = 20230712
_DECIMALS = 12
"""Means that differ by less than this differ by rounding."""

Places = NDArray[np.int64]


class Ranks(NamedTuple):
    """Places from 1, the best, each [methods]; methods of the same value share the first of their places."""

    rank: Places
    low: Places
    high: Places


def rank_intervals(values: Values, *, lower: bool) -> Ranks:
    """Places by the means of `values` [methods, prompts, seeds], with 95 % intervals.

    Percentile bootstrap: prompts, and seeds where there are several, are drawn anew, independently of each
    other and the same for all methods (Owen 2007). Methods that are equal may stand in any of the places that
    they share.
    """
    _, prompts, seeds = values.shape
    by_prompt, by_seed = _drawn(prompts, SEED), _drawn(seeds, SEED + 1)
    means = np.einsum("rms,rs->rm", np.tensordot(by_prompt, values, axes=(1, 1)), by_seed)
    tail = (1 - CONFIDENCE) / 2
    return Ranks(
        _places(values.mean(axis=(1, 2))[None], lower, "min")[0],
        _quantile(_places(means, lower, "min"), tail),
        _quantile(_places(means, lower, "max"), 1 - tail),
    )


@lru_cache(maxsize=2)
def _drawn(count: int, seed: int) -> Values:
    """[resamples, count]: the weights of so many things, drawn anew as often; the same for all columns."""
    rng = np.random.default_rng(seed)
    return rng.multinomial(count, np.full(count, 1 / count), RESAMPLES) / count


def retest(values: Values) -> float | None:
    """Kendall's τ-b between the orders of `values` [methods, seeds] by each seed: the mean over their pairs.

    None with a single seed or method, and where a seed tells no method from another.
    """
    from scipy.stats import kendalltau

    if len(values) < 2:
        return None
    rounded = values.round(_DECIMALS)
    taus = [
        kendalltau(rounded[:, one], rounded[:, other], variant="b").statistic
        for one, other in combinations(range(values.shape[1]), 2)
    ]
    return float(np.mean(taus)) if taus and np.isfinite(taus).all() else None


def _quantile(places: Places, share: float) -> Places:
    return np.quantile(places, share, axis=0, method="inverted_cdf").astype(np.int64)


def _places(means: Values, lower: bool, ties: str) -> Places:
    from scipy.stats import rankdata

    rounded = (means if lower else -means).round(_DECIMALS)
    return np.asarray(rankdata(rounded, method=ties, axis=1), dtype=np.int64)
