"""Places with intervals, and the agreement of seeds with scipy's τ-b, ties and all."""

import numpy as np
import pytest
from scipy.stats import kendalltau

from erasure_bench.bench.statistics.ranks import rank_intervals, retest


def test_clear_orders_have_narrow_places_and_equals_share_theirs() -> None:
    prompts = np.random.default_rng(0).normal(0, 0.01, (4, 30, 1))
    values = prompts + np.array([0.9, 0.1, 0.5, 0.5])[:, None, None]
    values[3] = values[2]
    found = rank_intervals(values, lower=True)
    assert found.rank.tolist() == [4, 1, 2, 2]
    assert found.low.tolist() == [4, 1, 2, 2] and found.high.tolist() == [4, 1, 3, 3]
    upside_down = rank_intervals(values, lower=False)
    assert upside_down.rank.tolist() == [1, 4, 2, 2] and upside_down.high.tolist() == [1, 4, 3, 3]


def test_what_prompts_do_not_tell_apart_may_stand_in_any_place() -> None:
    values = np.random.default_rng(0).random((5, 12, 1))
    found = rank_intervals(values, lower=True)
    assert (found.low == 1).sum() >= 3 and (found.high == 5).sum() >= 3
    assert ((found.low <= found.rank) & (found.rank <= found.high)).all()


def test_a_seed_that_reverses_the_order_is_in_the_interval() -> None:
    """The prompts agree to the last: with one seed the order is sure, with two it is not."""
    one = np.tile(np.array([0.2, 0.4])[:, None, None], (1, 20, 1))
    assert rank_intervals(one, lower=True).high.tolist() == [1, 2]
    both = np.concatenate([one, one[::-1] + np.array([0.05, 0.0])[:, None, None]], axis=2)
    found = rank_intervals(both, lower=True)
    assert found.low.tolist() == [1, 1] and found.high.tolist() == [2, 2]


def test_agreement_of_seeds_is_the_mean_tau_b_of_their_pairs() -> None:
    values = np.array([[0.0, 0.0, 0.1], [0.0, 0.1, 0.0], [0.5, 0.4, 0.6], [0.9, 0.9, 0.4]])
    pairs = [(0, 1), (0, 2), (1, 2)]
    wanted = np.mean([kendalltau(values[:, a], values[:, b]).statistic for a, b in pairs])
    assert retest(values) == pytest.approx(wanted)
    # By hand, seeds 0 and 1: 5 pairs agree, 1 is tied in seed 0 alone and 0 in seed 1: 5 / √(5 · 6).
    assert retest(values[:, :2]) == pytest.approx(5 / 30**0.5)


def test_one_seed_or_equal_methods_have_no_agreement() -> None:
    assert retest(np.array([[0.1], [0.2]])) is None
    assert retest(np.array([[0.1, 0.2]])) is None
    assert retest(np.array([[0.1, 0.1], [0.1, 0.1]])) is None
