"""Tables that fit: in as few parts side by side as a width holds, and with nothing cut inside a word.

A table that is too wide becomes several that share the rows' names; where not even one column fits beside
the names, its cells stand below them.
"""

from collections.abc import Iterable, Sequence
from typing import Literal, NamedTuple

from rich import box
from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

GAP = 2
_LEAST_NAMES = 12
"""Names are folded to no less than this."""
_WIDEST_WORD, _WIDEST_CELL = 24, 44
"""What a heading's word, or a cell that can be broken, may claim of the width."""
_SHORT = 12
"""A heading of no more than this is not broken."""
_GROUP = "bold cyan"
_ASCII = box.Box("    \n    \n -- \n    \n    \n    \n    \n    \n", ascii=True)


class Column(NamedTuple):
    """A heading, one cell for each row, and the group of neighbouring columns that it belongs to.

    Cells may have several lines; they are broken at spaces alone.
    """

    heading: Text
    cells: tuple[Text, ...]
    group: str = ""
    justify: Literal["left", "right"] = "right"

    @property
    def least(self) -> int:
        """The width below which a cell would be cut inside a word, or broken where it should not be."""
        return max((_least(cell) for cell in self.cells), default=1)

    @property
    def wanted(self) -> int:
        """The width at which it looks right."""
        heading = max(_word_width(self.heading), cell_len(self.group))
        if (whole := _line_width(self.heading)) <= _SHORT:
            heading = max(heading, whole)
        return max(self.least, min(heading, _WIDEST_WORD), 1)


def grids(corner: str, names: Sequence[Text], columns: Sequence[Column], width: int) -> list[RenderableType]:
    """The tables that show these columns within `width`; `corner` heads the names."""
    if not columns:
        return []
    own = max((_line_width(name) for name in [Text(corner), *names]), default=0)
    left = min(own, max(width - GAP - max(column.wanted for column in columns), min(own, _LEAST_NAMES)))
    room = width - left
    if any(column.least + GAP > room for column in columns):
        return [_stacked(names, columns)]
    return [_table(corner, left, names, part, room) for part in _packed(columns, room)]


def _packed(columns: Iterable[Column], room: int) -> list[list[Column]]:
    """In as few tables as fit, a group's columns together where they can be."""
    groups: list[list[Column]] = []
    for column in columns:
        if groups and column.group and groups[-1][-1].group == column.group:
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
    return sum(column.wanted + GAP for column in columns)


class _Table(Table):
    """Without lines between the columns in ASCII either."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        self.box = _ASCII if options.ascii_only else self.box
        yield from super().__rich_console__(console, options)


def _table(corner: str, left: int, names: Sequence[Text], columns: Sequence[Column], room: int) -> Table:
    # The box puts one blank between columns, the padding another: GAP in all.
    table = _Table(
        box=box.SIMPLE_HEAD, padding=(0, GAP - 1, 0, 0), pad_edge=False, show_edge=False, header_style=""
    )
    grouped = any(column.group for column in columns)
    table.add_column(f"\n{corner}" if grouped else corner, width=left, overflow="fold", style="bold")
    previous = ""
    for column in columns:
        group = column.group if column.group != previous else ""
        previous = column.group
        heading = Text.assemble((group or " ", _GROUP), "\n", column.heading) if grouped else column.heading
        column_width = min(column.wanted, room - GAP)
        table.add_column(heading, justify=column.justify, width=column_width, overflow="fold", vertical="top")
    for index, name in enumerate(names):
        table.add_row(name, *(column.cells[index] for column in columns))
    return table


def _stacked(names: Sequence[Text], columns: Sequence[Column]) -> Group:
    parts: list[RenderableType] = []
    previous = ""
    for column in columns:
        if column.group and column.group != previous:
            parts.append(Text(column.group, _GROUP))
        previous = column.group
        parts.append(column.heading)
        for name, cell in zip(names, column.cells, strict=True):
            parts += [Padding(Text.assemble((name.plain, "bold")), (0, 0, 0, 2)), Padding(cell, (0, 0, 0, 4))]
    return Group(*parts)


def _line_width(text: Text) -> int:
    return max(cell_len(line) for line in text.plain.split("\n"))


def _word_width(text: Text) -> int:
    return max((cell_len(word) for word in text.plain.split()), default=0)


def _least(cell: Text) -> int:
    return max(_word_width(cell), min(_line_width(cell), _WIDEST_CELL))
