"""The comparison with published numbers, on a terminal and as Markdown, CSV and JSON."""

import csv
import io
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from erasure_bench.bench.reporting.beside import Beside, Compared, in_words, remarks
from erasure_bench.bench.words.grid import Column, grids
from erasure_bench.bench.words.numbers import decimals_for, number
from erasure_bench.bench.words.prose import prose
from erasure_bench.bench.words.showing import in_csv, in_markdown, one_line

TITLE = "Beside published numbers"
NOTHING = "No published number is of this suite, metric and protocol."
APART = "Not beside them, and why:"
_HEADS = ("metric", "here", "published", "source")


def published_table(compared: Compared, width: int) -> RenderableType:
    """What stands beside what, then why the others do not, within `width`."""
    parts: list[RenderableType] = [Text(TITLE, "bold")]
    rows = [_cells(one) for one in compared.beside]
    columns = [
        Column(
            Text(head),
            tuple(Text(one_line(cells[place])) for cells in rows),
            justify="right" if 0 < place < len(_HEADS) - 1 else "left",
        )
        for place, head in enumerate(_HEADS)
    ]
    names = [Text(one_line(one.method)) for one in compared.beside]
    parts += grids("method", names, columns, width) if rows else [Text(NOTHING)]
    parts += prose(remarks(compared), width)
    if apart := in_words(compared):
        parts += [Text(APART), *prose(apart, width)]
    return Group(*parts)


def published_markdown(compared: Compared) -> str:
    """The same as a section of Markdown."""
    lines = [f"## {TITLE}", ""]
    if compared.beside:
        lines += [f"| method | {' | '.join(_HEADS)} |", "|---|---|---:|---:|---|"]
        for one in compared.beside:
            cells = " | ".join(in_markdown(cell) for cell in _cells(one))
            lines.append(f"| {in_markdown(one.method)} | {cells} |")
    else:
        lines.append(NOTHING)
    lines += ["", *(f"- {in_markdown(line)}" for line in remarks(compared))]
    if apart := in_words(compared):
        lines += ["", APART, "", *(f"- {in_markdown(line)}" for line in apart)]
    return "\n".join(lines).rstrip() + "\n"


def published_csv(compared: Compared) -> str:
    """What stands beside what, one line each."""
    out = io.StringIO()
    table = csv.writer(out, lineterminator="\n")
    table.writerow(Beside._fields)
    for one in compared.beside:
        cells = one._replace(unstated=("; ".join(one.unstated),))
        table.writerow([in_csv(_flat(cell)) for cell in cells])
    return out.getvalue()


def published_json(compared: Compared) -> dict[str, Any]:
    """All of it."""
    return {
        "beside": [one._asdict() for one in compared.beside],
        "apart": [one._asdict() for one in compared.apart],
        "elsewhere": dict(compared.elsewhere),
    }


def _cells(one: Beside) -> tuple[str, ...]:
    """As `_HEADS`."""
    decimals = decimals_for([one.ours, one.theirs, *(end for end in (one.low, one.high) if end is not None)])
    here = number(one.ours, decimals)
    if one.low is not None and one.high is not None:
        here += f" [{number(one.low, decimals)}, {number(one.high, decimals)}]"
    theirs = number(one.theirs, decimals) + ("" if one.verified else " ?")
    return f"{one.concept}, {one.role}: {one.title}", here, theirs, f"{one.paper}, {one.table}"


def _flat(cell: object) -> object:
    if isinstance(cell, tuple):
        return cell[0]
    return "" if cell is None else cell
