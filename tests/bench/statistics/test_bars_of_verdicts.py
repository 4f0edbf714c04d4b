"""Three states of a bar, at its very edge too."""

import pytest

from erasure_bench.bench.statistics.bars import Verdict, at_least, at_most


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [
        (0.5, 0.6, "met"),
        (0.3, 0.6, "undecided"),
        (0.3, 0.5, "undecided"),
        (0.3, 0.499, "missed"),
        (0.1 + 0.2 + 0.2 - 1e-16, 0.9, "met"),
        (None, None, "undecided"),
        (0.6, None, "undecided"),
    ],
)
def test_at_least_one_half(low: float | None, high: float | None, verdict: Verdict) -> None:
    assert at_least(0.5, low, high) == verdict


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [(-0.2, 0.5, "met"), (0.4, 0.6, "undecided"), (0.5, 0.6, "undecided"), (0.51, 0.6, "missed")],
)
def test_at_most_one_half(low: float, high: float, verdict: Verdict) -> None:
    assert at_most(0.5, low, high) == verdict
