"""Tables: they fit, show direction, change and interval, mark the best, and hide no failure."""

import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from rich.console import Console

from erasure_bench.bench.reporting.tables import Board, markdown, number, rich_tables, seconds
from erasure_bench.bench.storage.store import Store


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


def shown(what: Board, width: int = 100, *, colour: bool = False) -> str:
    console = Console(width=width, record=True, force_terminal=colour, file=open("/dev/null", "w"))  # noqa: SIM115
    console.print(rich_tables(what, width=width))
    return console.export_text(styles=colour)


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


def test_the_best_of_a_column_is_marked_by_its_direction_and_never_the_baseline() -> None:
    rows = [
        row(method, role, "share", value)
        for method, value in (("none", 0.1), ("a", 0.3), ("b", 0.5))
        for role in ("target", "anchor")
    ]
    text = markdown(board(rows))
    target, anchor = text.split("**anchor**")
    assert "| a | **0.300**" in target and "| b | 0.500" in target and "| none | 0.100" in target
    assert "| b | **0.500**" in anchor and "**0.300**" not in anchor


def test_equal_methods_have_no_best() -> None:
    rows = [row(method, "target", "share", 0.2) for method in ("none", "a", "b")]
    assert "**0.200**" not in markdown(board(rows))


def test_failed_and_partial_and_missing_are_seen() -> None:
    rows = [
        row("none", "target", "share", 0.9),
        row("a", "target", "share", None, status="failed"),
        row("b", "target", "share", 0.4, status="partial"),
        row("c", "target", "share", None, status="missing"),
    ]
    what = board(rows, ("a · cat: it broke",))
    for text in (shown(what), markdown(what)):
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
    ],
)
def test_numbers(value: float, decimals: int, signed: bool, expected: str) -> None:
    assert number(value, decimals, signed=signed) == expected


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


def test_a_number_that_lacks_pictures_is_never_the_best(fake: ModuleType, tmp_path: Path) -> None:
    strengths = {"dim": 0.5, "dusky": 0.25, "dark": 0.75}
    methods = [fake.method(name, strength=strength) for name, strength in strengths.items()]
    plan = fake.tiny_plan(methods=[fake.method("none"), *methods])
    fake.run(plan, tmp_path / "store", tmp_path / "out", fake.FakeWorker(Store(tmp_path / "store")))
    document = json.loads((tmp_path / "out" / "leaderboard.json").read_text())
    rows = [row for row in document["rows"] if row["scope"] == "overall" and row["headline"]]
    rivals = [row for row in rows if row["method"] != "none" and row["metric"] == rows[0]["metric"]]
    role = rivals[0]["role"]
    best, other, _ = sorted(
        (row for row in rivals if row["role"] == role),
        key=lambda row: row["value"] if row["better"] == "lower" else -row["value"],
    )

    def bold() -> list[str]:
        lines = markdown(Board.from_json(document)).splitlines()
        table = lines[next(i for i, line in enumerate(lines) if line.startswith("| method")) :]
        return [
            line.split("|")[1].strip() for line in table[2 : 3 + len(strengths)] if "**" in line.split("|")[2]
        ]

    assert bold() == [best["method"]]
    best["status"] = "partial"
    assert bold() == [other["method"]]


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
