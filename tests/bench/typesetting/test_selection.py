"""What is left out changes nothing of what is shown."""

from dataclasses import replace

import pytest

from erasure_bench.bench.reporting.board import Board, columns_of
from erasure_bench.bench.typesetting.selection import Selection, selected
from erasure_bench.errors import BenchError, UnknownName


def headings(board: Board) -> list[tuple[str | None, str]]:
    overall = [row for row in board.rows if row["scope"] == "overall"]
    return [(column.role, column.title) for column in columns_of(board, overall)]


def test_rows_are_chosen_by_name_and_pattern_in_the_order_that_is_asked_for(board: Board) -> None:
    found = selected(board, Selection(rows=("strong", "n*", "half_*")))
    assert found.methods == ("strong", "none", "half_%&#$~^{x}\\y")
    assert {row["method"] for row in found.rows} == set(found.methods)
    kept = {id(row) for row in board.rows}
    assert all(id(row) in kept for row in found.rows), "the rows are the run's own, marks and all"
    assert "weak" in found.cautions[0] and "strong" not in found.cautions[0]


def test_a_name_that_is_a_pattern_as_well_is_a_name(board: Board) -> None:
    assert selected(board, Selection(rows=("[red] 猫 é--x|",))).methods == ("[red] 猫 é--x|",)


def test_columns_are_roles_metrics_aspects_and_costs(board: Board) -> None:
    asked = {
        ("target",): [("target", "brightness"), ("target", "bright spots")],
        ("retention:brightness", "target:brightness"): [
            ("retention", "brightness"),
            ("target", "brightness"),
        ],
        ("fake.spots",): [("target", "bright spots")],
        ("retention:*",): [("retention", "brightness")],
        ("erasure",): [("target", "brightness"), ("target", "bright spots")],
        ("cost",): [(None, "erase s"), (None, "s per image")],
        ("seconds_*", "spots"): [("target", "bright spots"), (None, "s per image")],
    }
    for columns, expected in asked.items():
        assert headings(selected(board, Selection(columns=columns))) == expected, columns


def test_a_column_that_no_table_shows_is_shown_where_its_metric_is_asked_for(board: Board) -> None:
    hidden = replace(board, rows=tuple({**row, "headline": row["metric"] != "spots"} for row in board.rows))
    assert headings(selected(hidden, Selection(columns=("target", "cost")))) == [
        ("target", "brightness"),
        (None, "erase s"),
        (None, "s per image"),
    ]
    assert headings(selected(hidden, Selection(columns=("spots",)))) == [("target", "bright spots")]


def test_the_best_come_first_whichever_way_is_better_and_the_base_stays_on_top(board: Board) -> None:
    lower = selected(board, Selection(sort="target:brightness")).methods
    higher = selected(board, Selection(sort="retention:brightness")).methods
    assert lower[:3] == ("none", "strong", "half_%&#$~^{x}\\y")
    assert higher == ("none", *reversed(lower[1:]))
    assert selected(board, Selection(sort="method")).methods[1] == "<script>alert(1)</script>"
    assert set(selected(board, Selection(sort="erase_seconds")).methods) == set(board.methods)


def test_the_collapsed_and_what_lacks_scores_come_behind_the_others(board: Board) -> None:
    changed = {"strong": {"collapsed": "noise"}, "weak": {"value": None, "status": "failed"}}
    rows = tuple({**row, **changed.get(row["method"], {})} for row in board.rows)
    order = selected(replace(board, rows=rows), Selection(sort="target:brightness")).methods
    assert order[0] == "none" and order[-2:] == ("strong", "weak")


def test_digits_are_every_numbers(board: Board) -> None:
    overall = [row for row in board.rows if row["scope"] == "overall" and row["role"] == "target"]
    columns = columns_of(replace(board, digits=1), overall)
    assert {len(cell.value.partition(".")[2]) for cell in columns[0].cells} == {1}


@pytest.mark.parametrize(
    ("asked", "flag", "near"),
    [
        (Selection(rows=("stronk",)), "--rows", "strong"),
        (Selection(columns=("brightnes",)), "--columns", "brightness"),
        (Selection(sort="targett"), "--sort", "target"),
        (Selection(concepts=("red bal",)), "--concepts", "red ball"),
    ],
)
def test_what_is_not_there_is_named_with_what_is(
    board: Board, asked: Selection, flag: str, near: str
) -> None:
    with pytest.raises(UnknownName, match=f"{flag}.*did you mean {near}"):
        selected(board, asked)


def test_digits_have_bounds(board: Board) -> None:
    with pytest.raises(BenchError, match="--digits 11: valid: 0 to 10"):
        selected(board, Selection(digits=11))
