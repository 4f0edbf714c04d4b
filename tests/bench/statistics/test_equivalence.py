"""Two one-sided tests against statsmodels; that nothing was seen to change proves little."""

import numpy as np
import pytest
from scipy.stats import binom
from statsmodels.stats.weightstats import ttost_paired

from erasure_bench.bench.statistics.equivalence import equivalence_p


def p_of(differences: np.ndarray, margin: float) -> float:
    error = differences.std(ddof=1) / len(differences) ** 0.5
    numbers = (differences.mean(), error, len(differences) - 1, len(differences))
    return float(equivalence_p(*map(np.asarray, numbers), margin))


@pytest.mark.parametrize("shift", [-0.08, -0.02, 0.0, 0.05, 0.09])
def test_it_is_the_paired_tost(shift: float) -> None:
    rng = np.random.default_rng(0)
    base, edited = rng.random(96), rng.random(96)
    edited += base.mean() - edited.mean() + shift
    wanted = ttost_paired(edited, base, -0.1, 0.1)[0]
    assert p_of(edited - base, 0.1) == pytest.approx(wanted)


@pytest.mark.parametrize("prompts", [2, 12, 28, 29, 96])
def test_no_change_in_any_prompt_is_worth_what_a_binomial_says(prompts: int) -> None:
    """Had a tenth of all pictures been lost, none of so many would have been with this chance."""
    p = p_of(np.zeros(prompts), 0.1)
    assert p == pytest.approx(binom.pmf(0, prompts, 0.1))
    assert (p <= 0.05) == (prompts >= 29)


def test_a_change_by_the_margin_or_more_is_never_the_same() -> None:
    for change in (-0.1, 0.1, 0.5, -1.0):
        assert p_of(np.full(40, change), 0.1) == pytest.approx(1.0)


def test_one_prompt_says_nothing_and_arrays_are_taken_at_once() -> None:
    mean, error = np.array([0.0, 0.01, np.nan]), np.array([np.nan, 0.02, np.nan])
    found = equivalence_p(mean, error, np.array([np.nan, 39, np.nan]), np.array([1, 40, 0]), 0.1)
    assert found[[0, 2]].tolist() == [1.0, 1.0] and 0 < found[1] < 0.05
