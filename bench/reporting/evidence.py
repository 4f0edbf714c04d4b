"""What is known of a plan's cells: scores, costs, failures, and what the pictures were drawn with.

It comes from the store (`of_store`), or from the folders of earlier runs (`bench.reporting.merging`).
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

from pandas import DataFrame

from erasure_bench.bench.planning.plan import Plan
from erasure_bench.bench.reporting.features import stored_features
from erasure_bench.bench.reporting.remembered_sets import FOLDER as STATISTICS
from erasure_bench.bench.reporting.scores import CellCost, collect_costs, collect_scores
from erasure_bench.bench.reporting.tries import collect_tries
from erasure_bench.bench.running.failures import Failure
from erasure_bench.bench.running.kept_features import KeptFeatures
from erasure_bench.bench.storage.store import Store

DEVICE = "device"
DRAWING = (DEVICE, "erasure-bench", "torch", "diffusers")
"""What a picture depends on besides its task."""

CellKey = tuple[str, str, int]
"""Method, concept, seed."""


class Evidence(NamedTuple):
    """All that a leaderboard is made from besides the plan.

    `scores` has the columns `bench.reporting.scores.RUN_COLUMNS`. `drawn_with` lists the devices and versions
    that the pictures come from, `read_as` says for each row that is a user's checkpoint how it was read.
    `features` are those of the plan's feature tasks, by their ids. `tries` has the columns
    `bench.reporting.tries.TRY_COLUMNS`, None where nothing is known of attacks. `memory` is the store's
    folder of what statistics of sets came to, None without a store.
    """

    scores: DataFrame
    costs: Mapping[CellKey, CellCost]
    failures: tuple[Failure, ...]
    drawn_with: Mapping[str, list[str]]
    read_as: Mapping[str, list[str]]
    features: Mapping[str, KeptFeatures] = MappingProxyType({})
    tries: DataFrame | None = None
    memory: Path | None = None


def of_store(plan: Plan, store: Store, failures: Iterable[Failure]) -> Evidence:
    """What the store holds of the plan."""
    scores = collect_scores(plan, store)
    drawn = _drawn(plan, store)
    return Evidence(
        scores=scores,
        costs=collect_costs(plan, store, drawn.seconds),
        failures=tuple(failures),
        drawn_with=drawn.made_with,
        read_as=_read_as(plan, store),
        features=stored_features(plan, store),
        tries=collect_tries(plan, store) if plan.attacks else None,
        memory=store.root / STATISTICS,
    )


def joined(parts: Iterable[Mapping[str, list[str]]]) -> dict[str, list[str]]:
    """The `drawn_with` of pictures that come from several places."""
    several = list(parts)
    found = {name: sorted({value for part in several for value in part.get(name, [])}) for name in DRAWING}
    return {name: values for name, values in found.items() if values}


class _Drawn(NamedTuple):
    """How long the plan's pictures took, by their tasks' ids, and what they were drawn with."""

    seconds: Mapping[str, float]
    made_with: Mapping[str, list[str]]


def _drawn(plan: Plan, store: Store) -> _Drawn:
    """From the pictures' entries, each of which is read once; both empty where nothing was drawn."""
    seconds: dict[str, float] = {}
    found: defaultdict[str, set[str]] = defaultdict(set)
    for task in {task.id: task for cell in plan.cells for task in cell.generate}.values():
        if store.has(task.kind, task.id):
            about = store.entry(task.kind, task.id).about
            seconds[task.id] = float(about["generate_seconds"])
            found[DEVICE].add(about["device_name"])
            for name, version in about["versions"].items():
                found[name].add(str(version))
    return _Drawn(seconds, joined([{name: list(values) for name, values in found.items()}]))


def _read_as(plan: Plan, store: Store) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for cell in plan.cells:
        task, name = cell.erase, cell.method.name
        if cell.method.weights and name not in found and store.has(task.kind, task.id):
            found[name] = list(store.entry(task.kind, task.id).about["read_as"])
    return found
