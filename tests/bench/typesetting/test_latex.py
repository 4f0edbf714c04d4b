"""LaTeX that compiles whatever names hold, with what is statistically tied in bold."""

import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from erasure_bench.bench.reporting.board import Board
from erasure_bench.bench.typesetting.arranged import arranged
from erasure_bench.bench.typesetting.latex import DOCUMENT, escaped, latex
from erasure_bench.bench.typesetting.layout import layout

ENGINE = shutil.which("pdflatex")


def written(board: Board, total: bool = False) -> str:
    return latex(arranged(board, layout("leaderboard"), board.concepts, total=total), "my run")


def line_of(text: str, method: str, table: int = 0) -> str:
    tables = text.split("\\begin{tabular}")[1:]
    return next(line for line in tables[table].splitlines() if line.strip().startswith(method))


def test_the_best_are_bold_and_the_second_underlined(board: Board) -> None:
    text = written(board)
    assert "\\textbf{" in line_of(text, "strong") and "\\underline{" in line_of(text, "half")
    assert "\\textbf{" not in line_of(text, "none")
    for said in (
        "Bold: not told",
        "Underlined: of the others",
        "\\ensuremath{\\downarrow}",
        "95\\% interval",
    ):
        assert said in text


def test_tables_have_rules_captions_and_labels_of_their_own(board: Board) -> None:
    text = written(board)
    floats = text.count("\\begin{table}")
    for part in ("\\toprule", "\\bottomrule", "\\caption{", "\\label{tab:my-run-leaderboard-"):
        assert text.count(part) == floats
    labels = [line.strip() for line in text.splitlines() if "\\label" in line]
    assert len(set(labels)) == floats
    assert "\\multicolumn{2}{c}{target}" in text and "\\cmidrule(lr){2-3}" in text
    assert line_of(text, "\\textit{detectable}")
    assert "\\vline" not in text and "\\hline" not in text


def test_verdicts_collapse_and_what_lacks_are_in_it(board: Board) -> None:
    changed = {"strong": {"collapsed": "noise"}, "weak": {"status": "partial"}}
    rows = tuple({**row, **changed.get(row["method"], {})} for row in board.rows)
    text = written(replace(board, rows=rows, failures=("weak: it broke",)))
    assert "strong \\ensuremath{^{\\dagger}}" in text and "its pictures have collapsed" in text
    assert "* {\\scriptsize" in line_of(text, "weak")
    assert "met" in text and "undecided" in text and "Failed: weak: it broke" in text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a_b & 5% #1 $x$ {y} ~ ^ \\z", None),
        ("−0.5", "\\ensuremath{-}0.5"),
        ("猫", "[U+732B]"),
        ("--limit", "-{}-limit"),
    ],
)
def test_every_word_is_set_as_it_stands(text: str, expected: str | None) -> None:
    found = escaped(text)
    assert expected in (None, found)
    for special in "_&%#$":
        assert special not in found.replace(f"\\{special}", "")


def test_a_panel_too_wide_for_a_page_becomes_several(board: Board) -> None:
    columns = tuple(
        {**row, "metric": f"m{n}", "title": f"measure {n}"}
        for n in range(12)
        for row in board.rows
        if row["metric"] == "brightness"
    )
    what = arranged(replace(board, rows=columns), layout("leaderboard"))
    text = latex(what, "x")
    assert "erasure, part 2" in text
    shown = sum(line.count(" & ") for line in text.splitlines() if line.strip().startswith("weak &"))
    assert shown == sum(len(panel.columns) for panel in what.panels)


@pytest.mark.skipif(ENGINE is None, reason="pdflatex is not here (Debian: texlive-latex-recommended)")
@pytest.mark.parametrize("name", ["leaderboard", "paper"])
def test_it_compiles(name: str, board: Board, tmp_path: Path) -> None:
    if name == "leaderboard":
        text = written(board, total=True)
    else:
        paper = layout("paper:ca")
        first = paper.columns[0]
        rows = tuple(
            {**row, "evaluator": first.evaluator, "metric": first.metric}
            for row in board.rows
            if row["metric"] == "brightness"
        )
        text = latex(arranged(replace(board, rows=rows), paper), "p")
    (tmp_path / "table.tex").write_text(DOCUMENT % text, encoding="utf-8")
    done = subprocess.run(
        [str(ENGINE), "-interaction=nonstopmode", "-halt-on-error", "-no-shell-escape", "table.tex"],
        cwd=tmp_path,
        capture_output=True,
        timeout=240,
    )
    log = done.stdout.decode(errors="replace")
    assert done.returncode == 0, log[-3000:]
    assert (tmp_path / "table.pdf").stat().st_size > 5000
    assert "undefined" not in log.lower()
