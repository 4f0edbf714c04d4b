"""What hangs on no input, done once for the whole process: it took most of the time of each.

For every method that is named, the entry points of all installed packages are read, the process is looked
through for what a package's import left behind, though it was imported long ago, and the files are found that
its code rests on; for every command typer builds all of them. None of that is a parser.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from functools import cache
from typing import Any
from unittest.mock import patch

import typer.main

from erasure_bench.evaluators import registry as evaluators
from erasure_bench.foreign import sources, targets
from erasure_bench.methods import registry as methods

_REMEMBERED: tuple[tuple[Any, str, Callable[..., Any]], ...] = (
    (methods, "entry_points", cache(methods.entry_points)),
    (evaluators, "entry_points", cache(evaluators.entry_points)),
    (targets, "left_alone", lambda what: nullcontext()),
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
