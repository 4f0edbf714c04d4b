"""95 % intervals by resampling prompts with replacement.

Percentile bootstrap (Efron and Tibshirani 1993, section 13.3) through scipy. Every interval comes
from the same seed, so that it depends on its own data alone, not on what else is in the table.
"""

import warnings
from collections import defaultdict
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

RESAMPLES = 2000
CONFIDENCE = 0.95
SEED = 20230712
_ROWS_AT_ONCE = 64
_CELLS_AT_ONCE = 4_000_000

Values = NDArray[np.float64]


class Interval(NamedTuple):
    """A confidence interval; both ends are None where there is none (fewer than two prompts)."""

    low: float | None
    high: float | None


NO_INTERVAL = Interval(None, None)


def mean_intervals(strata: Sequence[Sequence[Values]]) -> list[Interval]:
    """The interval of each row's value: the mean over its strata of the strata's means.

    A row is a sequence of strata (concepts), a stratum one value per prompt, without NaN. Prompts
    are resampled within their stratum. A row with a stratum of a single prompt has no interval;
    one whose strata are all constant has an interval of width zero.
    """
    intervals = [NO_INTERVAL] * len(strata)
    by_shape: defaultdict[tuple[int, ...], list[int]] = defaultdict(list)
    for index, row in enumerate(strata):
        if not row or any(len(stratum) < 2 for stratum in row):
            continue
        if all(np.ptp(stratum) == 0 for stratum in row):
            value = float(np.mean([stratum[0] for stratum in row]))
            intervals[index] = Interval(value, value)
        else:
            by_shape[tuple(len(stratum) for stratum in row)].append(index)
    for shape, indices in by_shape.items():
        # Rows of one shape are resampled by the same draws, so that one call does them all.
        for start in range(0, len(indices), _ROWS_AT_ONCE):
            part = indices[start : start + _ROWS_AT_ONCE]
            samples = tuple(np.stack([strata[index][k] for index in part]) for k in range(len(shape)))
            low, high = _percentiles(samples)
            for position, index in enumerate(part):
                intervals[index] = Interval(float(low[position]), float(high[position]))
    return intervals


def _percentiles(samples: tuple[Values, ...]) -> tuple[Values, Values]:
    """Interval ends, each [rows], of samples of shape [rows, prompts] per stratum."""
    from scipy.stats import bootstrap

    def mean_of_means(*strata: Values, axis: int = -1) -> Values:
        result: Values = np.mean([np.mean(stratum, axis=axis) for stratum in strata], axis=0)
        return result

    prompts = sum(sample.shape[1] for sample in samples)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a row that is constant by chance in all resamples
        interval = bootstrap(
            samples,
            mean_of_means,
            axis=-1,
            vectorized=True,
            n_resamples=RESAMPLES,
            # No function of the number of rows: with several strata it decides the order of the draws.
            batch=max(1, _CELLS_AT_ONCE // (_ROWS_AT_ONCE * prompts)),
            confidence_level=CONFIDENCE,
            method="percentile",
            rng=np.random.default_rng(SEED),
        ).confidence_interval
    return np.atleast_1d(interval.low), np.atleast_1d(interval.high)
