"""Names with a text to each: side by side where there is room, else the text below its name."""

from collections.abc import Sequence

from rich.cells import cell_len
from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

_GAP = 2
_LEAST_TEXT = 40
"""A text that needs more than this gets at least this."""
_INDENT = 4


def listing(rows: Sequence[tuple[Text, ...]], width: int) -> RenderableType:
    """The rows within `width`: the last cell of each is its text, those before it are short."""
    if not rows:
        return Text("", end="")
    *leading, texts = zip(*rows, strict=True)
    widths = [max(cell_len(line) for cell in cells for line in cell.plain.split("\n")) for cells in leading]
    longest = max(cell_len(line) for text in texts for line in text.plain.split("\n"))
    room = width - sum(widths) - _GAP * len(widths)
    if room < min(longest, _LEAST_TEXT):
        return _stacked(rows)
    table = Table(box=None, pad_edge=False, show_header=False, padding=(0, _GAP, 0, 0))
    for column in widths:
        table.add_column(width=column, no_wrap=True)
    table.add_column(width=min(longest, room), overflow="fold")
    for row in rows:
        table.add_row(*row)
    return table


def _stacked(rows: Sequence[tuple[Text, ...]]) -> Group:
    parts: list[RenderableType] = []
    for *leading, text in rows:
        parts.append(Text("  ").join(cell for cell in leading if cell.plain))
        if text.plain:
            parts.append(Padding(text, (0, 0, 0, _INDENT)))
    return Group(*parts)
