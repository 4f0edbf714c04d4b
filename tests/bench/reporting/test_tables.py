"""Tables: they fit, show direction, change and interval, mark the best, and hide no failure."""

import io
import json
import re
from collections import Counter
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from rich.cells import cell_len
from rich.console import Console, RenderableType

from erasure_bench.bench.reporting.board import Board, columns_of
from erasure_bench.bench.reporting.markdown import markdown
from erasure_bench.bench.reporting.tables import FIRST_ROLES, summary, whole
from erasure_bench.bench.storage.store import Store
from erasure_bench.bench.words.numbers import decimals_for, number, seconds
from erasure_bench.bench.words.showing import one_line


def row(method: str, role: str, metric: str, value: float | None, **changes: Any) -> dict[str, Any]:
    facts: dict[str, Any] = {
        "method": method,
        "scope": "overall",
        "concept": "overall",
        "role": role,
        "evaluator": "e",
        "metric": metric,
        "title": f"{metric} of the picture",
        "better": "lower" if role == "target" else "higher",
        "aggregate": "mean",
        "headline": True,
        "value": value,
        "low": None if value is None else value - 0.05,
        "high": None if value is None else value + 0.05,
        "change": None if method == "none" or value is None else value - 0.9,
        "status": "ok",
        "reason": "",
        "erase_seconds": 0.0 if method == "none" else 12.34,
        "seconds_per_image": 0.125,
        **dict.fromkeys(("change_low", "change_high", "gone", "gone_low", "gone_high", "verdict")),
        **dict.fromkeys(("rank", "rank_low", "rank_high")),
        "best": False,
    }
    return facts | changes


def board(rows: list[dict[str, Any]], failures: tuple[str, ...] = ()) -> Board:
    methods = tuple(dict.fromkeys(row["method"] for row in rows))
    return Board(
        title="T",
        methods=methods,
        baseline="none",
        concepts=("cat",),
        rows=tuple(rows),
        notes=("a note | with a bar",),
        failures=failures,
    )


def as_text(renderable: RenderableType, width: int) -> str:
    console = Console(width=width, record=True, file=io.StringIO())
    console.print(renderable)
    return console.export_text()


def shown(what: Board, width: int = 100) -> str:
    return as_text(whole(what, width), width)


def rendered(document: str) -> str:
    return str(MarkdownIt("commonmark").enable("table").render(document))


def full_board() -> Board:
    roles = ("target", "anchor", "neighbour", "retention")
    return board(
        [
            row(method, role, metric, 0.9 - 0.1 * index)
            for index, method in enumerate(("none", "sld-weak-diffusers", "esd-x", "esd-u"))
            for role in roles
            for metric in ("probability", "accuracy", "cosine")
        ]
    )


@pytest.mark.parametrize("width", [80, 100, 140])
def test_every_number_is_shown_within_the_width(width: int) -> None:
    text = shown(full_board(), width)
    assert max(len(line.rstrip()) for line in text.splitlines()) <= width
    assert text.count("0.600 (−0.300)") == 12, "no number is cut or left out"
    assert text.count("[0.550, 0.650]") == 12
    assert "…" not in text
    for word in ("target", "anchor", "neighbour", "retention", "↓", "↑", "erase", "12.3"):
        assert word in text


NUMBER = re.compile(r"[+−]?\d[\d,]*(?:\.\d+)?(?:e[+−]\d+)?")
NAMES = st.text("abz-猫é👩\u0301 ", min_size=1, max_size=50).filter(str.strip)
VALUES = st.floats(-1e12, 1e12) | st.floats(-1, 1) | st.integers(-5000, 5000).map(float)


@st.composite
def boards(draw: st.DrawFn) -> Board:
    """Names without digits, so that all digits in the text are the numbers'."""
    methods = draw(st.lists(NAMES, min_size=1, max_size=4, unique_by=one_line))
    rows = []
    for role in draw(st.lists(st.sampled_from(("target", "anchor", "retention")), min_size=1, unique=True)):
        for metric in draw(st.lists(NAMES, min_size=1, max_size=3, unique=True)):
            aggregate = draw(st.sampled_from(("mean", "sum")))
            for method in methods:
                value, low, high, change = draw(st.tuples(*(st.none() | VALUES for _ in range(4))))
                rows.append(
                    row(
                        method,
                        role,
                        metric,
                        value,
                        title=metric,
                        low=None if high is None else low,
                        high=None if low is None else high,
                        change=change,
                        aggregate=aggregate,
                        status=draw(st.sampled_from(("ok", "partial"))) if value is not None else "failed",
                        erase_seconds=draw(st.none() | st.floats(0, 1e7)),
                    )
                )
    return Board(
        title="title",
        methods=tuple(methods),
        baseline=methods[0],
        concepts=(),
        rows=tuple(rows),
        notes=(),
        failures=(),
    )


@settings(max_examples=100, deadline=None)
@given(boards(), st.integers(20, 250))
def test_every_number_is_whole_in_the_text_at_any_width(what: Board, width: int) -> None:
    text = shown(what, width)
    assert max(map(cell_len, text.splitlines())) <= width
    wanted = Counter(
        found
        for column in columns_of(what, what.rows)
        for cell in column.cells
        for part in (cell.value, cell.change, cell.interval)
        for found in NUMBER.findall(part)
    )
    assert Counter(NUMBER.findall(text)) == wanted


@settings(max_examples=100, deadline=None)
@given(boards(), st.integers(20, 250))
def test_every_number_of_the_summary_is_whole_too(what: Board, width: int) -> None:
    text = as_text(summary(what, width), width)
    assert max(map(cell_len, text.splitlines())) <= width
    known = Counter(
        found
        for column in columns_of(what, what.rows)
        for cell in column.cells
        for part in (cell.value, cell.interval)
        for found in NUMBER.findall(part)
    )
    found = Counter(NUMBER.findall(" ".join(text.split()).partition(" is better")[2]))
    assert found <= known
    measured = [column for column in columns_of(what, what.rows) if column.role]
    first = min(measured, key=lambda column: FIRST_ROLES.index(column.role or ""))
    assert Counter(n for cell in first.cells for n in NUMBER.findall(cell.value)) <= found


def test_where_no_column_fits_beside_the_names_the_rows_stand_below_one_another() -> None:
    rows = [row(method, "target", "share", value) for method, value in (("none", 0.9), ("sld-weak", 0.4))]
    lines = [line.rstrip() for line in shown(board(rows), 20).splitlines()]
    assert lines[1:11] == [
        "target",
        "share of the picture",
        "↓",
        "  none",
        "    0.900",
        "    [0.850, 0.950]",
        "  sld-weak",
        "    0.400 (−0.500)",
        "    [0.350, 0.450]",
        "erase s",
    ]


def test_the_summary_is_one_line_a_method_and_has_what_went_what_stayed_and_the_time() -> None:
    methods = ("none", *(f"method-{letter}" for letter in "abcdefghijklmnop"))
    roles = ("target", "anchor", "neighbour", "retention")
    rows = [
        row(method, role, metric, 0.9 - 0.01 * index)
        for index, method in enumerate(methods)
        for role in roles
        for metric in ("share", "cosine")
    ]
    lines = as_text(summary(board(rows), 80), 80).rstrip().splitlines()
    assert len(lines) <= 24 - 3, "a screen, with room for where to look next"
    assert max(map(len, lines)) <= 80
    head = lines[2].split()
    assert head == ["method", "target", "↓", "neighbour", "↑", "erase", "s"]
    assert lines[5].split() == [
        "method-a",
        "0.890",
        "[0.840,",
        "0.940]",
        "0.890",
        "[0.840,",
        "0.940]",
        "12.3",
    ]
    wide = as_text(summary(board(rows), 130), 130)
    assert all(role in wide for role in roles) and "cosine" not in wide


def test_the_summary_says_what_failed_and_what_to_beware_of() -> None:
    rows = [row("none", "target", "share", 0.9), row("a", "target", "share", None, status="failed")]
    what = replace(
        board(rows, tuple(f"a, seed {seed}: it broke" for seed in range(9))),
        notes=("Protocol.", "Only the first."),
        cautions=("Only the first.",),
    )
    text = as_text(summary(what, 80), 80)
    assert text.count("it broke") == 3 and "6 more" in text
    assert "Only the first." in text and "Protocol." not in text


def test_what_it_was_made_with_stays_in_the_files() -> None:
    what = replace(full_board(), notes=("Protocol.", "torch 2"), provenance=("torch 2",))
    assert "Protocol." in shown(what) and "torch 2" not in shown(what) and "leaderboard.md" in shown(what)
    assert "torch 2" in markdown(what)


def test_names_and_reasons_are_shown_and_never_obeyed() -> None:
    name = "[red]a|b[/] \x1b[31m`c`"
    what = board([row("none", "target", "x", 0.9), row(name, "target", "x", 0.1)], (f"{name}: \x1b]0;t\x07",))
    for text in (shown(what), as_text(summary(what, 80), 80)):
        assert "\x1b" not in text and "\x07" not in text
        assert "[red]a|b[/] \\x1b[31m`c`" in text
    assert "\x1b" not in markdown(what)
    assert "<td>[red]a|b[/] \\x1b[31m`c`</td>" in rendered(markdown(what))


def test_all_that_may_be_the_best_are_marked_with_colour_and_without() -> None:
    rows = [
        row("none", "target", "share", 0.9),
        row("a", "target", "share", 0.3, best=True),
        row("b", "target", "share", 0.35, best=True),
        row("c", "target", "share", 0.5),
    ]
    text = markdown(board(rows))
    assert "| a | **0.300**" in text and "| b | **0.350**" in text and "| c | 0.500" in text
    for plain in (shown(board(rows)), as_text(summary(board(rows), 80), 80)):
        assert "▸0.300" in plain and "▸0.350" in plain and "▸0.500" not in plain and "▸0.900" not in plain
        assert plain.replace("▸", "").count("0.300") == plain.count("0.300")


def test_the_second_are_marked_otherwise_than_the_best() -> None:
    rows = [
        row("none", "target", "share", 0.9),
        row("a", "target", "share", 0.3, best=True),
        row("b", "target", "share", 0.4, second=True),
        row("c", "target", "share", 0.5),
    ]
    assert "| b | *0.400* [" in markdown(board(rows)) and "| c | 0.500 [" in markdown(board(rows))
    for plain in (shown(board(rows)), as_text(summary(board(rows), 80), 80)):
        assert "▹0.400" in plain and plain.count("▹") == 1


def test_the_front_stands_with_the_verdicts() -> None:
    rows = [
        row("none", "target", "share", 0.9),
        row("a", "target", "share", 0.1, verdict="met", gone_low=0.7, gone_high=0.9),
        row("b", "target", "share", 0.4, verdict="undecided"),
    ]
    what = replace(board(rows), front={"methods": ["a"]})
    table = markdown(what).split("**verdicts**")[1]
    assert "| front |" in table and "| a | met [70, 90] | – | ◆ |" in table and table.count("◆") == 1
    assert shown(what).count("◆") == 1 and "front" in shown(what)
    assert "◆" not in markdown(board(rows)) + shown(board(rows))


def test_verdicts_stand_with_the_interval_that_they_are_of() -> None:
    rows = [
        row("none", "target", "share", 0.9),
        row(
            "a",
            "target",
            "share",
            0.1,
            verdict="met",
            gone_low=0.7,
            gone_high=0.955,
            rank=1,
            rank_low=1,
            rank_high=2,
        ),
        row("b", "target", "share", 0.4, verdict="undecided", rank=2, rank_low=1, rank_high=2),
        row("none", "retention", "share", 0.9),
        row("a", "retention", "share", 0.7, verdict="missed", change_low=-0.3, change_high=-0.125),
        row("b", "retention", "share", None, status="failed"),
    ]
    table = markdown(board(rows)).split("**verdicts**")[1]
    assert table.splitlines()[2:6] == [
        "| method | target, share of the picture: at least 50% gone | place "
        "| retention, share of the picture: at most 10 points lost | place |",
        "|---|---:|---:|---:|---:|",
        "| none | – | – | – | – |",
        "| a | met [70, 95.5] | 1 [1, 2] | missed [−30, −12.5] | – |",
    ]
    assert "| b | undecided | 2 [1, 2] | – | – |" in table
    text = shown(board(rows))
    assert all(word in text for word in ("at least", "met", "70, 95.5", "missed", "−30, −12.5", "undecided"))


def test_a_metric_without_a_bar_has_places_alone_and_one_with_a_bar_comes_first() -> None:
    place = {"rank": 1, "rank_low": 1, "rank_high": 1}
    rows = [
        row("a", "target", "count", 3.0, aggregate="sum", **place),
        row("a", "target", "share", 0.1, verdict="met", gone_low=0.6, gone_high=0.9),
        row("a", "attack", "count", 3.0, aggregate="sum", **place),
    ]
    table = markdown(board(rows)).split("**verdicts**")[1]
    assert "| method | target, share of the picture: at least 50% gone | place | attack, count of" in table
    assert "| a | met [60, 90] | – | 1 [1, 1] |" in table
    text = shown(board(rows))
    assert "met" in text and "attack, count" not in text


def test_failed_and_partial_and_missing_are_seen() -> None:
    rows = [
        row("none", "target", "share", 0.9),
        row("a", "target", "share", None, status="failed"),
        row("b", "target", "share", 0.4, status="partial"),
        row("c", "target", "share", None, status="missing"),
    ]
    what = board(rows, ("a · cat: it broke",))
    for text in (shown(what), rendered(markdown(what))):
        assert "failed" in text and "missing" in text and "0.400*" in text
        assert "a · cat: it broke" in text


def test_markdown_cells_survive_bars() -> None:
    assert "a note \\| with a bar" in markdown(full_board())


@pytest.mark.parametrize(
    ("value", "decimals", "signed", "expected"),
    [
        (0.1234, 3, False, "0.123"),
        (-0.1234, 3, True, "−0.123"),
        (0.1234, 3, True, "+0.123"),
        (-0.0001, 3, False, "0.000"),
        (1508.0, 1, False, "1,508"),
        (1508.25, 1, False, "1,508.2"),
        (-3.0, 1, True, "−3"),
        (1.5e12, 1, True, "+1.500e+12"),
        (-2e9, 3, False, "−2.000e+09"),
    ],
)
def test_numbers(value: float, decimals: int, signed: bool, expected: str) -> None:
    assert number(value, decimals, signed=signed) == expected


def test_tiny_numbers_have_more_decimals() -> None:
    assert [decimals_for(values) for values in ([12.0, 0.1], [0.9], [0.03], [0.004], [0.0], [])] == [
        1,
        3,
        3,
        4,
        3,
        3,
    ]


def test_seconds() -> None:
    assert [seconds(value) for value in (None, 0.0, 0.01234, 12.34, 1234.5)] == [
        "–",
        "0",
        "0.012",
        "12.3",
        "1,234",
    ]


def test_notes_say_with_what_the_pictures_were_drawn(fake: ModuleType, tmp_path: Path) -> None:
    """Also those that were in the store already, whatever is installed now."""
    worker = fake.FakeWorker(Store(tmp_path / "store"))
    fake.run(fake.tiny_plan(methods=[fake.method("none")]), tmp_path / "store", tmp_path / "out", worker)
    first = json.loads((tmp_path / "out" / "leaderboard.json").read_text())
    assert first["drawn_with"] == {"device": ["a test"], "torch": ["2.0"]}
    assert not any("versions' own" in note for note in first["notes"])

    worker.torch = "3.0"
    fake.run(fake.tiny_plan(), tmp_path / "store", tmp_path / "out", worker)
    second = json.loads((tmp_path / "out" / "leaderboard.json").read_text())
    assert second["drawn_with"]["torch"] == ["2.0", "3.0"]
    assert any("torch 2.0 and 3.0" in note for note in second["notes"])
    assert any("versions' own" in note for note in second["notes"])


def test_notes_say_which_methods_train_in_another_precision(fake: ModuleType, tmp_path: Path) -> None:
    methods = [
        fake.method("none"),
        fake.method("dim", strength=0.5, precision="bfloat16"),
        fake.method("dusky", strength=0.25, precision="model"),
        fake.method("dark", strength=0.75, precision="float32"),
    ]
    plan = fake.tiny_plan(methods=methods)
    fake.run(plan, tmp_path / "store", tmp_path / "out", fake.FakeWorker(Store(tmp_path / "store")))

    document = json.loads((tmp_path / "out" / "leaderboard.json").read_text())

    assert plan.config.dtype == "float32"
    assert [note for note in document["notes"] if "Trained" in note] == ["Trained in bfloat16: dim."]


def test_a_spreadsheet_takes_no_name_for_a_formula_and_numbers_stay_numbers(
    fake: ModuleType, tmp_path: Path
) -> None:
    plan = fake.tiny_plan(methods=[fake.method("none"), fake.method("=1+1", strength=0.5)])
    fake.run(plan, tmp_path / "store", tmp_path / "out", fake.FakeWorker(Store(tmp_path / "store")))
    table = pd.read_csv(tmp_path / "out" / "leaderboard.csv", keep_default_na=False)
    assert set(table["method"]) == {"none", "'=1+1"}
    assert (pd.to_numeric(table["change"][table["method"] != "none"]) < 0).any()


def test_a_runs_own_files_make_the_tables_again(fake: ModuleType, tmp_path: Path) -> None:
    fake.run(
        fake.tiny_plan(), tmp_path / "store", tmp_path / "out", fake.FakeWorker(Store(tmp_path / "store"))
    )
    document = json.loads((tmp_path / "out" / "leaderboard.json").read_text())
    what = Board.from_json(document)
    assert (tmp_path / "out" / "leaderboard.md").read_text() == markdown(what)
    text = shown(what)
    assert "brightness" in text and "raw mean" not in text
    assert "red ball" in markdown(what) and "Blue Cube" in markdown(what)
    assert any("the same for every method" in note for note in document["notes"])


def test_a_number_that_only_describes_has_no_arrow() -> None:
    rows = [
        row(method, "target", metric, value, better=better)
        for metric, better in (("entropy", "neither"), ("share", "lower"))
        for method, value in (("none", 0.9), ("a", 0.2), ("b", 0.4))
    ]

    entropy, share = columns_of(board(rows), rows)[:2]

    assert (entropy.arrow, share.arrow) == ("", "↓") and entropy.heading == entropy.title
