"""What every command says is written here: results on stdout, all else on stderr."""

import os
import shlex
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any, TextIO

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.text import Text

from erasure_bench.bench.words.showing import ascii_json, in_json, one_line, shown
from erasure_bench.errors import BenchError

FAILED = 1
_PLAIN_WIDTH = 100


class RunFailed(BenchError):
    """A run that was well asked for could not be finished."""

    exit_code = FAILED


class PlainConsole(Console):
    """A console that takes every string as it is: no markup, and nothing that a terminal would obey.

    100 columns where nobody says how many.
    """

    def __init__(self, stream: TextIO) -> None:
        told = stream.isatty() or "COLUMNS" in os.environ
        super().__init__(
            file=stream, width=None if told else _PLAIN_WIDTH, markup=False, emoji=False, highlight=False
        )

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """The segments of the renderable, each safe to print."""
        for segment in super().render(renderable, options):
            yield segment if segment.control else Segment(shown(segment.text), segment.style)


def stdout_console() -> PlainConsole:
    """Where results go."""
    return PlainConsole(sys.stdout)


def stderr_console() -> PlainConsole:
    """Where progress and notes go."""
    return PlainConsole(sys.stderr)


def words(text: object, style: str = "") -> Text:
    """Anybody's words as one styled line or cell of a table."""
    return Text(one_line(text), style)


def print_json(document: Any) -> None:
    """Prints a result as JSON on stdout, exact whatever its encoding."""
    write_json(in_json(document))


def write_json(text: str) -> None:
    """Writes JSON to stdout, exact whatever its encoding."""
    encoding = (getattr(sys.stdout, "encoding", None) or "utf-8").lower()
    sys.stdout.write(text if encoding.startswith("utf") else ascii_json(text))


def make_folder(folder: Path, flag: str = "--out") -> None:
    """A folder to write into, which `flag` names: made before hours of work go into what it is to hold."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        why = "there is a file of that name" if folder.is_file() else error.strerror or error
        raise BenchError(f"{flag} {folder}: cannot be made: {why}") from error


def say_where(said: PlainConsole, folder: Path, store: Path | None = None) -> None:
    """Where a run's results lie, and the command that shows more of them."""
    kept = f" Store: {store}." if store else ""
    what = "leaderboard.md (every table and note)" + (", images.png" if store else "")
    run = shlex.quote(str(folder))
    for line in (
        f"Results in {folder}: {what}.{kept}",
        f"All metrics, changes against the base, notes: bench table {run} [--concepts all]",
    ):
        said.print(line, soft_wrap=True)
