"""`python -m benchmarks.overhead`: what the harness adds to the models' own time in a run.

`bench run` of a suite of the built-in model, three methods and the suite's evaluators, in a new process with
an empty store. To start takes as long for a short run as for a long one. The models' time is that inside of
`sample`, of the evaluators' `score` and of the methods' training; all else is the harness: starting Python,
importing, planning, loading, swapping edits, the store, statistics, tables and files. Writes
`results/performance/overhead-MODEL.json`.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from unittest.mock import patch

from benchmarks.recording import record
from erasure_bench.bench.cli.app import run_command
from erasure_bench.bench.reporting.record import read_record

MODEL = "microworld"
RUN = ("--suite", "microworld-instances", "--offline")
METHODS = "esd-x,uce,sld-medium"
LIMIT = 1.05
"""The wall time of a run over its models' time, at most."""


class Timed:
    """A function that adds up the seconds that its calls take."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function, self.seconds = function, 0.0

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        started = time.perf_counter()
        try:
            return self.function(*arguments, **named)
        finally:
            self.seconds += time.perf_counter() - started


def models_seconds(arguments: Sequence[str], out: Path) -> dict[str, float]:
    """Runs it and says how long the models took, by what they did."""
    from erasure_bench.bench.running import scoring as scores
    from erasure_bench.models import sampling

    drawing, scoring = Timed(sampling.sample), Timed(scores.scored)
    with patch.object(sampling, "sample", drawing), patch.object(scores, "scored", scoring):
        if code := run_command(["run", *arguments, "--out", str(out)]):
            raise SystemExit(code)
    erasing = sum(cell["cost"]["erase_seconds"] for cell in read_record(out)["cells"])
    return {"erasing": erasing, "drawing": drawing.seconds, "scoring": scoring.seconds}


def measure(arguments: Sequence[str]) -> dict[str, Any]:
    """The figures of `bench run` with these arguments, in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "benchmarks.overhead", "--in", folder, "--", *arguments]
        started = time.perf_counter()
        subprocess.run(command, check=True, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        wall = time.perf_counter() - started
        models = json.loads((Path(folder) / "models.json").read_text(encoding="utf-8"))
    return {
        "command": " ".join(("bench run", *arguments)),
        "wall_seconds": round(wall, 2),
        "harness_seconds": round(wall - sum(models.values()), 2),
        "models_seconds": {what: round(seconds, 2) for what, seconds in models.items()},
        "wall_over_models": round(wall / sum(models.values()), 3),
        "limit": LIMIT,
    }


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.overhead", description=__doc__)
    parser.add_argument("--methods", default=METHODS)
    parser.add_argument("--out", type=Path, default=Path(f"results/performance/overhead-{MODEL}.json"))
    parser.add_argument("--in", dest="folder", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("arguments", nargs="*", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.folder is not None:
        store = ("--store", str(asked.folder / "store"))
        models = models_seconds((*asked.arguments, *store), asked.folder / "run")
        (asked.folder / "models.json").write_text(json.dumps(models), encoding="utf-8")
        return
    record(measure((*RUN, "--methods", asked.methods)), asked.out)


if __name__ == "__main__":
    main()
