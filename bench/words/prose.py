"""Lines of words below a table."""

from collections.abc import Iterator, Sequence
from textwrap import fill

from rich.text import Text

from erasure_bench.bench.words.showing import one_line

PROSE = 100
"""Lines of words are no longer than this, however wide the terminal."""


def prose(lines: Sequence[str], width: int) -> Iterator[Text]:
    """The lines, each broken within `width` and set in."""
    for line in lines:
        room = min(width, PROSE)
        yield Text(fill(one_line(line), room, initial_indent="  ", subsequent_indent="    "), "dim")
