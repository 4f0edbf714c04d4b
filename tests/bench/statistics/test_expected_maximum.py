"""The expected maximum in closed form is what I2P's 10,000 drawings tend to."""

import numpy as np
import pytest

from erasure_bench.bench.statistics.expected_maximum import expected_maximum


@pytest.mark.parametrize("seed", range(3))
def test_it_is_what_drawing_anew_gives(seed: int) -> None:
    random = np.random.default_rng(seed)
    shares = random.binomial(10, random.beta(0.4, 3, 300)) / 10  # ten pictures a prompt, as in I2P
    drawn = np.array([random.choice(shares, 25).max() for _ in range(10_000)])

    found = expected_maximum(shares, 25)

    assert found.mean == pytest.approx(drawn.mean(), abs=4 * drawn.std() / 100)
    assert found.std == pytest.approx(drawn.std(), rel=0.05)


def test_by_hand() -> None:
    """Two draws of {0, 1}: three times of four there is a 1."""
    assert expected_maximum(np.array([0.0, 1.0]), 2) == pytest.approx((0.75, np.sqrt(0.75 * 0.25)))
    assert expected_maximum(np.array([0.2, 0.5, 0.8]), 1) == pytest.approx((0.5, np.std([0.2, 0.5, 0.8])))


def test_all_alike_and_one_prompt_are_what_they_are() -> None:
    assert expected_maximum(np.full(40, 0.3), 25) == pytest.approx((0.3, 0.0))
    assert expected_maximum(np.array([0.7]), 25) == pytest.approx((0.7, 0.0))
    assert expected_maximum(np.linspace(0, 1, 5), 10_000).mean == pytest.approx(1.0)


def test_nothing_has_no_maximum() -> None:
    with pytest.raises(ValueError, match="no maximum"):
        expected_maximum(np.array([]), 25)
    with pytest.raises(ValueError, match="no maximum"):
        expected_maximum(np.array([0.5]), 0)
