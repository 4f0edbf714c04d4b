"""One leaderboard from several runs of one suite, each of other seeds or other methods.

A run's folder says of every cell the id of all that its scores depend on. A cell of the whole plan is
taken from the first run that has it under the id that it has here and now, and without a failure if any has
it so: what was made by other code, settings, weights or prompts is never taken for it. The scores, and the
tries of attacks, are bound to their run.json by its digests, and counted against the plan.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
from pandas import DataFrame

from erasure_bench.bench.planning.config import CHANGES_NO_RESULT, RunConfig, parse_config
from erasure_bench.bench.planning.plan import Plan
from erasure_bench.bench.planning.tasks import pictures_of
from erasure_bench.bench.reporting.counting import CELL, check_scores, read_scores
from erasure_bench.bench.reporting.evidence import CellKey, Evidence, joined
from erasure_bench.bench.reporting.features import FEATURES, read_feature_table
from erasure_bench.bench.reporting.merged_tries import check_tries, read_tries
from erasure_bench.bench.reporting.record import cost_of, failure_of, key_of, read_record
from erasure_bench.bench.reporting.results import SCORES
from erasure_bench.bench.reporting.run_file import bound
from erasure_bench.bench.reporting.tries import TRIES
from erasure_bench.bench.running.failures import Failure
from erasure_bench.bench.running.kept_features import KeptFeatures
from erasure_bench.errors import BenchError
from erasure_bench.foreign.files import in_file

_EACH_RUNS_OWN = CHANGES_NO_RESULT | {"methods", "seeds"}
"""What the runs may differ in."""


class Part(NamedTuple):
    """One run to be merged: its folder and its run.json."""

    folder: Path
    record: dict[str, Any]

    @property
    def config(self) -> RunConfig:
        """What it was asked to do."""
        return RunConfig.model_validate(self.record["config"])


def read_part(folder: Path) -> Part:
    """Raises BenchError for a folder without a run, or with a changed one or another version's."""
    return Part(folder, read_record(folder))


def foreign_code(parts: Iterable[Part]) -> dict[str, Path]:
    """Files of code that the runs name, each with the folder of the first run that does.

    To merge the runs is to import these files: nobody who only received a folder asked for that.
    """
    found: dict[str, Path] = {}
    for part in parts:
        for name in (*part.config.methods, *part.config.evaluators):
            if in_file(name):
                found.setdefault(name, part.folder)
    return found


def differing(one: RunConfig, other: RunConfig) -> list[str]:
    """The fields in which two runs may not differ if they are to be merged, and do."""
    compared = (name for name in RunConfig.model_fields if name not in _EACH_RUNS_OWN)
    return [name for name in compared if getattr(one, name) != getattr(other, name)]


def flag_of(name: str) -> str:
    """The flag that gives a field of `RunConfig`."""
    return "--" + name.replace("_", "-")


def whole_config(parts: Sequence[Part], data_dir: Path | None = None) -> RunConfig:
    """All methods and seeds of the parts; raises BenchError where they differ in anything else."""
    configs = [part.config for part in parts]
    first = configs[0]
    for part, config in zip(parts, configs, strict=True):
        if other := differing(first, config):
            name = other[0]
            raise BenchError(
                f"{parts[0].folder} and {part.folder} differ in {flag_of(name)}: {getattr(first, name)} and "
                f"{getattr(config, name)}; only runs of other seeds or methods can be merged"
            )
    return parse_config(
        first.model_dump(exclude=set(_EACH_RUNS_OWN))
        | {
            "methods": [name for config in configs for name in config.methods],
            "seeds": sorted({seed for config in configs for seed in config.seeds}),
            "data_dir": data_dir,
        }
    )


def merged(plan: Plan, parts: Sequence[Part]) -> Evidence:
    """What the runs say of the plan's cells, but for people's ratings, which the plan knows nothing of.

    Raises BenchError where a cell is in none of the runs.
    """
    source = _sources(plan, parts)
    if lacking := [cell for cell in plan.cells if _key(cell) not in source]:
        counts = Counter((cell.method.name, cell.seed) for cell in lacking)
        what = ", ".join(f"{name} seed {seed} ({count})" for (name, seed), count in counts.items())
        raise BenchError(
            f"{len(lacking)} of {len(plan.cells)} cells are in none of the runs, or were made by other code, "
            f"settings, weights or prompts than are here now: {what}; run those again (bench run)"
        )
    taken = [(part, {key for key, owner in source.items() if owner is part}) for part in parts]
    used = [part for part, keys in taken if keys]
    return Evidence(
        scores=_scores(plan, taken),
        costs={
            key_of(cell): cost_of(cell)
            for part, keys in taken
            for cell in part.record["cells"]
            if key_of(cell) in keys
        },
        failures=tuple(
            failure_of(failure)
            for part, keys in taken
            for failure in part.record["failures"]
            if key_of(failure) in keys
        ),
        drawn_with=joined(part.record["drawn_with"] for part in used),
        features={task_id: kept for part, keys in taken for task_id, kept in _features(plan, part, keys)},
        tries=_rows(plan, taken, TRIES, read_tries, check_tries) if plan.attacks else None,
        read_as={name: words for part in used for name, words in part.record["read_as"].items()},
    )


def _features(plan: Plan, part: Part, keys: set[CellKey]) -> Iterator[tuple[str, KeptFeatures]]:
    """Those of the part's cells; raises BenchError where some are missing that no failure explains."""
    tasks = {
        (task.id, _key(cell), pictures.images.role if (pictures := pictures_of(task)) else None): task
        for cell in plan.cells
        if _key(cell) in keys
        for task in cell.features
    }
    if not tasks:
        return
    path = part.folder / FEATURES
    counts = {task.id: len(task) for task in tasks.values()}
    there = FEATURES in part.record["files"]
    found = read_feature_table(bound(part.folder, part.record, FEATURES), counts, path) if there else {}
    failures = [failure_of(failure) for failure in part.record["failures"]]
    for (task_id, key, role), task in tasks.items():
        if task_id not in found and not any(
            (failure.method, failure.concept, failure.seed) == key
            and failure.role in (None, role)
            and failure.evaluator in (None, task.evaluator)
            for failure in failures
        ):
            raise BenchError(
                f"{path}: features for {task.evaluator} are missing, the first: {' · '.join(map(str, key))}: "
                f"{role or 'the reference'}; run the same bench run again"
            )
    yield from found.items()


def found_cells(plan: Plan, parts: Iterable[Part]) -> set[CellKey]:
    """The cells of the plan that `merged` would find."""
    return set(_sources(plan, parts))


def _sources(plan: Plan, parts: Iterable[Part]) -> dict[CellKey, Part]:
    wanted = {_key(cell): cell.id for cell in plan.cells}
    whole: dict[CellKey, Part] = {}
    broken: dict[CellKey, Part] = {}
    for part in parts:
        failed = {key_of(failure) for failure in part.record["failures"]}
        for cell in part.record["cells"]:
            if wanted.get(key := key_of(cell)) == cell["id"]:
                (broken if key in failed else whole).setdefault(key, part)
    return {**broken, **whole}


def _key(cell: Any) -> CellKey:
    return cell.method.name, cell.case.name, cell.seed


def _scores(plan: Plan, taken: Iterable[tuple[Part, set[CellKey]]]) -> DataFrame:
    scores = _rows(plan, taken, SCORES, read_scores, check_scores)
    again = drawn_before(plan)
    where = pd.MultiIndex.from_frame(scores[[*CELL, "prompt_id"]])
    return scores.assign(repeated=where.isin(again) if again else False)


def _rows(
    plan: Plan,
    taken: Iterable[tuple[Part, set[CellKey]]],
    name: str,
    read: Callable[[bytes, Path], DataFrame],
    check: Callable[[DataFrame, Plan, set[CellKey], Iterable[Failure], Path], None],
) -> DataFrame:
    """The rows of the cells that are taken from each run's file of that name, in the plan's order.

    Ratings that people gave are no scores of the plan's.
    """
    frames = []
    for part, keys in taken:
        if not keys:
            continue
        path = part.folder / name
        frame = read(bound(part.folder, part.record, name), path)
        frame = frame[~frame["evaluator"].isin([*part.record.get("ratings", ())])]
        own = frame[pd.MultiIndex.from_frame(frame[CELL]).isin(keys)]
        check(own, plan, keys, map(failure_of, part.record["failures"]), path)
        frames.append(own)
    return _in_order(plan, frames)


def _in_order(plan: Plan, frames: Sequence[DataFrame]) -> DataFrame:
    """The frames' rows in the order of the plan's cells, whichever run a cell came from."""
    rows = pd.concat([frame for frame in frames if len(frame)] or frames[:1], ignore_index=True)
    order = {_key(cell): place for place, cell in enumerate(plan.cells)}
    places = pd.MultiIndex.from_frame(rows[CELL]).map(order)
    return rows.iloc[places.argsort(kind="stable")].reset_index(drop=True)


def drawn_before(plan: Plan) -> set[tuple[str, str, int, str]]:
    """Method, concept, seed and prompt of the pictures that are those of an earlier seed."""
    seen: set[tuple[str, str, str]] = set()
    again = set()
    for cell in plan.cells:
        name, concept, seed = _key(cell)
        for task in cell.generate:
            if (name, concept, task.id) in seen:
                again |= {(name, concept, seed, image.prompt.id) for image in task.images.images}
            seen.add((name, concept, task.id))
    return again
