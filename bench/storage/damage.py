"""What is said of damage: one line, on stderr unless somebody else listens."""

import sys
from collections.abc import Callable

from erasure_bench.bench.words.showing import one_line

Say = Callable[[str], None]
"""Is told, in one line, of damage that was found and of what becomes of it."""


def on_stderr(line: str) -> None:
    """Prints the line, marked as the program's own."""
    print(f"bench: {one_line(line)}", file=sys.stderr, flush=True)


def silent(line: str) -> None:
    """Says nothing."""
