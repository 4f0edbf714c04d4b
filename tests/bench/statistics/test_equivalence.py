"""Two one-sided tests against statsmodels; that nothing was seen to change proves little."""

import warnings
from functools import partial

import numpy as np
import pytest
from scipy.stats import binom
from statsmodels.stats.weightstats import ttost_paired

from erasure_bench.bench.statistics.cells import Cells, Groups, Values
from erasure_bench.bench.statistics.equivalence import equivalence_p
from erasure_bench.bench.statistics.intervals import UNBOUNDED, Scale, change_intervals
from erasure_bench.bench.statistics.moments import moments


def p_of(edited: Values, base: Values, margin: float, scale: Scale = "free") -> Values:
    """Of numbers [numbers, prompts]."""
    numbers, prompts = edited.shape
    stratum, cluster = (np.repeat(np.arange(numbers), prompts), np.tile(np.arange(prompts), numbers))
    same, groups = np.zeros_like(stratum), Groups.alone(np.zeros(numbers, bool))
    values = (edited.ravel(), base.ravel(), (edited - base).ravel())
    of = [moments(Cells.of(stratum, cluster, same, value, numbers), groups) for value in values]
    bounds = UNBOUNDED if scale == "free" else (0.0, 1.0)
    return equivalence_p(partial(change_intervals, *of, scale, bounds), of[2].value, of[2].clusters, margin)


@pytest.mark.parametrize("shift", [-0.08, -0.02, 0.0, 0.05, 0.09])
def test_it_is_the_paired_tost(shift: float) -> None:
    rng = np.random.default_rng(0)
    base, edited = rng.random(96), rng.random(96)
    edited += base.mean() - edited.mean() + shift
    wanted = ttost_paired(edited, base, -0.1, 0.1)[0]
    assert p_of(edited[None], base[None], 0.1)[0] == pytest.approx(wanted, rel=0.02)


def test_a_loss_of_the_whole_margin_is_rarely_called_the_same() -> None:
    """Of shares near 1, where a few prompts of 48 are lost: Student's t does so in .13 of the tables."""
    rng = np.random.default_rng(0)
    base = np.ones((2000, 48))
    lost = (rng.random(base.shape) >= 0.1).astype(float)
    assert (p_of(lost, base, 0.1, "share") <= 0.05).mean() <= 0.06
    kept = (rng.random(base.shape) >= 0.01).astype(float)
    assert (p_of(kept, base, 0.1, "share") <= 0.05).mean() > 0.8, "what is hardly lost is the same"


@pytest.mark.parametrize("prompts", [12, 28, 29, 96])
def test_no_change_in_any_prompt_is_worth_what_a_binomial_says(prompts: int) -> None:
    """Had a tenth of all pictures been lost, none of so many would have been with this chance."""
    ones = np.ones((1, prompts))
    (p,) = p_of(ones, ones, 0.1, "share")
    assert p == pytest.approx(binom.pmf(0, prompts, 0.1), rel=0.02)
    assert (p <= 0.05) == (prompts >= 29)


def test_a_change_by_the_margin_or_more_is_never_the_same() -> None:
    for change in (-0.1, 0.1, 0.5, -1.0):
        assert p_of(np.full((1, 40), change), np.zeros((1, 40)), 0.1)[0] == pytest.approx(1.0)


def test_one_prompt_says_nothing_and_numbers_are_taken_at_once() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert p_of(np.zeros((1, 1)), np.zeros((1, 1)), 0.1, "share")[0] == 1.0
        assert p_of(np.ones((1, 4000)), np.ones((1, 4000)), 0.1, "share")[0] <= 1e-6
    rng = np.random.default_rng(0)
    edited, base = rng.random((3, 60)), rng.random((3, 60))
    alone = [p_of(edited[[place]], base[[place]], 0.1, "bounded")[0] for place in range(3)]
    assert p_of(edited, base, 0.1, "bounded").tolist() == alone
