"""What is known of a plan's cells: scores, costs, failures, and what the pictures were drawn with.

It comes from the store (`of_store`), or from the folders of earlier runs (`bench.reporting.merging`).
"""

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import NamedTuple

from pandas import DataFrame

from erasure_bench.bench.planning.plan import Plan
from erasure_bench.bench.reporting.features import stored_features
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
    `bench.reporting.tries.TRY_COLUMNS`, None where nothing is known of attacks.
    """

    scores: DataFrame
    costs: Mapping[CellKey, CellCost]
    failures: tuple[Failure, ...]
    drawn_with: Mapping[str, list[str]]
    read_as: Mapping[str, list[str]]
    features: Mapping[str, KeptFeatures] = MappingProxyType({})
    tries: DataFrame | None = None


def of_store(plan: Plan, store: Store, failures: Iterable[Failure]) -> Evidence:
    """What the store holds of the plan."""
    return Evidence(
        scores=collect_scores(plan, store),
        costs=collect_costs(plan, store),
        failures=tuple(failures),
        drawn_with=_drawn_with(plan, store),
        read_as=_read_as(plan, store),
        features=stored_features(plan, store),
        tries=collect_tries(plan, store) if plan.attacks else None,
    )


def joined(parts: Iterable[Mapping[str, list[str]]]) -> dict[str, list[str]]:
    """The `drawn_with` of pictures that come from several places."""
    several = list(parts)
    found = {name: sorted({value for part in several for value in part.get(name, [])}) for name in DRAWING}
    return {name: values for name, values in found.items() if values}


def _drawn_with(plan: Plan, store: Store) -> dict[str, list[str]]:
    """Empty where nothing was drawn."""
    tasks = {task.id: task for cell in plan.cells for task in cell.generate}
    abouts = [
        store.entry(task.kind, task.id).about for task in tasks.values() if store.has(task.kind, task.id)
    ]
    return joined(
        {DEVICE: [about["device_name"]], **{name: [str(v)] for name, v in about["versions"].items()}}
        for about in abouts
    )


def _read_as(plan: Plan, store: Store) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for cell in plan.cells:
        task, name = cell.erase, cell.method.name
        if cell.method.weights and name not in found and store.has(task.kind, task.id):
            found[name] = list(store.entry(task.kind, task.id).about["read_as"])
    return found
