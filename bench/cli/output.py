"""What every command says is written here: results on stdout, all else on stderr."""

import json
import os
import sys
from pathlib import Path
from typing import Any

from rich.console import Console

from erasure_bench.prompt_suites.errors import BenchError

FAILED = 1
_PLAIN_WIDTH = 100


class RunFailed(BenchError):
    """A run that was well asked for could not be finished."""

    exit_code = FAILED


def make_folder(folder: Path) -> None:
    """The results' folder, made before hours of work go into what it is to hold."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BenchError(f"--out {folder}: cannot be made: {error.strerror or error}") from error


def print_json(document: Any) -> None:
    """Prints a result as JSON on stdout."""
    sys.stdout.write(json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False) + "\n")


def stdout_console() -> Console:
    """Where results go; 100 columns where nobody says how many."""
    return Console(width=None if sys.stdout.isatty() or "COLUMNS" in os.environ else _PLAIN_WIDTH)


def stderr_console() -> Console:
    """Where progress and notes go."""
    return Console(
        stderr=True, width=None if sys.stderr.isatty() or "COLUMNS" in os.environ else _PLAIN_WIDTH
    )
