"""Numbers as people read them."""

import pytest

from erasure_bench.bench.words.numbers import number, p_value


@pytest.mark.parametrize(
    ("p", "shown"), [(0.0, "<0.001"), (0.0004, "<0.001"), (0.001, "0.001"), (0.0312, "0.031"), (1.0, "1.000")]
)
def test_no_p_value_is_shown_as_nothing(p: float, shown: str) -> None:
    assert p_value(p, 3) == shown


def test_the_minus_is_a_minus_and_zero_has_none() -> None:
    assert (
        number(-0.25, 2) == "−0.25" and number(-0.001, 2) == "0.00" and number(0.3, 1, signed=True) == "+0.3"
    )
