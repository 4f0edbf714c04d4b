"""Runs `bench` in this process and gives back the leaderboard it prints."""

import contextlib
import io
import json
from typing import Any

from bench.cli import run_command


def bench_run(*arguments: str) -> dict[str, Any]:
    """The `leaderboard.json` document of `bench run ARGUMENTS`; raises SystemExit where the run fails."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        code = run_command(["run", *arguments, "--json"])
    if code:
        raise SystemExit(code)
    document: dict[str, Any] = json.loads(printed.getvalue())
    return document
