"""`python -m studies.take_over_ids`: gives committed leaderboards the ids that cells have now, by proof.

A committed run names every cell by the id that it had when it was made. Where the way of naming has
changed and the results have not, a sample of its cells is redone in a store of its own: every score
must be there and equal, to `--tolerance`. Only then are the ids, and what else names code, replaced in
`run.json`; no score is touched. A cell that comes out otherwise stops it, by name and with the
differences. What was proved is added to the report.

The sample goes through the methods, cheap and dear, each with a concept and a seed that `--draw`
decides; `--cells METHOD/CONCEPT/SEED,…` names them instead.
"""

import argparse
import dataclasses
import json
import random
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from pandas import DataFrame

from erasure_bench.bench.identity.ids import plain
from erasure_bench.bench.planning.config import RunConfig
from erasure_bench.bench.planning.plan import Cell, Plan
from erasure_bench.bench.planning.prepare import Prepared, prepare
from erasure_bench.bench.reporting.counting import read_scores
from erasure_bench.bench.reporting.record import made_by, read_record, write_record
from erasure_bench.bench.reporting.results import SCORES
from erasure_bench.bench.reporting.run_file import bound
from erasure_bench.bench.reporting.scores import collect_scores
from erasure_bench.bench.running.executor import execute
from erasure_bench.bench.running.progress import Quiet
from erasure_bench.bench.running.versions import hardware, package_versions
from erasure_bench.bench.running.worker import Worker
from erasure_bench.bench.storage.atomic import write_text
from erasure_bench.bench.storage.store import Store
from erasure_bench.bench.words.showing import in_json
from erasure_bench.errors import BenchError
from studies.microworld_leaderboards import reported_suites

KEY = ["method", "concept", "seed", "role", "evaluator", "prompt_id", "image_index", "metric"]
TOLERANCE = 1e-9
"""Scores of one machine and one set of packages are equal to the last bit; this is for printing."""
REPORT = Path("results/reliability/ids.json")
SAME = ("suite", "suite_version", "model", "model_digest", "methods", "concepts", "seeds", "protocol")


class Proof(NamedTuple):
    """Cells that were redone and are equal: their names, how many scores, and the largest difference."""

    cells: list[str]
    scores: int
    most: float
    seconds: float


class Differs(BenchError):
    """A cell that does not come out as it was committed."""


def committed_plan(folder: Path, store: Path) -> tuple[dict[str, Any], Prepared]:
    """A committed run and its plan, as code and settings are now.

    Raises BenchError where the plan is of something else: another suite, prompts, weights or settings.
    """
    record = read_record(folder)
    ready = prepare(RunConfig.model_validate(record["config"]), store)
    plan = ready.plan
    now = {
        "suite": plan.suite.name,
        "suite_version": plan.suite.version,
        "model": plan.model.name,
        "model_digest": plan.model.digest,
        "methods": [method.name for method in plan.methods],
        "concepts": [case.name for case in plan.cases],
        "seeds": list(plan.config.seeds),
        "protocol": plain(plan.suite.protocol),
    }
    concepts = {case.name: plain(case) for case in plan.cases}
    changed = [name for name in SAME if record[name] != now[name]]
    changed += ["concept_definitions"] if record["concept_definitions"] != concepts else []
    changed += [
        f"protocol of {evaluator.name}"
        for evaluator in plan.evaluators
        if record["evaluators"].get(evaluator.name, {}).get("protocol") != plain(evaluator.protocol)
    ]
    settings = {method.name: json.loads(json.dumps(method.settings)) for method in plan.methods}
    for method in record["method_settings"]:
        new = settings[method["method"]]
        changed += [
            f"{key} of {method['method']}"
            for key, value in method["settings"].items()
            if key not in new or new[key] != value
        ]
    if changed:
        raise BenchError(f"{folder}: not the same run any more: {', '.join(changed)} changed; run it again")
    return record, ready


def sampled(plan: Plan, record: Mapping[str, Any], count: int, draw: int) -> list[Cell]:
    """Cells of as many methods as there are places, each with a concept and seed by lot; none that failed."""
    failed = {(failure["method"], failure["concept"], failure["seed"]) for failure in record["failures"]}
    lots = random.Random(draw)
    left = [cell for cell in plan.cells if _key(cell) not in failed]
    lots.shuffle(left)
    chosen: list[Cell] = []
    while left and len(chosen) < count:
        methods = list(dict.fromkeys(cell.method.name for cell in left))
        for name in methods[: count - len(chosen)]:
            cell = next(cell for cell in left if cell.method.name == name)
            left.remove(cell)
            chosen.append(cell)
    return chosen


def named_cells(plan: Plan, names: Sequence[str]) -> list[Cell]:
    """The cells METHOD/CONCEPT/SEED; raises BenchError for one that the plan has not."""
    known = {_name(cell): cell for cell in plan.cells}
    if missing := [name for name in names if name not in known]:
        raise BenchError(
            f"no cell {', '.join(missing)} (--cells METHOD/CONCEPT/SEED); such as {next(iter(known))}"
        )
    return [known[name] for name in names]


def proved(
    ready: Prepared, cells: Sequence[Cell], committed: DataFrame, work: Path, tolerance: float
) -> Proof:
    """Redoes the cells in a new store, one after the other; raises Differs at the first that is not equal."""
    plan, scores, most = ready.plan, 0, 0.0
    started = time.perf_counter()
    with tempfile.TemporaryDirectory(dir=work, prefix="proof-") as folder, Store(Path(folder)) as store:
        worker = Worker(
            ready.source,
            plan.methods,
            plan.evaluators,
            store,
            device=plan.config.device,
            dtype=plan.config.dtype,
            batch_size=plan.config.batch_size,
            general_prompts=ready.general_prompts,
        )
        for cell in cells:
            began = time.perf_counter()
            part = dataclasses.replace(plan, cells=(cell,))
            outcome = execute(part, worker, store, Quiet())
            if outcome.failures:
                raise Differs(f"{cell.title}: fails now: {outcome.failures[0].reason}")
            difference = compared(cell, collect_scores(part, store), committed, tolerance)
            scores, most = scores + difference.scores, max(most, difference.most)
            _say(
                f"{plan.suite.name}: {cell.title}: {difference.scores} scores equal, "
                f"{time.perf_counter() - began:.0f} s"
            )
    return Proof([_name(cell) for cell in cells], scores, most, round(time.perf_counter() - started, 1))


class Difference(NamedTuple):
    """How many scores were compared, and the largest difference of two of them."""

    scores: int
    most: float


def compared(cell: Cell, now: DataFrame, committed: DataFrame, tolerance: float) -> Difference:
    """Raises Differs where a score is missing, new, of another status or further off than the tolerance."""
    method, concept, seed = _key(cell)
    own = (committed.method == method) & (committed.concept == concept) & (committed.seed == seed)
    both = committed[own].merge(now, on=KEY, how="outer", suffixes=("_then", "_now"), indicator=True)
    if len(alone := both[both["_merge"] != "both"]):
        first = alone.iloc[0]
        where = "committed only" if first["_merge"] == "left_only" else "new"
        raise Differs(
            f"{cell.title}: {len(alone)} of {len(both)} scores are not in both; {_of(first)} is {where}"
        )
    if not len(both):
        raise Differs(f"{cell.title}: there are no scores to compare")
    then, new = (both[f"value_{when}"].to_numpy(dtype=float) for when in ("then", "now"))
    missing = np.isnan(then) != np.isnan(new)
    missing |= (both["status_then"] != both["status_now"]).to_numpy()
    apart = np.abs(np.nan_to_num(then) - np.nan_to_num(new))
    wrong = missing | (apart > tolerance)
    if wrong.any():
        place = int(np.argmax(np.where(missing, np.inf, apart)))
        raise Differs(
            f"{cell.title}: {int(wrong.sum())} of {len(both)} scores differ, by up to {apart.max():.3g}; "
            f"{_of(both.iloc[place])} was {then[place]:.6g} and is {new[place]:.6g}"
        )
    return Difference(len(both), float(apart.max()))


def taken_over(record: Mapping[str, Any], plan: Plan) -> dict[str, Any]:
    """The record with the ids, the settings and the names of code that the plan has."""
    ids = {_key(cell): cell.id for cell in plan.cells}
    cells = [{**cell, "id": ids[cell["method"], cell["concept"], cell["seed"]]} for cell in record["cells"]]
    return {**record, **made_by(plan), "plan": plan.id, "cells": cells}


def take_over(folder: Path, given: argparse.Namespace, work: Path) -> dict[str, Any] | None:
    """Proves and renames one committed run; what was proved, None where the ids are those of now."""
    record, ready = committed_plan(folder, work)
    plan = ready.plan
    if taken_over(record, plan) == record:
        _say(f"{plan.suite.name}: has the ids of now")
        return None
    cells = named_cells(plan, given.cells) if given.cells else sampled(plan, record, given.sample, given.draw)
    committed = read_scores(bound(folder, record, SCORES), folder / SCORES)
    proof = proved(ready, cells, committed, work, given.tolerance)
    write_record(folder, taken_over(record, plan))
    return {
        "suite": plan.suite.name,
        "cells": proof.cells,
        "of_cells": len(plan.cells),
        "scores": proof.scores,
        "largest_difference": proof.most,
        "tolerance": given.tolerance,
        "seconds": proof.seconds,
        "plan_before": record["plan"],
        "plan": plan.id,
        "made_with": record["versions"],
        "proved_with": package_versions(),
        "hardware": hardware(),
    }


def _key(cell: Cell) -> tuple[str, str, int]:
    return cell.method.name, cell.case.name, cell.seed


def _name(cell: Cell) -> str:
    return "/".join(map(str, _key(cell)))


def _of(row: Any) -> str:
    return f"{row['metric']} of {row['prompt_id']}"


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m studies.take_over_ids", description=__doc__)
    parser.add_argument("--suites", help="comma list; all reported ones by default")
    parser.add_argument("--results", type=Path, default=Path("results/microworld"))
    parser.add_argument("--sample", type=int, default=12, help="cells to redo of each suite")
    parser.add_argument("--cells", type=lambda text: text.split(","), help="METHOD/CONCEPT/SEED,… instead")
    parser.add_argument("--draw", type=int, default=0, help="seed of the lots")
    parser.add_argument("--tolerance", type=float, default=TOLERANCE)
    parser.add_argument("--work", type=Path, default=Path(".bench/ids"))
    parser.add_argument("--report", type=Path, default=REPORT)
    given = parser.parse_args()
    given.work.mkdir(parents=True, exist_ok=True)
    try:
        for suite in given.suites.split(",") if given.suites else reported_suites():
            if (done := take_over(given.results / suite, given, given.work)) is not None:
                earlier = json.loads(given.report.read_text("utf-8")) if given.report.exists() else []
                given.report.parent.mkdir(parents=True, exist_ok=True)
                write_text(given.report, in_json([*earlier, done]))
    except BenchError as error:
        parser.error(str(error))


if __name__ == "__main__":
    main()
