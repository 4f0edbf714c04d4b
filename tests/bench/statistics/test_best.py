"""What may be the best: sign flips and Holm's steps by hand."""

import numpy as np
import pytest
from scipy.stats import permutation_test
from statsmodels.stats.multitest import multipletests

from erasure_bench.bench.statistics.best import ALPHA, RESAMPLES, find_best, holm, paired_p


def test_few_prompts_are_looked_at_in_all_ways() -> None:
    """Of the 8 ways to sign (1, 2, 3) only two have a sum as far from zero as 6; of (1, 2, −3) all have."""
    assert paired_p(np.array([[1.0, 2.0, 3.0], [1.0, 2.0, -3.0]])) == pytest.approx([2 / 8, 1.0])
    ways = sum(
        abs(a + b + 2 * c + 4 * d) >= 6 for a in (1, -1) for b in (1, -1) for c in (1, -1) for d in (1, -1)
    )
    assert paired_p(np.array([[1.0, -1.0, 2.0, 4.0]])) == pytest.approx([ways / 16])


def test_no_difference_in_any_prompt_is_no_evidence() -> None:
    assert paired_p(np.zeros((2, 12))) == pytest.approx([1.0, 1.0])
    assert paired_p(np.full((1, 12), 0.1)) == pytest.approx([2 / 2**12])
    assert paired_p(np.empty((0, 12))).size == 0


def test_a_pairs_p_value_does_not_depend_on_what_else_is_in_the_table() -> None:
    differences = np.random.default_rng(0).normal(0.2, 1, (3, 48))
    alone = np.concatenate([paired_p(differences[i : i + 1]) for i in range(len(differences))])
    assert paired_p(differences) == pytest.approx(alone)
    for few in (differences[:, :12], differences):
        reference = permutation_test(
            (few.T,), np.mean, permutation_type="samples", n_resamples=RESAMPLES, vectorized=False, rng=1
        )
        exact = few.shape[1] <= 13
        assert paired_p(few) == pytest.approx(reference.pvalue, abs=1e-9 if exact else 0.02)


def test_holm_by_hand() -> None:
    """Five prompts: raw p of a against the best 2/32 for each of two others, 1 for the third.

    Ordered: 3 · 2/32, then 2 · 2/32 raised to the first, then 1.
    """
    best = np.zeros(5)
    values = np.array([np.full(5, 0.2), best, np.full(5, 0.3), [0.1, -0.1, 0.1, -0.1, 0.1]])
    found = find_best(values, lower=True)
    raw = paired_p(values[[0, 2, 3]])
    assert raw[:2] == pytest.approx([2 / 32, 2 / 32])
    assert found.best == 1
    assert found.p == pytest.approx([6 / 32, 1.0, 6 / 32, raw[2]])
    assert found.among.tolist() == [True] * 4, "five prompts tell nothing from anything"


def test_holm_is_that_of_statsmodels() -> None:
    for p in (np.array([0.01, 0.04, 0.03, 0.005]), np.random.default_rng(0).random(15) ** 3, np.array([0.2])):
        assert holm(p) == pytest.approx(multipletests(p, ALPHA, method="holm")[1])
    assert holm(np.array([0.01, 0.04, 0.03, 0.005])) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm(np.empty(0)).size == 0


def test_more_prompts_tell_the_worse_from_the_best_and_leave_its_equals() -> None:
    rng = np.random.default_rng(0)
    base = rng.random(12)
    noise = rng.normal(0, 0.05, 12)
    values = np.array([base, base + noise, base + 0.3])
    assert find_best(values, lower=True).among.tolist() == [True, True, False]
    assert find_best(-values, lower=False).among.tolist() == [True, True, False]


def test_an_equal_of_the_best_is_rarely_left_out() -> None:
    """Of 200 columns of 6 methods without a difference, the first is left out in about 1 of 20 at most."""
    rng = np.random.default_rng(1)
    left_out = sum(not find_best(rng.random((6, 10)), lower=True).among[0] for _ in range(200))
    assert left_out <= 16


def test_a_single_method_is_the_best() -> None:
    assert find_best(np.ones((1, 4)), lower=True).among.tolist() == [True]
