"""Runs `bench` in this process and gives back the leaderboard it prints."""

import contextlib
import io
import json
from typing import Any

from erasure_bench.bench.cli.app import run_command


def bench_run(*arguments: str) -> dict[str, Any]:
    """The `leaderboard.json` document of `bench run ARGUMENTS`, which says of cells that failed why."""
    return _leaderboard("run", *arguments)


def bench_merge(*arguments: str) -> dict[str, Any]:
    """The `leaderboard.json` document of `bench merge ARGUMENTS`."""
    return _leaderboard("merge", *arguments)


def _leaderboard(*arguments: str) -> dict[str, Any]:
    """Raises SystemExit where there is no document: wrong usage, no place left, an interruption."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        code = run_command([*arguments, "--json"])
    if code not in (0, 1) or not printed.getvalue():
        raise SystemExit(code)
    document: dict[str, Any] = json.loads(printed.getvalue())
    return document
