"""The smallest change that is found, against the power that scipy's noncentral t gives."""

import pytest
from scipy.stats import binom, nct, t

from erasure_bench.bench.statistics.detectable import (
    ALPHA,
    POWER,
    detectable_change,
    prompts_to_show,
    rare_change,
)


@pytest.mark.parametrize("freedom", [1, 2, 11, 47, 119, 5000])
def test_a_change_of_that_size_is_found_in_four_of_five(freedom: int) -> None:
    error = 0.02
    change = detectable_change(error, freedom)
    assert change is not None
    edge = t.isf(ALPHA / 2, freedom)
    shift = change / error
    assert nct.sf(edge, freedom, shift) + nct.cdf(-edge, freedom, shift) == pytest.approx(POWER, abs=1e-3)


def test_it_is_about_2_8_standard_errors_of_many_prompts_and_more_of_few() -> None:
    assert detectable_change(1.0, 10**6) == pytest.approx(2.80, abs=0.01)
    assert detectable_change(1.0, 11) == pytest.approx(3.08, abs=0.01)


def test_prompts_that_do_not_differ_say_nothing() -> None:
    assert detectable_change(0.0, 11) is None
    assert detectable_change(0.1, 0) is None


@pytest.mark.parametrize("prompts", [1, 6, 16, 96])
def test_a_rare_change_shows_on_one_prompt_at_least(prompts: int) -> None:
    share = rare_change(prompts, 1.0)
    assert binom.sf(0, prompts, share) == pytest.approx(POWER)
    assert rare_change(prompts, 100.0) == pytest.approx(100 * share)


def test_so_many_prompts_show_what_few_of_them_carry() -> None:
    needed = prompts_to_show(0.1, 1.0)
    assert needed == 16 and binom.pmf(0, 16, 0.1) <= 1 - POWER < binom.pmf(0, 15, 0.1)
    assert rare_change(16, 1.0) <= 0.1 < rare_change(15, 1.0)
    assert prompts_to_show(10.0, 100.0) == needed and prompts_to_show(1.0, 1.0) == 1
    assert prompts_to_show(0.0, 1.0) is None
