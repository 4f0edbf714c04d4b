"""`python -m studies.seen_instead`: what the oracle sees where it no longer sees what it was asked for.

Of the neighbours and unrelated subjects that a method spoils, in the runs that
`studies.microworld_leaderboards` left in the store of `--work`: does a named cat become any cat, or no cat
at all? `none` is the oracle's label for no named member, style or picture, `anonymous` for an unknown person.
Writes `results/microworld/seen-instead.csv`.
"""

import argparse
from collections.abc import Iterable
from io import BytesIO
from pathlib import Path

import pandas as pd

from bench.atomic import write_text
from bench.config import RunConfig, seeds
from bench.plan import Plan
from bench.prepare import prepare
from bench.store import Store
from bench.tasks import ScoreTask
from bench.worker import DETAILS_FILE
from methods.registry import METHODS
from prompt_suites.errors import BenchError
from prompt_suites.suite import ERASED_ROLES
from studies.microworld_leaderboards import reported_suites

WITHIN = ["suite", "method", "role", "asked"]


def predictions(plan: Plan, store: Store) -> pd.DataFrame:
    """One row for each picture of the roles that must survive: suite, method, role, asked, seen."""
    parts = [
        pd.read_parquet(BytesIO(store.entry(task.kind, task.id).read(DETAILS_FILE))).assign(
            suite=plan.suite.name, method=cell.method.name, role=task.generate.images.role
        )
        for cell in plan.cells
        for task in cell.tasks
        if isinstance(task, ScoreTask) and task.evaluator == "classifier"
        if task.generate.images.role not in ERASED_ROLES
    ]
    whole = pd.concat(parts, ignore_index=True)
    whole["asked"], whole["seen"] = whole["label"], whole["head"] + "/" + whole["predicted"]
    return whole[[*WITHIN, "seen"]]


def misses(seen: Iterable[pd.DataFrame]) -> pd.DataFrame:
    """Where the oracle sees something else: how many pictures, `of` how many that asked for the same."""
    whole = pd.concat(seen, ignore_index=True)
    counts = whole.groupby([*WITHIN, "seen"], sort=False).size().rename("pictures").reset_index()
    counts["of"] = counts.groupby(WITHIN)["pictures"].transform("sum")
    return counts[counts["asked"] != counts["seen"]]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m studies.seen_instead", description=__doc__)
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--work", type=Path, default=Path(".bench/study"))
    parser.add_argument("--out", type=Path, default=Path("results/microworld/seen-instead.csv"))
    given = parser.parse_args()
    store = given.work / "store"
    try:
        plans = [
            prepare(RunConfig(suite=suite, methods=tuple(METHODS), seeds=seeds(given.seeds)), store).plan
            for suite in reported_suites()
        ]
        found = misses(predictions(plan, Store(store)) for plan in plans)
    except BenchError as error:
        parser.error(str(error))
    write_text(given.out, found.to_csv(index=False, lineterminator="\n"))


if __name__ == "__main__":
    main()
