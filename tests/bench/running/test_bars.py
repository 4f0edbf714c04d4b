"""A progress bar's numbers are whole on any terminal."""

import io

import pytest
from rich.cells import cell_len
from rich.console import Console

from erasure_bench.bench.running.bars import Bars, shortened

TITLE = "sld-weak-diffusers · grumpy cat · seed 12 · drawing neighbour"


def drawn(width: int, title: str = TITLE) -> list[str]:
    console = Console(width=width, file=io.StringIO(), force_terminal=True, color_system=None)
    bars = Bars(console, disable=False)
    bars.add_task("all", total=1234, completed=567, unit="tasks", note="11.8 images/s, about 1:23:45 left")
    bars.add_task(title, total=250, completed=125, unit="images", note="12.5 images/s")
    bars.add_task("hidden", total=1, unit="", note="", visible=False)
    with console.capture() as capture:
        console.print(bars.get_renderable())
    return capture.get().splitlines()


@pytest.mark.parametrize("width", range(20, 200))
def test_nothing_is_cut(width: int) -> None:
    whole, part = drawn(width)
    assert max(cell_len(whole), cell_len(part)) <= width
    assert "567/1234 tasks" in whole and "125/250 images" in part and "…" not in whole + part
    assert ("1:23" in whole) == ("11.8 images/s, about 1:23:45 left" in whole)
    assert ("12.5" in part) == ("12.5 images/s" in part)
    assert "seed" not in part or "seed 12" in part
    if width >= 60:
        assert "about 1:23:45 left" in whole and "12.5 images/s" in part and "drawing neighbour" in part
    if width >= 130:
        assert TITLE in part and "━" in part


def test_a_title_is_shortened_by_whole_parts() -> None:
    assert shortened(TITLE, 100) == TITLE
    assert shortened(TITLE, 55) == "sld-weak-diffusers · grumpy cat · drawing neighbour"
    assert shortened(TITLE, 40) == "sld-weak-diffusers · drawing neighbour"
    assert shortened(TITLE, 20) == "drawing neighbour"
    assert shortened(TITLE, 5) == ""


def test_names_are_no_markup_and_no_escapes() -> None:
    _, part = drawn(120, "[red]x[/] · [/]")
    assert "[red]x[/] · [/]" in part
