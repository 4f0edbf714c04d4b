"""Intervals against closed forms and an independent bootstrap, and where they degenerate."""

import numpy as np
import pytest
from numpy.typing import NDArray

from erasure_bench.bench.reporting.bootstrap import mean_intervals


def simple_bootstrap(strata: list[NDArray[np.float64]], draws: int = 8000) -> tuple[float, float]:
    """The same quantity from its definition, with another generator."""
    random = np.random.RandomState(99)
    resampled = [random.choice(stratum, (draws, len(stratum))).mean(axis=1) for stratum in strata]
    means = np.mean(resampled, axis=0)
    return float(np.quantile(means, 0.025)), float(np.quantile(means, 0.975))


def test_large_samples_give_the_normal_interval() -> None:
    values = np.random.default_rng(0).normal(3.0, 2.0, 900)
    interval = mean_intervals([[values]])[0]
    error = values.std(ddof=1) / np.sqrt(len(values))
    assert interval.low == pytest.approx(values.mean() - 1.96 * error, abs=0.1 * error)
    assert interval.high == pytest.approx(values.mean() + 1.96 * error, abs=0.1 * error)


@pytest.mark.parametrize("sizes", [(12,), (30,), (10, 25), (8, 8, 40)])
def test_it_agrees_with_an_independent_bootstrap(sizes: tuple[int, ...]) -> None:
    random = np.random.default_rng(sum(sizes))
    strata = [random.exponential(1.0 + index, size) for index, size in enumerate(sizes)]
    low, high = simple_bootstrap(strata)
    interval = mean_intervals([strata])[0]
    assert interval.low is not None and interval.high is not None
    assert interval.low == pytest.approx(low, abs=0.05 * (high - low))
    assert interval.high == pytest.approx(high, abs=0.05 * (high - low))


def test_concepts_weigh_the_same_however_many_prompts_they_have() -> None:
    """Closed form: the variance of a mean of means is Σ σ²_c / n_c / C²."""
    random = np.random.default_rng(5)
    strata = [random.normal(0, 1, 400), random.normal(10, 3, 100)]
    error = np.sqrt(sum(stratum.var() / len(stratum) for stratum in strata)) / 2
    interval = mean_intervals([strata])[0]
    assert interval.low is not None and interval.high is not None
    assert (interval.high - interval.low) / (2 * 1.96) == pytest.approx(error, rel=0.08)


def test_constant_values_have_no_width_and_a_single_prompt_no_interval() -> None:
    constant, single, nothing = mean_intervals([[np.full(5, 0.25)], [np.array([0.5])], []])
    assert constant == (0.25, 0.25)
    assert single == (None, None) == nothing
    assert mean_intervals([[np.full(5, 0.0), np.full(3, 1.0)]])[0] == (0.5, 0.5)
    assert mean_intervals([[np.array([0.0, 1.0]), np.array([1.0])]])[0] == (None, None)


def test_a_row_does_not_depend_on_the_rest_of_the_table() -> None:
    random = np.random.default_rng(1)
    rows = [[random.normal(size=20), random.normal(size=9)] for _ in range(150)]
    together = mean_intervals(rows)
    alone = [mean_intervals([row])[0] for row in (rows[0], rows[77], rows[149])]
    for index, interval in zip((0, 77, 149), alone, strict=True):
        assert together[index] == pytest.approx(interval, rel=1e-12)


def test_one_outlier_among_ten_stays_within_the_data() -> None:
    interval = mean_intervals([[np.array([0.0] * 9 + [1.0])]])[0]
    assert interval.low == 0.0 and interval.high is not None and 0.1 < interval.high <= 0.4
