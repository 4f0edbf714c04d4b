"""`python -m studies.seen_instead`: what the oracle sees where it no longer sees what it was asked for.

Of neighbours and unrelated subjects that a method spoils in the leaderboards of `results/microworld`: does
a named cat become any cat, or no cat at all? `none` is the oracle's label for no named member, style or
picture, `anonymous` for an unknown person, `nothing` for a picture that shows nothing. The
scores are in the store of `--work`, where `studies.microworld_leaderboards` left them.
Writes `results/microworld/seen-instead.csv`.
"""

import argparse
from collections.abc import Iterable, Iterator
from io import BytesIO
from pathlib import Path

import pandas as pd

from erasure_bench.bench.planning.config import RunConfig
from erasure_bench.bench.planning.plan import Plan
from erasure_bench.bench.planning.prepare import prepare
from erasure_bench.bench.planning.tasks import ScoreTask
from erasure_bench.bench.running.scoring import DETAILS_FILE
from erasure_bench.bench.storage.atomic import write_text
from erasure_bench.bench.storage.store import Store
from erasure_bench.errors import BenchError
from erasure_bench.evaluators.composed_labels import AND, OR
from erasure_bench.prompt_suites.suite import ERASED_ROLES
from studies.microworld_leaderboards import documents

TABLE = "seen-instead.csv"
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
    whole["asked"] = whole["label"]
    whole["seen"] = [_label(*answer) for answer in zip(whole["head"], whole["predicted"], strict=True)]
    return whole[[*WITHIN, "seen"]]


def _label(heads: str, predicted: str) -> str:
    """What the heads that were asked have seen, as one label: `object/cup & count/2`."""
    pairs = zip(heads.split(AND), predicted.split(AND), strict=True)
    return AND.join(f"{head}/{label}" for head, label in pairs)


def holds(asked: str, seen: str) -> bool:
    """Whether all that one of the alternatives of a label asks for has been seen."""
    answers = set(seen.split(AND))
    return any(answers.issuperset(alternative.split(AND)) for alternative in asked.split(OR))


def reported(folder: Path) -> Iterator[RunConfig]:
    """What the leaderboards in the folder are of."""
    for suite, document in documents(folder).items():
        yield RunConfig(suite=suite, methods=tuple(document["methods"]), seeds=tuple(document["seeds"]))


def misses(seen: Iterable[pd.DataFrame]) -> pd.DataFrame:
    """Where the oracle sees something else: how many pictures, `of` how many that asked for the same."""
    whole = pd.concat(seen, ignore_index=True)
    counts = whole.groupby([*WITHIN, "seen"], sort=False).size().rename("pictures").reset_index()
    counts["of"] = counts.groupby(WITHIN)["pictures"].transform("sum")
    wrong = [not holds(*each) for each in zip(counts["asked"], counts["seen"], strict=True)]
    return counts[wrong]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m studies.seen_instead", description=__doc__)
    parser.add_argument("--work", type=Path, default=Path(".bench/study"))
    parser.add_argument("--out", type=Path, default=Path("results/microworld"))
    given = parser.parse_args()
    store = given.work / "store"
    try:
        found = misses(
            predictions(prepare(config, store).plan, Store(store)) for config in reported(given.out)
        )
    except BenchError as error:
        parser.error(str(error))
    write_text(given.out / TABLE, found.to_csv(index=False, lineterminator="\n"))


if __name__ == "__main__":
    main()
