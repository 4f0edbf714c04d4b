"""`python -m studies.microworld_leaderboards`: every method on every suite of the built-in model, 3 seeds.

Writes `results/microworld/<suite>/` `leaderboard.{md,csv.gz}`, `scores.parquet`, `prompts.parquet` and
`run.json`, and one summary over the suites that are there, `results/microworld/LEADERBOARD.md`. What those
folders hold already, of the same code and settings, is not done again, nor what is in the store of `--work`.
All of it takes two cores about 11 hours as `--jobs 2`, two suites at a time
(`prompt_suites/microworld/building.py` says what takes how long); it can also be spread over several calls
(`--suites`, `--seeds`). Suites with the same concepts share their edits in the store.
"""

import argparse
import gzip
import math
import shutil
import sys
from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from erasure_bench.bench.planning.config import RunConfig, seeds
from erasure_bench.bench.planning.prepare import prepare
from erasure_bench.bench.reporting.leaderboard import COLUMNS
from erasure_bench.bench.reporting.merging import found_cells, read_part
from erasure_bench.bench.reporting.prompt_list import PROMPTS
from erasure_bench.bench.reporting.record import portable, read_record, write_record
from erasure_bench.bench.reporting.results import LEADERBOARD, SCORES
from erasure_bench.bench.reporting.run_file import RUN
from erasure_bench.bench.storage.atomic import write_text
from erasure_bench.errors import BenchError
from erasure_bench.methods.registry import METHODS
from erasure_bench.prompt_suites.registry import load_suite, suite_card, suite_names
from studies.leaderboard_summary import summary
from studies.parallel import in_processes
from studies.running import bench_merge, bench_run

MODEL = "microworld"
SUMMARY = "LEADERBOARD.md"
TABLE = f"{LEADERBOARD}.csv"
PACKED = f"{TABLE}.gz"
KEEP = (f"{LEADERBOARD}.md", SCORES, PROMPTS)


class Lack(NamedTuple):
    """Methods that a folder has not, for the same seeds."""

    methods: tuple[str, ...]
    seeds: tuple[int, ...]


def reported_suites() -> list[str]:
    """The suites made for the built-in model that tables report on."""
    cards = [suite_card(name) for name in suite_names()]
    return [card.name for card in cards if card.model == MODEL and card.reported]


def lacking(config: RunConfig, folder: Path, store: Path) -> list[Lack]:
    """What the folder's run does not have of the config, as its code and settings are now."""
    plan = prepare(config, store).plan
    parts = [read_part(folder)] if (folder / RUN).exists() else []
    found = found_cells(plan, parts)
    of_seed = {
        seed: tuple(
            dict.fromkeys(
                cell.method.name
                for cell in plan.cells
                if cell.seed == seed and (cell.method.name, cell.case.name, seed) not in found
            )
        )
        for seed in config.seeds
    }
    by_methods: dict[tuple[str, ...], list[int]] = {}
    for seed, methods in of_seed.items():
        by_methods.setdefault(methods, []).append(seed)
    return [Lack(methods, tuple(of)) for methods, of in by_methods.items() if methods]


def complete(config: RunConfig, out: Path, work: Path) -> None:
    """Runs what `out` lacks of one suite, and puts the whole into `out`."""
    store = work / "store"
    new = []
    for number, lack in enumerate(lacking(config, out, store)):
        new.append(work / config.suite / f"part-{number}")
        bench_run(
            *("--suite", config.suite, "--methods", ",".join(lack.methods)),
            *("--seeds", ",".join(map(str, lack.seeds))),
            *(("--limit", str(config.limit)) if config.limit else ()),
            *("--store", str(store), "--out", str(new[-1])),
        )
    earlier = [out] if (out / RUN).exists() else []
    whole = work / config.suite / "whole"
    bench_merge(*map(str, [*earlier, *new]), "--out", str(whole), "--store", str(store))
    out.mkdir(parents=True, exist_ok=True)
    for name in KEEP:
        shutil.copyfile(whole / name, out / name)
    (out / PACKED).write_bytes(gzip.compress((whole / TABLE).read_bytes(), mtime=0))
    record = {key: value for key, value in read_record(whole).items() if key != "merged"}
    write_record(out, portable(record))


def complete_in(folder: Path, work: Path, config: RunConfig) -> None:
    """Completes the suite's own folder in `folder`."""
    complete(config, folder / config.suite, work)


def size(suite: str) -> int:
    """How many pictures one method draws: the longest suites are begun first."""
    return sum(map(len, load_suite(suite).prompts.values()))


def documents(folder: Path) -> dict[str, Mapping[str, Any]]:
    """The results of the suites that have any in `folder`."""
    return {
        suite: _document(folder / suite) for suite in reported_suites() if (folder / suite / RUN).exists()
    }


def _document(folder: Path) -> Mapping[str, Any]:
    rows = pd.read_csv(folder / PACKED).astype(object)
    return read_record(folder) | {"rows": rows.where(rows.notna(), None).to_dict("records")}


def page(folder: Path) -> str:
    """The summary of the suites in `folder`; tables of earlier versions are left out, and it is said so."""
    found = documents(folder)
    now = {suite: document for suite, document in found.items() if set(COLUMNS) <= set(document["rows"][0])}
    if earlier := found.keys() - now.keys():
        names = ", ".join(sorted(earlier))
        print(f"{SUMMARY} leaves out what an earlier version made: {names}", file=sys.stderr)
    return summary(now)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m studies.microworld_leaderboards", description=__doc__)
    parser.add_argument("--suites", help="comma list; all reported ones by default")
    parser.add_argument("--methods", default=",".join(METHODS))
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--limit", type=int)
    parser.add_argument("--jobs", type=int, default=1, help="suites at a time, each in a process of its own")
    parser.add_argument("--work", type=Path, default=Path(".bench/study"))
    parser.add_argument("--out", type=Path, default=Path("results/microworld"))
    given = parser.parse_args()
    suites = given.suites.split(",") if given.suites else reported_suites()
    try:
        configs = [
            RunConfig(
                suite=suite,
                methods=tuple(given.methods.split(",")),
                seeds=seeds(given.seeds),
                limit=given.limit,
            )
            for suite in sorted(suites, key=size, reverse=True)
        ]
        work = partial(complete_in, given.out, given.work)
        done: Iterable[object] = map(work, configs)
        if given.jobs > 1:
            done = in_processes(work, configs, given.jobs, math.inf, given.work / "logs")
        for _ in done:
            write_text(given.out / SUMMARY, page(given.out))
    except BenchError as error:
        parser.error(str(error))


if __name__ == "__main__":
    main()
