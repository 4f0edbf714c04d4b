"""A statistic as shares of its prompts: the jackknife's variance, in one go or group by group."""

import numpy as np
import pytest
from scipy.stats import t

from erasure_bench.bench.statistics.cells import Cells, Groups
from erasure_bench.bench.statistics.intervals import level_intervals
from erasure_bench.bench.statistics.jackknife import MOST_LEFT_OUT, in_groups, shares
from erasure_bench.bench.statistics.moments import moments
from erasure_bench.models.mmd import Kernels, cubic, squared_mmd, without_each


def variance_of_mean(values: np.ndarray) -> float:
    return float(values.var(ddof=1) / len(values))


def test_the_shares_of_a_mean_are_its_values() -> None:
    values = np.random.default_rng(0).random(12)
    without = np.array([np.delete(values, place).mean() for place in range(12)])
    assert shares(values.mean(), without, np.arange(12)) == pytest.approx(values)


@pytest.mark.parametrize("prompts", [100, 137])
def test_prompts_left_out_in_groups_have_about_the_same_variance(prompts: int) -> None:
    values = np.random.default_rng(1).normal(size=prompts)
    group = in_groups(prompts)
    assert group.max() + 1 == MOST_LEFT_OUT
    without = np.array([values[group != one].mean() for one in range(MOST_LEFT_OUT)])
    found = shares(values.mean(), without, group)
    assert found.mean() == pytest.approx(values.mean())
    assert variance_of_mean(found) == pytest.approx(variance_of_mean(values), rel=0.35)


@pytest.mark.parametrize("without", [np.array([1.0, np.nan, 1.0]), np.array([1.0])])
def test_where_a_set_without_a_prompt_has_no_statistic_there_is_no_interval(without: np.ndarray) -> None:
    found = shares(2.0, without, np.zeros(3, dtype=np.int64))
    assert (found == 2.0).all()


def test_the_interval_of_a_kernel_distance_covers_what_other_prompts_would_give() -> None:
    rng = np.random.default_rng(2)
    reference = np.maximum(rng.normal(size=(40, 64)), 0)
    none = np.full(40, -1)
    prompts, pictures = 15, 2

    def drawn() -> np.ndarray:
        of_prompt = rng.normal(0.3, 1, size=(prompts, 1, 64))
        noisy = of_prompt + rng.normal(0, 0.5, size=(prompts, pictures, 64))
        return np.asarray(np.maximum(noisy, 0).reshape(-1, 64))

    codes = np.repeat(np.arange(prompts), pictures)
    values, low, high = [], [], []
    for _ in range(300):
        x = drawn()
        kernels = Kernels(cubic(x, x), cubic(reference, reference), cubic(x, reference))
        value = squared_mmd(kernels, unbiased=True)
        left = without_each(kernels, codes, none, range(prompts), unbiased=True)
        cells = Cells.of(
            np.zeros(prompts, np.int64),
            np.arange(prompts),
            np.zeros(prompts, np.int64),
            shares(value, left, np.arange(prompts)),
            1,
        )
        found = moments(cells, Groups.alone(np.array([False])))
        ends = level_intervals(found, "statistic", (-np.inf, np.inf))
        values.append(found.value[0])
        low.append(ends.low[0])
        high.append(ends.high[0])
        assert found.value[0] == pytest.approx(value)
    centre = np.mean(values)
    covered = np.mean((np.array(low) <= centre) & (centre <= np.array(high)))
    assert 0.91 <= covered <= 0.98
    error = np.mean(np.array(high) - np.array(low)) / 2 / t.ppf(0.975, prompts - 1)
    assert error == pytest.approx(np.std(values), rel=0.25)


def test_an_interval_is_cut_at_the_bounds() -> None:
    cells = Cells.of(np.zeros(3, np.int64), np.arange(3), np.zeros(3, np.int64), np.array([0.0, 0.5, 1.0]), 1)
    ends = level_intervals(moments(cells, Groups.alone(np.array([False]))), "statistic", (0.0, 1.0))
    assert (ends.low[0], ends.high[0]) == (0.0, 1.0)
