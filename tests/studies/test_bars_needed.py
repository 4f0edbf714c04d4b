"""How many prompts a bar needs, where it can be counted by hand."""

import numpy as np
import pytest

from studies import bars_needed as study


def test_the_more_is_kept_the_sooner_the_bar_is_met() -> None:
    met = study.kept_is_met(100)
    assert met[100] and not met[80] and not met[0]
    assert not np.any(np.diff(met.astype(int)) < 0)


def test_where_nothing_is_lost_it_is_a_matter_of_the_interval_alone() -> None:
    """Clopper and Pearson's end of n of n is .025^(1/n): at least .9 from n = 36 on."""
    assert 0.025 ** (1 / 36) > 0.9 > 0.025 ** (1 / 35)
    assert study.kept_is_met(36)[36] and not study.kept_is_met(35)[35]


def test_the_more_is_gone_the_sooner_half_is() -> None:
    met = study.gone_is_met(24)
    assert met[0] and met[4] and not met[12] and not met[24]


def test_the_chance_is_the_binomials() -> None:
    met = np.array([False, False, True, True])
    assert study.chance(met, 0.9) == pytest.approx(3 * 0.9**2 * 0.1 + 0.9**3)
    assert study.chance(met, 1.0) == 1.0


def test_the_fewest_are_enough_with_all_more() -> None:
    always, never = np.array([True, True]), np.array([False, False])
    assert study.fewest({1: always, 2: never, 3: always, 4: always}, 0.5) == 3
    assert study.fewest({1: never}, 0.5) is None
