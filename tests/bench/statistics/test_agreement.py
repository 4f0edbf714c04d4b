"""Agreement of two detectors: Krippendorff's alpha against its definition."""

import numpy as np
import pytest

from erasure_bench.bench.statistics.agreement import agreement


def by_definition(one: np.ndarray, other: np.ndarray) -> float:
    """1 minus observed over expected disagreement: of the pairs within pictures, and among all answers."""
    answers = np.concatenate([one, other])
    ones, count = answers.sum(), answers.size
    return float(1 - (one != other).mean() / (2 * ones * (count - ones) / (count * (count - 1))))


@pytest.mark.parametrize("seed", range(3))
def test_alpha_is_one_minus_observed_over_expected_disagreement(seed: int) -> None:
    random = np.random.default_rng(seed)
    one = (random.random(80) < 0.3).astype(float)
    other = np.where(random.random(80) < 0.15, 1 - one, one)

    found = agreement(one, other)

    assert found.alpha == pytest.approx(by_definition(one, other), abs=1e-12)
    assert found.units == 80 and found.differ == int((one != other).sum())
    assert found.ones == (int(one.sum()), int(other.sum()))


def test_chance_agreement_is_near_zero_and_the_same_answers_are_one() -> None:
    random = np.random.default_rng(7)
    one, other = (random.random((2, 4000)) < 0.1).astype(float)
    assert agreement(one, other).alpha == pytest.approx(0.0, abs=0.05)
    assert agreement(one, one).alpha == pytest.approx(1.0)


def test_what_was_not_judged_does_not_count_and_all_alike_says_nothing() -> None:
    one, other = np.array([1.0, 0.0, np.nan, 1.0]), np.array([1.0, 1.0, 0.0, np.nan])
    assert agreement(one, other)[:3] == (2, (1, 2), 1)
    assert agreement(np.zeros(9), np.zeros(9)).alpha is None
    assert agreement(np.array([np.nan]), np.array([1.0])) == (0, (0, 0), 0, None)
