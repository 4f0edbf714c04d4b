"""Growth is measured size by size, each in a process of its own, and told as a slope."""

from pathlib import Path

import pytest

from benchmarks import growth


def test_the_exponent_is_the_slope_of_logarithms() -> None:
    sizes = [1, 2, 4, 8]
    assert growth.exponent(sizes, [9.0, 4.0, 16.0, 64.0]) == 2.0, "the first size is what starting costs"
    assert growth.exponent(sizes, [9.0, 3.0, 3.0, 3.0]) == 0.0
    assert growth.exponent(sizes, [1.0, 0.0, 0.0, 0.0]) is None


@pytest.mark.slow
def test_sizes_are_measured_apart_and_drawn(tmp_path: Path) -> None:
    figures = growth.measure("prompts", [1, 2])
    assert figures["sizes"] == [1, 2] and min(figures["seconds_on_a_core"]) > 0
    pytest.importorskip("matplotlib")
    growth.plot({"prompts": figures}, tmp_path / "growth.png")
    assert (tmp_path / "growth.png").stat().st_size > 1000
