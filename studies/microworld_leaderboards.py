"""`python -m studies.microworld_leaderboards`: every method on every suite of the built-in model.

Writes `results/microworld/<suite>/leaderboard.{md,csv}`, `scores.parquet` and `run.json`, and one summary
over the suites that are done, `results/microworld/LEADERBOARD.md`. Several of these may run at once, each
with suites of its own; what is in the store of `--work` is not done again.
"""

import argparse
import json
import shutil
from pathlib import Path
from typing import Any

from bench.results import to_text
from methods.registry import METHODS
from prompt_suites.registry import suite_card, suite_names
from studies.leaderboard_summary import summary
from studies.running import bench_run

MODEL = "microworld"
SUMMARY = "LEADERBOARD.md"
KEEP = ("leaderboard.md", "leaderboard.csv", "scores.parquet")
RUN = "run.json"
OF_ONE_MACHINE = ("store", "cells")
"""What run.json says of a store that nobody else has."""


def reported_suites() -> list[str]:
    """The suites made for the built-in model that tables report on."""
    cards = [suite_card(name) for name in suite_names()]
    return [card.name for card in cards if card.model == MODEL and card.reported]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m studies.microworld_leaderboards", description=__doc__)
    parser.add_argument("--suites", help="comma list; all reported ones by default")
    parser.add_argument("--methods", default=",".join(METHODS))
    parser.add_argument("--seeds", default="0")
    parser.add_argument("--limit", type=int)
    parser.add_argument("--work", type=Path, default=Path(".bench/study"))
    parser.add_argument("--out", type=Path, default=Path("results/microworld"))
    given = parser.parse_args()
    for suite in given.suites.split(",") if given.suites else reported_suites():
        folder = given.work / suite
        bench_run(
            *("--suite", suite, "--methods", given.methods, "--seeds", given.seeds),
            *(("--limit", str(given.limit)) if given.limit else ()),
            *("--store", str(given.work / "store"), "--out", str(folder)),
        )
        (given.out / suite).mkdir(parents=True, exist_ok=True)
        for name in KEEP:
            shutil.copyfile(folder / name, given.out / suite / name)
        record = json.loads((folder / RUN).read_text("utf-8"))
        kept = {key: value for key, value in record.items() if key not in OF_ONE_MACHINE}
        (given.out / suite / RUN).write_text(to_text(kept), encoding="utf-8")
        (given.out / SUMMARY).write_text(summary(documents(given.work)), encoding="utf-8")


def documents(work: Path) -> dict[str, dict[str, Any]]:
    """The leaderboards in `work` by suite: those of this call and of earlier ones."""
    paths = {suite: work / suite / "leaderboard.json" for suite in reported_suites()}
    return {suite: json.loads(path.read_text("utf-8")) for suite, path in paths.items() if path.exists()}


if __name__ == "__main__":
    main()
