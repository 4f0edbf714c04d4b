"""The leaderboard on a terminal: whole, or as the few numbers to begin with. Reads only a `Board`."""

from collections.abc import Iterator, Sequence

from rich.console import Console, Group, RenderableType
from rich.text import Text

from erasure_bench.bench.reporting.board import (
    MARK,
    SECOND,
    Board,
    Cell,
    Judgement,
    Numbers,
    further,
    judgements,
    sections,
)
from erasure_bench.bench.statistics.intervals import CONFIDENCE
from erasure_bench.bench.words.grid import GAP, Column, grids
from erasure_bench.bench.words.prose import prose
from erasure_bench.bench.words.showing import one_line

FIRST_ROLES = ("target", "neighbour", "retention", "implicit", "misspelt", "attack", "anchor")
"""Whose pictures say most, in this order: is the concept gone, is what is close to it still there?"""
READ_AS = f"[{CONFIDENCE:.0%} interval]; ↓ lower, ↑ higher is better; {MARK} the best"
COLOURS = {"met": "green", "missed": "red", "undecided": "yellow"}
FAILURES_SHOWN = 3


def print_whole(board: Board, console: Console, concepts: Sequence[str] = ()) -> None:
    """Prints every headline number, and the named concepts', as wide as the console."""
    console.print(whole(board, console.width, concepts))


def print_summary(board: Board, console: Console) -> None:
    """Prints the few numbers that one begins with, one line for each method."""
    console.print(summary(board, console.width))


def whole(board: Board, width: int, concepts: Sequence[str] = ()) -> RenderableType:
    """The overall tables and the named concepts', as few as `width` allows, with what is to know of them."""
    parts: list[RenderableType] = [Text(one_line(board.title), "bold")]
    for heading, columns in sections(board, concepts):
        if heading:
            parts.append(Text(one_line(heading), "bold cyan"))
        tables = grids("method", _names(board, heading), [_column(column) for column in columns], width)
        for table in tables:
            parts += [table, Text("")]
        if not heading:
            parts += _bars(board, width)
            parts += _further(board, width)
    parts += [Text(f"failed: {one_line(line)}", "red") for line in board.failures]
    notes = [note for note in board.notes if note not in board.provenance]
    if len(notes) < len(board.notes):
        notes.append("Evaluators, presets, versions: leaderboard.md.")
    parts += prose(notes, width)
    return Group(*parts)


def summary(board: Board, width: int) -> RenderableType:
    """One metric for each of as many roles as `width` holds, and the cost; of all concepts the mean."""
    ((_, columns),) = sections(board)
    chosen = _chosen(board, columns, width)
    measured = [column for column in chosen if column.role]
    titles = {column.title for column in measured}
    parts: list[RenderableType] = [Text(one_line(board.title), "bold")]
    if len(titles) == 1:
        parts.append(Text(f"{one_line(titles.pop())} {READ_AS}", "dim"))
        shown = [
            _brief(column, f"{column.role or column.title} {column.arrow}".rstrip()) for column in chosen
        ]
    else:
        parts.append(Text(READ_AS, "dim"))
        shown = [_brief(column, column.heading, column.role or "") for column in chosen]
    parts += grids("method", _names(board), shown, width)
    parts += [Text(f"failed: {one_line(line)}", "red") for line in board.failures[:FAILURES_SHOWN]]
    if len(board.failures) > FAILURES_SHOWN:
        parts.append(Text(f"failed: {len(board.failures) - FAILURES_SHOWN} more (leaderboard.md)", "red"))
    parts += prose(board.cautions, width)
    return Group(*parts)


def _chosen(board: Board, columns: Sequence[Numbers], width: int) -> list[Numbers]:
    """By importance as many as fit, in the order of the whole table; the time to erase always."""
    first: dict[str, Numbers] = {}
    for column in columns:
        if column.role:
            first.setdefault(column.role, column)
    cost = [column for column in columns if column.role is None][:1]
    room = width - max((name.cell_len for name in _names(board)), default=0)
    room -= sum(_brief(column, column.title).wanted + GAP for column in cost)
    chosen: list[Numbers] = []
    for role in (*FIRST_ROLES, *(role for role in first if role not in FIRST_ROLES)):
        if role not in first:
            continue
        needed = _brief(first[role], role).wanted + GAP
        if chosen and needed > room:
            break
        room -= needed
        chosen.append(first[role])
    return [column for column in columns if column in chosen] + cost


def _names(board: Board, concept: str = "") -> list[Text]:
    return [
        Text(one_line(name), "dim" if method == board.baseline else "")
        for method, name in zip(board.methods, board.names(concept), strict=True)
    ]


def _column(column: Numbers) -> Column:
    """Value with change, the interval below."""
    cells = []
    for cell in column.cells:
        below = Text.assemble("\n", (cell.interval, "dim")) if cell.interval else ""
        cells.append(Text.assemble(_value(cell), f" {cell.change}" if cell.change else "", below))
    return Column(Text(one_line(column.heading)), tuple(cells), column.role or "")


def _brief(column: Numbers, heading: str, group: str = "") -> Column:
    """Value and interval in one line."""
    cells = []
    for cell in column.cells:
        beside = Text.assemble(" ", (cell.interval, "dim")) if cell.interval else ""
        cells.append(Text.assemble(_value(cell), beside))
    return Column(Text(one_line(heading)), tuple(cells), group)


def _further(board: Board, width: int) -> Iterator[RenderableType]:
    """Value and interval of every part and maximum."""
    for heading, columns in further(board):
        yield Text(one_line(heading), "bold")
        shown = [_brief(column, column.heading, column.role or "") for column in columns]
        for table in grids("method", _names(board), shown, width):
            yield from (table, Text(""))


def _bars(board: Board, width: int) -> Iterator[RenderableType]:
    """Whether each role's bar is met, with the interval below."""
    columns = [column for column in judgements(board) if column.bar]
    titles = {column.title for column in columns}
    alike = len(titles) == 1
    shown = [_bar(column, column.bar if alike else f"{column.title}: {column.bar}") for column in columns]
    if front := board.on_front():
        shown.append(Column(Text("front"), tuple(map(Text, front))))
    for table in grids(one_line(titles.pop()) if alike else "method", _names(board), shown, width):
        yield from (table, Text(""))


def _bar(column: Judgement, heading: str) -> Column:
    cells = []
    for cell in column.cells:
        # Without brackets four roles stand side by side in a narrow terminal.
        below = Text.assemble("\n", (cell.interval.strip("[]"), "dim")) if cell.interval else ""
        word = (cell.verdict, COLOURS[cell.verdict]) if cell.verdict else "–"
        cells.append(Text.assemble(word, below))
    return Column(Text(one_line(heading)), tuple(cells), column.role)


def _value(cell: Cell) -> Text:
    if cell.best:
        return Text(f"{MARK}{one_line(cell.value)}", "bold green")
    if cell.second:
        return Text(f"{SECOND}{one_line(cell.value)}", "green")
    return Text(one_line(cell.value), "red" if cell.failed else "")
