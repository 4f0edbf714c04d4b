"""`python -m studies.digits`: Selective Amnesia's experiment of forgetting a class, on real digits.

The class 0 is forgotten by a conditional VAE and a conditional DDPM of scikit-learn's digits: original,
retrained without the class, SA with λ from 1 to 100, without replay, without EWC, mapped to another class,
and the naive way, 3 seeds. Writes `results/digits/<suite>/leaderboard.{md,csv}` and `run.json`, and
`results/digits/README.md` with the paper's findings, each held against an interval. About 20 minutes of one
core. `--suites mnist` does the same on MNIST once `bench train mnist-vae` and
`python -m erasure_bench.models.classifiers.train mnist-plain` have been run; the official 10,000 steps
take all rows and seeds about four hours of a core, and `--option steps=4000` and its like make them shorter.
"""

import argparse
import json
import math
import resource
import shutil
from collections.abc import Mapping, Sequence
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

from erasure_bench.bench.planning.config import seeds
from erasure_bench.bench.reporting.record import portable, read_record, write_record
from erasure_bench.bench.reporting.run_file import LEADERBOARD
from erasure_bench.bench.storage.atomic import write_text
from erasure_bench.errors import BenchError
from erasure_bench.models.conditional.description import Description, read_description
from erasure_bench.models.conditional.recipes import Recipe
from erasure_bench.models.zoo import resolve_model
from erasure_bench.prompt_suites.registry import load_suite
from studies import digits_rows
from studies.digits_findings import Differences, Results, Values, page_of
from studies.parallel import in_processes
from studies.running import bench_merge, bench_run

ROWS = Path(__file__).with_name("digits_rows.py")
VARIANTS = (
    *("LAMBDA_1", "LAMBDA_10", "LAMBDA_50", "LAMBDA_100"),
    *("WITHOUT_REPLAY", "WITHOUT_EWC", "REMAP", "NAIVE"),
)
SUITES = ("digits-vae", "digits-ddpm")
OWN_LAMBDA: Mapping[str, str] = {"digits-ddpm": "sa-lambda-10"}
"""The row that is SA with its official λ: that of the DDPMs is 10,"""
AGAINST = "sa-lambda-100"
"""and that of the VAEs."""
TABLE = f"{LEADERBOARD}.csv"
KEEP = (f"{LEADERBOARD}.md", TABLE)
PLAIN = "classifier@plain"
"""The same network that was never shown noise, as the paper's."""


def run_seed(suite: str, work: Path, limit: int | None, options: Sequence[str], seed: int) -> Path:
    """One seed of a suite, with `options` KEY=VALUE of every row of SA: the run's folder."""
    out = work / suite / f"seed-{seed}"
    data = load_suite(suite).evaluator_options["classifier"]["model"]
    bench_run(
        *("--suite", suite, "--methods", ",".join(("retrain", *(f"{ROWS}:{name}" for name in VARIANTS)))),
        *("--evaluators", f"classifier,{PLAIN},fidelity,fidelity@retrained"),
        *("--evaluator-option", f"{PLAIN}.model={data}-plain"),
        *("--seeds", str(seed), "--store", str(work / "store"), "--out", str(out)),
        *(("--limit", str(limit)) if limit else ()),
        *chain.from_iterable(("--method-option", option) for option in options_of_rows(suite, options)),
    )
    return out


def options_of_rows(suite: str, options: Sequence[str]) -> list[str]:
    """ROW.KEY=VALUE for every row of SA in which the setting has an effect."""
    cards = [getattr(digits_rows, row) for row in VARIANTS]
    preset = description_of(suite).preset
    unused = {card.name: card.build(**card.presets[preset]).unused_settings() for card in cards}
    return [
        f"{name}.{option}"
        for name in unused
        for option in options
        if option.split("=")[0] not in unused[name]
    ]


def description_of(suite: str) -> Description:
    """What the suite's base model says of itself."""
    return read_description(resolve_model(load_suite(suite).model).path)


def study(
    suite: str,
    numbers: Sequence[int],
    work: Path,
    out: Path,
    *,
    limit: int | None,
    options: Sequence[str],
    jobs: int,
) -> float:
    """Runs a suite with all seeds and puts its tables into `out`; the minutes of a core that it took."""
    started = _core_seconds()
    one = partial(run_seed, suite, work, limit, options)
    runs = [folder for _, folder in in_processes(one, numbers, jobs, math.inf, work / "logs")]
    whole = work / suite / "whole"
    bench_merge(*map(str, sorted(runs)), "--out", str(whole), "--store", str(work / "store"), "--trust-code")
    folder = out / suite
    folder.mkdir(parents=True, exist_ok=True)
    for name in KEEP:
        shutil.copyfile(whole / name, folder / name)
    record = {key: value for key, value in read_record(whole).items() if key != "merged"}
    write_record(folder, without_paths(portable(record)))
    return (_core_seconds() - started) / 60


def _core_seconds() -> float:
    """What this process and those that it has ended took: wall time has the machine's other work in it."""
    return sum(sum(resource.getrusage(who)[:2]) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))


def found_in(suite: str, numbers: Sequence[int], work: Path) -> Results:
    """The numbers of a suite that was run, and every row's distance to SA."""
    by_seed = [Values.read(work / suite / f"seed-{seed}" / TABLE) for seed in numbers]
    own = OWN_LAMBDA.get(suite, AGAINST)
    return Results(Values.read(work / suite / "whole" / TABLE), Differences(by_seed, own), own)


def how_made(suite: str, options: Sequence[str], minutes: float) -> str:
    """What the numbers of a suite rest on: time, the base's training, what differs from SA's preset."""
    base = description_of(suite)
    said = f"{minutes:.0f} minutes of one core's time."
    if base.origin is not None and base.recipe is not None:
        recipe = Recipe.model_validate(base.recipe)
        said += (
            f" The base was trained on {base.origin.pictures:,} pictures, each one without the class on the "
            f"others of them, in {recipe.steps:,} steps of {recipe.batch_size}."
        )
    return f"{said} Of every row of SA, instead of its preset's: {', '.join(options)}." if options else said


def without_paths(record: Mapping[str, Any]) -> dict[str, Any]:
    """The record with the rows' file as the repository has it."""
    said: dict[str, Any] = json.loads(json.dumps(record).replace(str(ROWS), f"studies/{ROWS.name}"))
    return said


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m studies.digits", description=__doc__)
    parser.add_argument("--suites", default=",".join(SUITES), help="comma list; also mnist, fashion-mnist")
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--limit", type=int, help="only the first prompts of each role: a trial")
    parser.add_argument(
        "--option", action="append", default=[], metavar="KEY=VALUE", help="of every row of SA"
    )
    parser.add_argument("--jobs", type=int, default=2, help="seeds at a time, each in a process of its own")
    parser.add_argument("--work", type=Path, default=Path(".bench/digits"))
    parser.add_argument("--out", type=Path, default=Path("results/digits"))
    given = parser.parse_args()
    try:
        minutes: Mapping[str, float] = {
            suite: study(
                suite,
                seeds(given.seeds),
                given.work,
                given.out,
                limit=given.limit,
                options=given.option,
                jobs=given.jobs,
            )
            for suite in given.suites.split(",")
        }
        results = {suite: found_in(suite, seeds(given.seeds), given.work) for suite in minutes}
        made = {suite: how_made(suite, given.option, taken) for suite, taken in minutes.items()}
    except BenchError as error:
        parser.error(str(error))
    text = page_of(results, made, len(seeds(given.seeds)))
    write_text(given.out / "README.md", text)
    print(text)


if __name__ == "__main__":
    main()
