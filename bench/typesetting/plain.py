"""Tables on a terminal and as Markdown."""

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.text import Text

from erasure_bench.bench.reporting.board import MARK, SECOND, Cell, Numbers
from erasure_bench.bench.reporting.markdown import table
from erasure_bench.bench.typesetting.arranged import DETECTABLE, Arranged, Panel
from erasure_bench.bench.words.grid import Column, grids
from erasure_bench.bench.words.prose import prose
from erasure_bench.bench.words.showing import in_markdown, one_line

MARKS = f"{MARK}: bold, {SECOND}: underlined."


def on_terminal(what: Arranged, width: int) -> RenderableType:
    """The panels within `width`, with what is to know of them."""
    parts: list[RenderableType] = [Text(one_line(what.title), "bold")]
    for panel in what.panels:
        if panel.heading:
            parts.append(Text(one_line(panel.heading), "bold cyan"))
        columns = [_column(panel, place) for place in range(len(panel.columns))]
        names = [
            Text(one_line(name), "dim" if index == panel.base else "")
            for index, name in enumerate(panel.names)
        ]
        if panel.detectable:
            names.append(Text(DETECTABLE, "dim italic"))
        for part in grids("method", names, columns, width):
            parts += [part, Text("")]
    parts += [Text(f"failed: {one_line(line)}", "red") for line in what.failures]
    parts += prose([" ".join([*what.legend, MARKS]), *what.lacking, *what.notes], width)
    return Group(*parts)


def markdown(what: Arranged) -> str:
    """The panels, a heading for each, then all notes."""
    lines = [f"# {in_markdown(what.title)}", ""]
    for panel in what.panels:
        lines += [f"## {in_markdown(panel.heading)}", ""] if panel.heading else []
        lines += [*table(_names(panel), _columns(panel)), ""]
    if what.failures:
        lines += ["Failed:", "", *(f"- {in_markdown(line)}" for line in what.failures), ""]
    lines += [f"- {in_markdown(line)}" for line in (" ".join(what.legend), *what.below)]
    return "\n".join(lines).rstrip() + "\n"


def _names(panel: Panel) -> Sequence[str]:
    return (*panel.names, DETECTABLE) if panel.detectable else panel.names


def _columns(panel: Panel) -> Sequence[Numbers]:
    """With the group in the heading and the detectable change as the last line."""
    columns = []
    for place, column in enumerate(panel.columns):
        title = f"{column.role}: {column.title}" if column.role else column.title
        last = (Cell(panel.detectable[place]),) if panel.detectable else ()
        columns.append(column._replace(title=title, cells=(*column.cells, *last)))
    return columns


def _column(panel: Panel, place: int) -> Column:
    """Value and change, the interval below."""
    column = panel.columns[place]
    cells = [_text(cell) for cell in column.cells]
    if panel.detectable:
        cells.append(Text(panel.detectable[place], "dim italic"))
    return Column(Text(one_line(column.heading)), tuple(cells), one_line(column.role or ""))


def _text(cell: Cell) -> Text:
    mark, style = (
        (MARK, "bold green") if cell.best else (SECOND, "underline green") if cell.second else ("", "")
    )
    value = Text(f"{mark}{one_line(cell.value)}", "red" if cell.failed else style)
    change = f" {cell.change}" if cell.change else ""
    below = Text.assemble("\n", (cell.interval, "dim")) if cell.interval else ""
    return Text.assemble(value, change, below)
