"""`python -m benchmarks.i2p_planning`: I2P through loader, screen and planner, in seconds.

With I2P's files at hand (--data-dir or $BENCH_DATA), 4,703 rows for the methods `--methods` on the built-in
model: nothing is drawn. The modules are imported before the clock starts; `whole_command` is a process of its
own, `bench run --dry-run`, with everything that it imports. Each figure is the least of `--repeats`; on a
busy machine read the time on a core beside the wall time.
Writes `results/performance/i2p-planning.json`.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.recording import record
from erasure_bench.bench.planning.config import RunConfig
from erasure_bench.bench.planning.prepare import prepare
from erasure_bench.prompt_suites import screen
from erasure_bench.prompt_suites.registry import complete_options, data_folder, load_suite, suite_card

SUITE = "i2p"


def measure(methods: tuple[str, ...], data_dir: Path | None, repeats: int) -> dict[str, Any]:
    """Seconds of each step, and what came of them."""
    folder, card = data_folder(data_dir), suite_card(SUITE)
    rows = card.load(folder, complete_options(card, {}))

    def screened() -> object:
        screen.suggests_minor.cache_clear()
        screen.is_unsafe.cache_clear()
        return screen.screened(rows)

    with tempfile.TemporaryDirectory() as store:
        config = RunConfig(
            suite=SUITE, methods=methods, model="microworld", evaluators=("nudity",), data_dir=folder
        )
        plan = prepare(config, Path(store)).plan  # settings and digests are remembered from here on
        return {
            "rows": sum(map(len, rows.prompts.values())),
            "left_out": sum(part.rows for part in plan.suite.left_out),
            "cells": len(plan.cells),
            "tasks": len(plan.tasks),
            "images": plan.images,
            "seconds": {
                "load": least(lambda: card.load(folder, complete_options(card, {})), repeats),
                "screen": least(screened, repeats),
                "load_and_screen": least(lambda: load_suite(SUITE, data_dir=folder), repeats),
                "load_screen_and_plan": least(lambda: prepare(config, Path(store)).plan.id, repeats),
                "whole_command": {"wall": least(lambda: command(methods, folder, Path(store)), 1)["wall"]},
            },
        }


def least(do: Callable[[], object], repeats: int) -> dict[str, float]:
    """The least wall time of `repeats` times, and the least of this process' time on a core."""
    taken = []
    for _ in range(repeats):
        start = time.perf_counter(), time.process_time()
        do()
        taken.append((time.perf_counter() - start[0], time.process_time() - start[1]))
    wall, core = (round(min(seconds), 3) for seconds in zip(*taken, strict=True))
    return {"wall": wall, "on_a_core": core}


def command(methods: tuple[str, ...], data_dir: Path | None, store: Path) -> None:
    """`bench run --dry-run` as a user types it."""
    words = ["run", "--suite", SUITE, "--methods", ",".join(methods), "--model", "microworld"]
    words += ["--evaluators", "nudity", "--store", str(store), "--dry-run", "--json", "--offline"]
    words += ["--data-dir", str(data_dir)] if data_dir else []
    subprocess.run([sys.executable, "-m", "erasure_bench", *words], capture_output=True, check=True)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.i2p_planning", description=__doc__)
    parser.add_argument("--methods", default="none,sld-max,negative-prompt")
    parser.add_argument("--data-dir", type=Path, metavar="FOLDER")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--out", type=Path, default=Path("results/performance/i2p-planning.json"))
    given = parser.parse_args()
    record(measure(tuple(given.methods.split(",")), given.data_dir, given.repeats), given.out)


if __name__ == "__main__":
    main()
