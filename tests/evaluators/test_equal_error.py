"""The equal-error point is where the textbooks put it."""

import math

import numpy as np
import pytest

from erasure_bench.evaluators.equal_error import equal_error


def test_of_two_normal_distributions_it_is_half_way() -> None:
    """Distances N(0, 1) and N(d, 1): the threshold is d / 2 and both errors are Φ(−d / 2)."""
    random = np.random.default_rng(0)
    apart = 2.0

    found = equal_error(random.normal(0, 1, 50_000), random.normal(apart, 1, 20_000))

    assert found.threshold == pytest.approx(apart / 2, abs=0.03)
    assert found.equal_error == pytest.approx(math.erfc(apart / 2 / math.sqrt(2)) / 2, abs=0.005)
    assert (found.same, found.others) == (50_000, 20_000)


def test_where_nothing_overlaps_it_is_the_middle_of_the_gap() -> None:
    found = equal_error(np.array([0.1, 0.3, 0.2]), np.array([0.7, 0.9]))

    assert found.threshold == pytest.approx(0.5) and found.equal_error == 0


def test_small_samples_agree_with_trying_every_threshold() -> None:
    random = np.random.default_rng(1)
    for _ in range(20):
        same, others = random.integers(0, 9, 7) / 4, random.integers(3, 12, 5) / 4
        found = equal_error(same, others)
        tried = [abs((same > t).mean() - (others <= t).mean()) for t in np.linspace(-1, 4, 161)]
        at = abs((same > found.threshold).mean() - (others <= found.threshold).mean())
        assert at == pytest.approx(min(tried), abs=1e-12)


def test_faces_that_cannot_be_told_apart_have_an_error_of_one_half() -> None:
    same = np.array([1.0, 1.0, 1.0])

    assert equal_error(same, same).equal_error == 0.5
