"""Ratios of levels: closed forms, and that the ends cover."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from erasure_bench.bench.statistics.ratios import ratio_ends

SHARES = st.floats(0.05, 0.95)


def ends(*numbers: float) -> tuple[float, float]:
    low, high = ratio_ends(*(np.array([number]) for number in numbers))
    return float(low[0]), float(high[0])


def test_of_a_base_that_is_known_it_is_the_interval_divided() -> None:
    assert ends(0.2, 0.1, 0.4, 0.8, 0.8, 0.8, 0.0) == pytest.approx((0.125, 0.5))


@given(SHARES, SHARES, st.floats(0.1, 0.9), st.floats(-0.9, 0.9))
def test_at_the_ends_the_interval_of_the_difference_ends_at_zero(
    value: float, base: float, width: float, together: float
) -> None:
    """Of value − r · base, by MOVER."""
    low, high = value * (1 - width), value + width * (1 - value)
    base_low, base_high = base * (1 - width), min(base + width * (1 - base), 1.9 * base)
    least, most = ends(value, low, high, base, base_low, base_high, together)
    up, down = high - value, most * (base - base_low)
    assert value - most * base + (up**2 + down**2 - 2 * together * up * down) ** 0.5 == pytest.approx(
        0, abs=1e-6
    )
    up, down = value - low, least * (base_high - base)
    edge = value - least * base - (up**2 + down**2 - 2 * together * up * down) ** 0.5
    assert edge == pytest.approx(0, abs=1e-6)
    assert least <= value / base <= most


def test_nothing_erased_of_nothing_is_no_ratio() -> None:
    assert np.isnan(ends(0.0, 0.0, 0.2, 0.0, 0.0, 0.2, 0.0)).all()
    assert ends(0.1, 0.0, 0.3, 0.1, 0.0, 0.3, 0.0)[1] == np.inf
    assert np.isnan(ends(0.1, np.nan, np.nan, 0.5, np.nan, np.nan, 0.0)).all()
