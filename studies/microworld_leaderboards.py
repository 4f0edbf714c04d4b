"""`python -m studies.microworld_leaderboards`: every method on every suite of the built-in model, 3 seeds.

Writes `results/microworld/<suite>/` `leaderboard.{md,csv.gz}`, `scores.parquet`, `prompts.parquet` and
`run.json`, and one summary over the suites that are there, `results/microworld/LEADERBOARD.md`. What those
folders hold already, of the same code and settings, is not done again, nor what is in the store of `--work`.
What is lacking is done in pieces, one method of one suite each, `--jobs` at a time, and can be spread over
several calls (`--suites`, `--methods`, `--seeds`, `--minutes`) and machines: `--parts` names a folder of
another's `--work`, whose finished pieces are taken. All of it takes two cores about 20 hours as `--jobs 2`
(`prompt_suites/microworld/building.py` says what takes how long). Suites with the same concepts share their
edits in the store. `--` hands the rest to `bench run`, such as `-- --device cuda`.
"""

import argparse
import gzip
import shutil
import sys
import time
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from erasure_bench.bench.planning.chosen import BASELINE
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
from erasure_bench.prompt_suites.registry import suite_card, suite_names
from studies.leaderboard_summary import summary
from studies.parallel import one_by_one_or_together
from studies.pieces import PARTS, STORE, WHOLE, add_options
from studies.running import bench_merge, bench_run

MODEL = "microworld"
SUMMARY = "LEADERBOARD.md"
TABLE = f"{LEADERBOARD}.csv"
PACKED = f"{TABLE}.gz"
KEEP = (f"{LEADERBOARD}.md", SCORES, PROMPTS)


class Piece(NamedTuple):
    """What one run is to do: one method of a suite, with the seeds that are lacking."""

    suite: str
    method: str
    seeds: tuple[int, ...]
    limit: int | None

    @property
    def name(self) -> str:
        """Of its folder."""
        return "-".join([self.method, *map(str, self.seeds)])


def reported_suites() -> list[str]:
    """The suites made for the built-in model that tables report on."""
    cards = [suite_card(name) for name in suite_names()]
    return [card.name for card in cards if card.model == MODEL and card.reported]


def lacking(config: RunConfig, folders: Sequence[Path], store: Path) -> list[Piece]:
    """What none of the folders' runs has of the config, as its code and settings are now."""
    plan = prepare(config, store).plan
    found = found_cells(plan, [read_part(folder) for folder in folders])
    seeds_of: dict[str, dict[int, None]] = {}
    for cell in plan.cells:
        if (cell.method.name, cell.case.name, cell.seed) not in found:
            seeds_of.setdefault(cell.method.name, {})[cell.seed] = None
    return [Piece(config.suite, method, tuple(of), config.limit) for method, of in seeds_of.items()]


def do(piece: Piece, work: Path, options: Sequence[str] = ()) -> None:
    """Runs a piece into a folder of its own below `work`."""
    bench_run(
        *("--suite", piece.suite, "--methods", piece.method),
        *("--seeds", ",".join(map(str, piece.seeds))),
        *(("--limit", str(piece.limit)) if piece.limit else ()),
        *("--store", str(work / STORE), "--out", str(work / piece.suite / PARTS / piece.name)),
        *options,
    )


def parts_of(config: RunConfig, works: Sequence[Path]) -> list[Path]:
    """The folders of finished pieces that are of what the config asks for, in the order of its methods."""
    found = []
    for work in works:
        for run in (work / config.suite / PARTS).glob(f"*/{RUN}"):
            asked = read_part(run.parent).config
            named = set(asked.methods) - {BASELINE}
            within = named <= set(config.methods) and set(asked.seeds) <= set(config.seeds)
            if within and asked.limit == config.limit:
                place = min((config.methods.index(name) for name in named), default=0)
                found.append((place, run.parent))
    return [folder for _, folder in sorted(found)]


def runs_of(config: RunConfig, out: Path, works: Sequence[Path]) -> list[Path]:
    """The folders of runs that have any of it: what `out` has already comes first."""
    earlier = [out] if (out / RUN).exists() else []
    return [*earlier, *parts_of(config, works)]


def join(config: RunConfig, runs: Sequence[Path], out: Path, work: Path) -> None:
    """Puts what the runs have together into `out`."""
    whole = work / config.suite / WHOLE
    bench_merge(*map(str, runs), "--out", str(whole), "--store", str(work / STORE))
    out.mkdir(parents=True, exist_ok=True)
    for name in KEEP:
        shutil.copyfile(whole / name, out / name)
    (out / PACKED).write_bytes(gzip.compress((whole / TABLE).read_bytes(), mtime=0))
    record = {key: value for key, value in read_record(whole).items() if key != "merged"}
    write_record(out, portable(record))


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
    add_options(parser, ".bench/study")
    given = parser.parse_args()
    suites = given.suites.split(",") if given.suites else reported_suites()
    until = time.monotonic() + 60 * given.minutes
    try:
        configs = [
            RunConfig(
                suite=suite,
                methods=tuple(given.methods.split(",")),
                seeds=seeds(given.seeds),
                limit=given.limit,
            )
            for suite in suites
        ]
        works = [given.work, *given.parts]
        pieces = [
            piece
            for config in configs
            for piece in lacking(config, runs_of(config, given.out / config.suite, works), given.work / STORE)
        ]
        work = partial(do, work=given.work, options=given.more)
        for piece, _ in one_by_one_or_together(work, pieces, given.jobs, until, given.work / "logs"):
            print(f"done: {piece.suite} {piece.name}", file=sys.stderr)
        for config in configs:
            out = given.out / config.suite
            runs = runs_of(config, out, works)
            if left := lacking(config, runs, given.work / STORE):
                print(f"{config.suite}: {len(left)} of its pieces are left to do", file=sys.stderr)
                continue
            join(config, runs, out, given.work)
            write_text(given.out / SUMMARY, page(given.out))
    except BenchError as error:
        parser.error(str(error))


if __name__ == "__main__":
    main()
