"""A total on fixed scales: it rests on nobody else's numbers, and a collapse is worth nothing."""

from dataclasses import replace
from statistics import harmonic_mean

import pytest

from erasure_bench.bench.reporting.board import Board
from erasure_bench.bench.typesetting.arranged import arranged
from erasure_bench.bench.typesetting.layout import layout
from erasure_bench.bench.typesetting.selection import Selection, selected
from erasure_bench.bench.typesetting.total import total_column
from erasure_bench.errors import BenchError


def totals(board: Board) -> dict[str, str]:
    return {name: cell.value for name, cell in zip(board.methods, total_column(board).cells, strict=True)}


def test_it_is_the_harmonic_mean_of_the_roles(board: Board) -> None:
    values = {
        row["role"]: row["value"]
        for row in board.rows
        if (row["method"], row["scope"], row["metric"]) == ("strong", "overall", "brightness")
    }
    expected = harmonic_mean([1 - values["target"], values["anchor"], values["retention"]])
    assert float(totals(board)["strong"]) == pytest.approx(expected, abs=0.0006)
    cell = total_column(board).cells[board.methods.index("strong")]
    low, high = (float(end) for end in cell.interval.strip("[]").split(", "))
    assert low < expected < high


def test_no_other_row_changes_it(board: Board) -> None:
    alone = totals(selected(board, Selection(rows=("none", "strong"))))
    assert alone["strong"] == totals(board)["strong"]


def test_a_collapse_is_0_and_what_lacks_scores_has_none(board: Board) -> None:
    changed = {"strong": {"collapsed": "noise"}, "weak": {"status": "partial"}}
    found = totals(replace(board, rows=tuple({**r, **changed.get(r["method"], {})} for r in board.rows)))
    assert found["strong"] == "0.000" and found["weak"] == "–"


def test_a_perfect_and_a_worst_role_are_the_ends(board: Board) -> None:
    rows = tuple({**row, "value": 1.0 if row["better"] == "higher" else 0.0} for row in board.rows)
    assert totals(replace(board, rows=rows))["weak"] == "1.000"
    lost = tuple({**row, "value": 0.0} for row in board.rows)
    assert totals(replace(board, rows=lost))["weak"] == "0.000", "nothing kept, however much is gone"


def test_it_is_off_by_default_and_says_what_it_is(board: Board) -> None:
    assert "total" not in [panel.heading for panel in arranged(board, layout("leaderboard")).panels]
    what = arranged(board, layout("leaderboard"), total=True)
    assert "total" in [panel.heading for panel in what.panels]
    assert any(
        note.startswith("Total: the harmonic mean over the roles target, anchor") for note in what.notes
    )


def test_without_a_fixed_scale_there_is_none(board: Board) -> None:
    with pytest.raises(BenchError, match="--total"):
        total_column(replace(board, bounds={}))
