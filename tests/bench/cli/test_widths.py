"""Lists, cards, plans and findings fit the terminal, and break no number."""

import re

import pytest
from rich.cells import cell_len

from erasure_bench.bench.cli import doctor
from erasure_bench.bench.cli.app import run_command
from erasure_bench.bench.cli.cards import KINDS, sheet_of
from erasure_bench.bench.cli.doctor import Finding
from erasure_bench.methods.registry import METHODS

Captured = pytest.CaptureFixture[str]
WIDTHS = (24, 40, 60, 80, 120)
CARDS_AT = [pytest.param(width, marks=[] if width in (24, 80) else [pytest.mark.slow]) for width in WIDTHS]
"""There are many of them."""


def printed(capsys: Captured, monkeypatch: pytest.MonkeyPatch, width: int, *arguments: str) -> str:
    monkeypatch.setenv("COLUMNS", str(width))
    assert run_command(list(arguments)) == 0
    text = capsys.readouterr().out
    assert max(map(cell_len, text.splitlines())) <= width
    return text


@pytest.mark.parametrize("width", CARDS_AT)
def test_a_cards_settings_are_whole_at_any_width(
    width: int, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in METHODS:
        card = sheet_of("methods", name)
        text = printed(capsys, monkeypatch, width, "show", name)
        shown = text.split()
        first_column = "".join(line.split()[0] for line in text.splitlines() if line.strip())
        for setting, values in card.settings.items():
            assert setting in first_column, "a name too long for its column goes on in the next line"
            for value in values.values():
                assert set(re.findall(r"[\d.e+-]+", value)) <= {
                    found for word in shown for found in re.findall(r"[\d.e+-]+", word)
                }, f"{name}: {setting} is {value}"


@pytest.mark.parametrize("width", WIDTHS)
def test_lists_have_every_name_at_any_width(
    width: int, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    for kind in KINDS:
        text = printed(capsys, monkeypatch, width, "list", kind)
        assert width < 40 or all(name in text for name in ("esd-x", "sld-max") if kind == "methods")


@pytest.mark.parametrize("width", WIDTHS)
def test_findings_fit_and_their_words_are_no_markup(
    width: int, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = [
        Finding("models", "[red]mine[/]", "ok", "/a/long/path/" + "x" * 100),
        Finding("models", "esc\x1b[31m", "note", "1,234 prompts; \x1b]0;title\x07 [/]"),
    ]
    monkeypatch.setattr(doctor, "examine", lambda *asked: found)
    text = printed(capsys, monkeypatch, width, "doctor")
    assert "\x1b" not in text and "\x07" not in text
    whole = "".join(text.split())
    assert "[red]mine[/]" in whole and "esc\\x1b[31m" in whole and "1,234" in text and "x" * 100 in whole
