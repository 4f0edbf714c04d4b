"""One number for a method, for those who ask for it: the harmonic mean over its roles, on fixed scales."""

import math
from collections.abc import Iterable, Sequence
from statistics import harmonic_mean

from erasure_bench.bench.reporting.aspects import QUALITY, aspect_of_row
from erasure_bench.bench.reporting.board import Board, Cell, Json, Numbers
from erasure_bench.bench.words.numbers import number
from erasure_bench.errors import BenchError

TITLE = "total"
SHARE = (0.0, 1.0)
READ_AS = (
    "Total: the harmonic mean over the roles {roles} of their first measure of what is drawn that has the "
    "bounds 0 and 1, turned so that 1 is the best: no other row changes it. 0 where pictures have collapsed. "
    "Its interval is that of all ends together, wider than 95%. It is no verdict: a method with one bad role "
    "can stand before one that is poor in all."
)


def total_column(board: Board) -> Numbers:
    """The column; – where a role lacks scores."""
    by_role = dict(_by_role(board))
    cells = []
    for method in board.methods:
        rows = [by_method.get(method) for by_method in by_role.values()]
        cells.append(_cell(rows, 3 if board.digits is None else board.digits))
    if not by_role:
        raise BenchError("--total: no column of this table has the bounds 0 and 1")
    return Numbers(None, TITLE, "↑", tuple(cells), TITLE, ("", TITLE))


def harmonic_column(board: Board, title: str, columns: Sequence[Numbers]) -> Numbers:
    """Of each line's shares in these columns, each turned so that 1 is the best.

    As a paper has it, a share of some of the pictures (`*`) counts; – where one is not there at all.
    """
    cells = []
    decimals = 3 if board.digits is None else board.digits
    for several in zip(*(column.cells for column in columns), strict=True):
        known = [cell.row for cell in several if cell.row is not None and cell.row["value"] is not None]
        partial = any(row["status"] == "partial" for row in known)
        cell = _mean(known, decimals) if len(known) == len(several) else Cell("–")
        cells.append(cell._replace(value=f"{cell.value}*") if partial and cell.value != "–" else cell)
    return Numbers(None, title, "↑", tuple(cells))


def total_note(board: Board) -> str:
    """What it is the mean of."""
    return READ_AS.format(roles=", ".join(role for role, _ in _by_role(board)) or "none")


def _by_role(board: Board) -> Iterable[tuple[str, dict[str, Json]]]:
    """Of each role the rows, by method, of its first headline measure of content from 0 to 1."""
    found: dict[str, dict[tuple[str, str], dict[str, Json]]] = {}
    for row in board.rows:
        of_content = aspect_of_row(row) != QUALITY and row["better"] != "neither"
        fixed = board.bounds.get((row["evaluator"], row["metric"])) == SHARE and row["aggregate"] == "mean"
        if row["scope"] == "overall" and row["headline"] and of_content and fixed:
            by_metric = found.setdefault(row["role"], {})
            by_metric.setdefault((row["evaluator"], row["metric"]), {})[row["method"]] = row
    for role, by_metric in found.items():
        yield role, next(iter(by_metric.values()))


def _cell(rows: list[Json | None], decimals: int) -> Cell:
    known = [row for row in rows if row is not None]
    if any(row.get("collapsed") for row in known):
        return Cell(number(0.0, decimals))
    if len(known) < len(rows) or not known or any(row["status"] != "ok" for row in known):
        return Cell("–")
    return _mean(known, decimals)


def _mean(known: Sequence[Json], decimals: int) -> Cell:
    """Its interval is that of all ends together."""
    value = harmonic_mean([_of_one(row, "value") for row in known])
    ends = [
        harmonic_mean(
            [_of_one(row, "low" if (row["better"] == "higher") == worst else "high") for row in known]
        )
        for worst in (True, False)
    ]
    shown = (
        "" if any(map(math.isnan, ends)) else f"[{number(ends[0], decimals)}, {number(ends[1], decimals)}]"
    )
    return Cell(number(value, decimals), interval=shown)


def _of_one(row: Json, end: str) -> float:
    """From 0 to 1, the best; an end that is not known is the scale's own."""
    found = row[end]
    if found is None:
        found = {"low": 0.0, "high": 1.0}[end]
    share = min(max(float(found), 0.0), 1.0)
    return share if row["better"] == "higher" else 1.0 - share
