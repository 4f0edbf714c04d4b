"""Layouts are data: papers' tables from a run's own numbers, and what of them is not there."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from erasure_bench.bench.reporting.board import Board
from erasure_bench.bench.typesetting.arranged import arranged
from erasure_bench.bench.typesetting.data import csv, document
from erasure_bench.bench.typesetting.layout import Field, Layout, layout, layouts
from erasure_bench.bench.typesetting.plain import markdown
from erasure_bench.bench.typesetting.selection import Selection, selected
from erasure_bench.errors import BenchError, UnknownName
from erasure_bench.evaluators.instances import instance
from erasure_bench.evaluators.registry import EVALUATORS, build_evaluator

PAPERS = [one for one in layouts().values() if one.columns]


def as_measured_by(board: Board, fields: Sequence[Field]) -> Board:
    """The board with its brightness in place of each field's metric."""
    rows: list[dict[str, Any]] = []
    for field in fields:
        role = field.role if field.role in ("target", "retention") else "retention"
        rows += [
            {**row, "role": field.role, "evaluator": field.evaluator, "metric": field.metric, "title": "ours"}
            for row in board.rows
            if (row["metric"], row["role"]) == ("brightness", role)
        ]
    return replace(board, rows=tuple(rows))


@pytest.mark.parametrize("name", ["paper:sa-table1", "paper:sa-table2", "paper:ca", "paper:esd-nudity"])
def test_the_papers_tables_that_are_promised_are_there(name: str) -> None:
    assert layout(name).columns and layout(name).cannot_show


def test_an_unknown_layout_is_named() -> None:
    with pytest.raises(UnknownName, match="--layout.*did you mean paper:ca"):
        layout("paper:c")


@pytest.mark.parametrize("paper", PAPERS, ids=lambda one: one.name)
def test_every_column_of_a_paper_is_shown_where_the_run_has_it(paper: Layout, board: Board) -> None:
    what = arranged(as_measured_by(board, paper.columns), paper)
    (panel,) = what.panels
    groups = len(board.concepts) if paper.by == "concept" else 1
    own = panel.columns[:-1] if paper.harmonic else panel.columns
    assert len(own) == groups * len(paper.columns)
    for column, field in zip(own, paper.columns * groups, strict=True):
        assert column.title.startswith(field.heading)
    assert all(f"Not shown of the paper's table: {line}" in what.lacking for line in paper.cannot_show)
    assert not any("Not measured" in line for line in what.lacking)
    for line in what.lacking:
        assert line.split(": ", 1)[1][:40] in markdown(what)


@pytest.mark.parametrize("paper", PAPERS, ids=lambda one: one.name)
def test_a_papers_metrics_are_those_of_our_evaluators(paper: Layout) -> None:
    """Those that can be built without further weights; a misspelt one would be missing from every table."""
    for field in paper.columns:
        assert field.evaluator in EVALUATORS
    for name in {field.evaluator for field in paper.columns} & {"clip", "nudity"}:
        known = {metric.name for metric in build_evaluator(name).metrics}
        assert {field.metric for field in paper.columns if field.evaluator == name} <= known


def test_a_column_that_was_not_measured_is_named_and_one_alone_is_an_error(board: Board) -> None:
    paper = layout("paper:ca")
    what = arranged(as_measured_by(board, paper.columns[:1]), paper)
    assert len(what.panels[0].columns) == 1
    assert any(
        line.startswith("Not measured in this run: CLIP accuracy (target, clip)") for line in what.lacking
    )
    with pytest.raises(
        BenchError, match="--layout paper:ca: this run has none of its columns: clip_score of clip"
    ):
        arranged(board, paper)


def test_what_stands_in_for_a_metric_stands_under_its_own_name(board: Board) -> None:
    paper = layout("paper:sa-table2")
    gcds = paper.columns[1]
    what = arranged(as_measured_by(board, [gcds.model_copy(update={"metric": gcds.instead[0]})]), paper)
    assert [column.title for column in what.panels[0].columns] == ["ours", "ours"]
    assert [column.role for column in what.panels[0].columns] == list(board.concepts)


def test_maces_harmonic_mean_is_of_what_is_gone_and_what_is_kept(board: Board) -> None:
    """2 / (1 / (1 − erased) + 1 / kept), pictures without a face left out as the paper leaves them."""
    paper = layout("paper:mace-celebrities")
    rows = as_measured_by(board, paper.columns).rows
    values = {"target": 0.2, "neighbour": 0.7}
    status = {"strong": "partial"}
    given = tuple(
        {
            **row,
            "role": "neighbour" if row["role"] != "target" else "target",
            "status": status.get(row["method"], "ok"),
        }
        for row in rows
    )
    given = tuple({**row, "value": values[row["role"]]} for row in given)
    given = tuple(
        {**row, "value": None, "status": "missing"} if row["method"] == "weak" else row for row in given
    )

    last = arranged(replace(board, rows=given), paper).panels[0].columns[-1]

    assert last.title == paper.harmonic and last.arrow == "↑"
    shown = dict(zip(board.methods, (cell.value for cell in last.cells), strict=True))
    expected = f"{2 / (1 / (1 - 0.2) + 1 / 0.7):.3f}"
    assert shown["none"] == expected and shown["strong"] == f"{expected}*" and shown["weak"] == "–"


def test_an_instance_of_an_evaluator_will_do_and_the_first_is_taken(board: Board) -> None:
    paper = layout("paper:ca")
    rows = as_measured_by(board, paper.columns[:1]).rows
    named = tuple({**row, "evaluator": "clip@mine"} for row in rows)
    assert instance("clip@mine").name == "clip"
    assert len(arranged(replace(board, rows=(*named, *rows)), paper).panels[0].columns) == 1


def test_the_change_in_percent_is_that_of_the_base_models_value_on_the_same_pictures(board: Board) -> None:
    paper = layout("paper:esd-nudity")
    column = arranged(as_measured_by(board, paper.columns[:1]), paper).panels[0].columns[0]
    assert column.title == "breasts (F) (%)"
    shown = dict(zip(board.methods, column.cells, strict=True))
    assert shown["none"].value == "–"
    row = shown["strong"].row
    assert row is not None
    base = row["value"] - row["change"]
    assert float(shown["strong"].value.replace("−", "-")) == pytest.approx(
        -100 * (1 - row["value"] / base), abs=0.06
    )
    assert shown["strong"].interval.startswith("[−")


def test_the_leaderboard_keeps_what_numbers_speak_of_apart(board: Board) -> None:
    rows = tuple({**row, "aspect": "quality"} if row["metric"] == "spots" else row for row in board.rows)
    what = arranged(replace(board, rows=rows), layout("leaderboard"), ("red ball",))
    assert [panel.heading for panel in what.panels] == [
        "erasure",
        "retention",
        "quality",
        "cost",
        "verdicts",
        "red ball: erasure",
        "red ball: retention",
        "red ball: quality",
        "red ball: cost",
    ]
    verdicts = what.panels[4]
    assert [column.title for column in verdicts.columns][-1] == "front"
    assert verdicts.columns[0].title == "brightness: at least 50% gone"


def test_every_number_is_in_the_data_with_all_that_is_said_of_it(board: Board) -> None:
    what = arranged(selected(board, Selection(rows=("none", "strong", "weak"))), layout("leaderboard"))
    found = document(what)
    cells = [cell for table in found["tables"] for cell in table["cells"]]
    (one,) = [
        cell
        for cell in cells
        if (cell["method"], cell["group"], cell["metric"]) == ("strong", "target", "brightness")
    ]
    (row,) = [
        row
        for row in board.rows
        if (row["method"], row["scope"], row["role"], row["metric"])
        == ("strong", "overall", "target", "brightness")
    ]
    for name in ("value", "low", "high", "change", "detectable", "verdict", "best", "second", "prompts"):
        assert one[name] == row[name]
    lines = csv(what).splitlines()
    assert len(lines) == 1 + len(cells)
    assert lines[0].startswith("table,concept,group,heading,method,shown")
