"""The leaderboard as a table: for the terminal and as Markdown. Reads only what `leaderboard.json` holds."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from textwrap import fill
from typing import Any, NamedTuple

from rich import box
from rich.console import Console, Group, RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

ARROWS = {"lower": "↓", "higher": "↑"}
WIDTH = 100
_GAP = 2
Json = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Board:
    """What a table shows: `rows` are those of `bench.reporting.leaderboard.Row`, as JSON.

    `methods` gives the order, `baseline` the one that the others are compared with, `notes` the
    lines below the table, `failures` the reasons of what failed.
    """

    title: str
    methods: tuple[str, ...]
    baseline: str
    concepts: tuple[str, ...]
    rows: tuple[Json, ...]
    notes: tuple[str, ...]
    failures: tuple[str, ...]

    @classmethod
    def from_json(cls, document: Json) -> "Board":
        """The board of a `leaderboard.json`."""
        return cls(
            title=str(document["title"]),
            methods=tuple(document["methods"]),
            baseline=str(document["baseline"]),
            concepts=tuple(document["concepts"]),
            rows=tuple(document["rows"]),
            notes=tuple(document["notes"]),
            failures=tuple(document["failures"]),
        )


class Cell(NamedTuple):
    """One number as text: value with change, interval, and whether it is the best of its column."""

    value: str
    interval: str = ""
    best: bool = False
    failed: bool = False

    @property
    def width(self) -> int:
        return max(len(self.value), len(self.interval))


class Column(NamedTuple):
    """A column of a table: role (None for costs), title with arrow, one cell for each method."""

    role: str | None
    title: str
    cells: tuple[Cell, ...]

    @property
    def width(self) -> int:
        longest_word = max(len(word) for word in self.title.split())
        return max(longest_word, len(self.role or ""), *(cell.width for cell in self.cells))


def rich_tables(board: Board, *, width: int = WIDTH, concepts: Sequence[str] = ()) -> RenderableType:
    """The overall table and the named concepts', split by role where `width` does not hold a whole one."""
    parts: list[RenderableType] = [Text(board.title, style="bold")]
    for heading, rows in _sections(board, concepts):
        if heading:
            parts.append(Text(heading, style="bold cyan"))
        for group in _packed(_columns(board, rows), board, width):
            parts += [_rich_table(board, group), Text("")]
    parts += [Text(f"failed: {line}", style="red") for line in board.failures]
    parts += [
        Text(fill(note, width, initial_indent="  ", subsequent_indent="    "), "dim") for note in board.notes
    ]
    return Group(*parts)


def print_rich(board: Board, console: Console, concepts: Sequence[str] = ()) -> None:
    """Prints the tables, at most as wide as the console."""
    console.print(rich_tables(board, width=max(60, min(console.width, 160)), concepts=concepts))


def markdown(board: Board) -> str:
    """The overall tables, one for each role, then each concept's."""
    lines = [f"# {board.title}", ""]
    for heading, rows in _sections(board, board.concepts if len(board.concepts) > 1 else ()):
        if heading:
            lines += [f"## {heading}", ""]
        by_role: dict[str | None, list[Column]] = {}
        for column in _columns(board, rows):
            by_role.setdefault(column.role, []).append(column)
        for role, columns in by_role.items():
            lines += [f"**{role}**" if role else "**cost**", "", *_markdown_table(board, columns), ""]
    if board.failures:
        lines += ["Failed:", "", *(f"- {_escaped(line)}" for line in board.failures), ""]
    lines += [f"- {_escaped(note)}" for note in board.notes]
    return "\n".join(lines).rstrip() + "\n"


def number(value: float, decimals: int, *, signed: bool = False) -> str:
    """A number with so many decimals; a whole number stays whole where one decimal is asked for.

    The minus is U+2212; a zero has no minus.
    """
    whole = decimals == 1 and float(value).is_integer()
    text = f"{value:,.{0 if whole else decimals}f}"
    negative = text.startswith("-") and any(digit in "123456789" for digit in text)
    text = text.lstrip("-")
    return f"−{text}" if negative else f"+{text}" if signed else text


def seconds(value: float | None) -> str:
    """Seconds with about two digits that mean something; – where unknown."""
    if value is None:
        return "–"
    return (
        "0"
        if value == 0
        else f"{value:.3f}"
        if value < 1
        else f"{value:.1f}"
        if value < 100
        else f"{value:,.0f}"
    )


def _sections(board: Board, concepts: Sequence[str]) -> Iterator[tuple[str, list[Json]]]:
    yield "", [row for row in board.rows if row["scope"] == "overall"]
    for concept in concepts:
        yield concept, [row for row in board.rows if row["scope"] == "concept" and row["concept"] == concept]


def _columns(board: Board, rows: Sequence[Json]) -> list[Column]:
    by_column: dict[tuple[str, str, str], dict[str, Json]] = {}
    for row in rows:
        if row["headline"]:
            by_column.setdefault((row["role"], row["evaluator"], row["metric"]), {})[row["method"]] = row
    evaluators_of: dict[str, set[str]] = {}
    for (_, evaluator, _), found in by_column.items():
        evaluators_of.setdefault(next(iter(found.values()))["title"], set()).add(evaluator)
    columns = []
    for (role, evaluator, _), found in by_column.items():
        first = next(iter(found.values()))
        title = f"{first['title']} {ARROWS[first['better']]}"
        if len(evaluators_of[first["title"]]) > 1:
            title = f"{evaluator}: {title}"
        columns.append(Column(role, title, _cells(board, found, first["better"])))
    costs = {row["method"]: row for row in rows}
    for title, name in (("erase s", "erase_seconds"), ("s per image", "seconds_per_image")):
        cells = tuple(
            Cell(seconds(costs[method][name] if method in costs else None)) for method in board.methods
        )
        columns.append(Column(None, title, cells))
    return columns


def _cells(board: Board, found: Mapping[str, Json], better: str) -> tuple[Cell, ...]:
    shown = [found[method] for method in board.methods if method in found]
    numbers = [
        row[name] for row in shown for name in ("value", "low", "high", "change") if row[name] is not None
    ]
    counted = any(row["aggregate"] == "sum" for row in shown)
    decimals = 1 if counted or max((abs(value) for value in numbers), default=0.0) >= 10 else 3
    rivals = [row["value"] for row in shown if _may_be_best(row, board)]
    # Where all are equal none is the best.
    ranked = len({number(value, decimals) for value in rivals}) > 1
    best = number((min if better == "lower" else max)(rivals), decimals) if ranked else None
    return tuple(
        _cell(found[method], decimals, best if _may_be_best(found[method], board) else None)
        if method in found
        else Cell("–")
        for method in board.methods
    )


def _may_be_best(row: Json, board: Board) -> bool:
    """Not the baseline, nor a number that lacks pictures."""
    return row["method"] != board.baseline and row["value"] is not None and row["status"] == "ok"


def _cell(row: Json, decimals: int, best: str | None) -> Cell:
    if row["value"] is None:
        return Cell(row["status"], failed=row["status"] == "failed")
    value = number(row["value"], decimals)
    text = value + ("*" if row["status"] == "partial" else "")
    if row["change"] is not None:
        text += f" ({number(row['change'], decimals, signed=True)})"
    interval = (
        "" if row["low"] is None else f"[{number(row['low'], decimals)}, {number(row['high'], decimals)}]"
    )
    return Cell(text, interval, best=value == best)


def _packed(columns: Sequence[Column], board: Board, width: int) -> list[list[Column]]:
    """Columns in as few tables as `width` allows, a role's columns together where they fit."""
    room = width - max(len(method) for method in board.methods) - _GAP
    groups: list[list[Column]] = []
    for column in columns:
        if groups and groups[-1][-1].role == column.role:
            groups[-1].append(column)
        else:
            groups.append([column])
    tables: list[list[Column]] = []
    for group in groups:
        if tables and _needs([*tables[-1], *group]) <= room:
            tables[-1] += group
            continue
        tables.append([])
        for column in group:
            if tables[-1] and _needs([*tables[-1], column]) > room:
                tables.append([])
            tables[-1].append(column)
    return tables


def _needs(columns: Iterable[Column]) -> int:
    return sum(column.width + _GAP for column in columns)


def _rich_table(board: Board, columns: Sequence[Column]) -> Table:
    table = Table(
        box=box.SIMPLE_HEAD, padding=(0, _GAP, 0, 0), pad_edge=False, show_edge=False, header_style=""
    )
    table.add_column("\nmethod", no_wrap=True, style="bold", vertical="top")
    previous: str | None = ""
    for column in columns:
        role = column.role if column.role != previous else ""
        previous = column.role
        header = Text.assemble((role or " ", "bold cyan"), "\n", column.title)
        table.add_column(header, justify="right", min_width=column.width, max_width=column.width)
    for index, method in enumerate(board.methods):
        table.add_row(
            Text(method, style="dim" if method == board.baseline else ""),
            *(_rich_cell(column.cells[index]) for column in columns),
        )
    return table


def _rich_cell(cell: Cell) -> str:
    style = "red" if cell.failed else "bold green" if cell.best else ""
    value = f"[{style}]{escape(cell.value)}[/]" if style else escape(cell.value)
    return f"{value}\n[dim]{escape(cell.interval)}[/]" if cell.interval else value


def _markdown_table(board: Board, columns: Sequence[Column]) -> list[str]:
    lines = [
        "| method | " + " | ".join(_escaped(column.title) for column in columns) + " |",
        "|---|" + "---:|" * len(columns),
    ]
    for index, method in enumerate(board.methods):
        cells = []
        for column in columns:
            cell = column.cells[index]
            value, space, change = cell.value.partition(" ")
            shown = f"**{value}**" if cell.best else value
            cells.append(" ".join(part for part in (shown, cell.interval, change if space else "") if part))
        lines.append(f"| {method} | " + " | ".join(cells) + " |")
    return lines


def _escaped(text: str) -> str:
    return text.replace("|", "\\|")
