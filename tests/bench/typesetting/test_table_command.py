"""`bench table` in every format and layout."""

import io
import json
import re
from pathlib import Path

import pandas as pd
import pytest
import typer

from erasure_bench.bench.cli.app import app, run_command
from erasure_bench.bench.typesetting.layout import layouts

DOCUMENT = Path(__file__).resolve().parents[3] / "docs" / "tables.md"

COMMAND = "table"


def printed(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    capsys.readouterr()
    assert run_command([COMMAND, *arguments]) == 0
    return capsys.readouterr().out


def test_without_a_wish_the_files_are_printed_as_they_are(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for form in ("md", "csv", "json"):
        expected = (folder / f"leaderboard.{form}").read_text()
        assert printed(capsys, str(folder), "--format", form) == expected


def test_a_part_of_it_in_every_format(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    wish = [str(folder), "--rows", "none,strong", "--columns", "target", "--digits", "2", "--sort", "method"]
    for form, said in (
        ("rich", "▸0.15"),
        ("md", "| none | 0."),
        ("latex", "\\begin{tabular}{lrr}"),
        ("html", "<!doctype html>"),
        ("summary", "strong"),
    ):
        text = printed(capsys, *wish, "--format", form)
        assert "strong" in text and "anchor" not in text.split("Protocol:")[0], form
        assert said.replace("▸0.15", "0.15") in text, form
    table = pd.read_csv(io.StringIO(printed(capsys, *wish, "--format", "csv")))
    assert set(table["method"]) == {"none", "strong"}
    document = json.loads(printed(capsys, *wish, "--format", "json"))
    assert document["layout"] == "leaderboard" and document["methods"] == ["none", "strong"]


def test_concepts_have_their_own_tables_in_every_format(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for form in ("rich", "latex", "html", "csv", "json", "md"):
        text = printed(capsys, str(folder), "--concepts", "red ball", "--format", form)
        assert "red ball" in text and "Blue Cube" not in text.split("Protocol:")[0], form


def test_a_total_is_shown_where_it_is_asked_for(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for form in ("rich", "md", "latex", "html"):
        assert "harmonic mean" in printed(capsys, str(folder), "--total", "--format", form)
        assert "harmonic mean" not in printed(capsys, str(folder), "--format", form)


@pytest.mark.parametrize(
    ("wish", "said"),
    [
        (["--layout", "paper:mace"], "--layout"),
        (["--layout", "paper:mace-table2"], "none of its columns"),
        (["--rows", "nobody"], "--rows"),
        (["--format", "latex", "--published"], "--published"),
        (["--format", "summary", "--total"], "--format summary"),
    ],
)
def test_what_is_wrong_is_one_line(
    folder: Path, wish: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command([COMMAND, str(folder), *wish]) == 3
    line = capsys.readouterr().err
    assert said in line and line.count("\n") == 1


def test_the_document_and_the_help_name_what_there_is() -> None:
    commands = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    options = {
        option for name in ("table", "compare") for one in commands[name].params for option in one.opts
    }
    text = DOCUMENT.read_text(encoding="utf-8")
    assert set(re.findall(r"--[a-z]+", text)) <= options
    (help_of_layout,) = [one.help for one in commands["table"].params if "--layout" in one.opts]
    named = set(re.findall(r"paper:[\w-]+", text)), set(re.findall(r"paper:[\w-]+", help_of_layout))
    assert named == (layouts().keys() - {"leaderboard"},) * 2
