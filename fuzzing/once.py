"""What hangs on no input, done once for the whole process: it took most of the time of each.

For every method that is named the files are found that its code rests on, for every command typer builds all
of them. None of that is a parser.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import cache
from typing import Any
from unittest.mock import patch

import typer.main

from erasure_bench.foreign import sources

_REMEMBERED: tuple[tuple[Any, str, Callable[..., Any]], ...] = (
    (sources, "module_file", cache(sources.module_file)),
    (typer.main, "get_command", cache(typer.main.get_command)),
)


@contextmanager
def once() -> Iterator[None]:
    """Within it, none of that is done a second time."""
    with ExitStack() as stack:
        for owner, name, quick in _REMEMBERED:
            stack.enter_context(patch.object(owner, name, quick))
        yield
