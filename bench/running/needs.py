"""What the methods of a plan make for themselves before and while they train, and what of it is there."""

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from erasure_bench.bench.planning.chosen import ChosenMethod
from erasure_bench.bench.planning.plan import Plan
from erasure_bench.bench.planning.tasks import EraseTask, Task
from erasure_bench.bench.storage.cache import StoreCache
from erasure_bench.bench.storage.store import Store
from erasure_bench.foreign.errors import contained
from erasure_bench.methods.registry import build_method
from erasure_bench.prompt_suites.concepts import Concept

if TYPE_CHECKING:
    from erasure_bench.methods.base import EraseContext, Method, Need

STEPS = "steps"


class Needed(NamedTuple):
    """A need of one edit. `kept` is the cache's id of it, None where it is this edit's alone."""

    need: "Need"
    kept: str | None


Needs = Mapping[str, tuple[Needed, ...] | None]
"""By the ids of erase tasks: what each makes; None where its method does not say.

What several edits share stands with the first of them, and nowhere where the cache has it already.
"""


def needs_of_plan(plan: Plan, todo: Sequence[Task], store: Store, general_prompts: Sequence[str]) -> Needs:
    """The needs of the erase tasks among `todo`, in that order; builds their methods, loads no model."""
    from erasure_bench.methods.base import EraseContext

    asked = {task.id for task in todo if isinstance(task, EraseTask)}
    methods: dict[str, Method] = {}
    entries = _Entries(store)
    shared: set[str] = set()
    terms = _loss_terms(plan)
    found: dict[str, tuple[Needed, ...] | None] = {}
    # Earlier requests, and an unrelated concept's edit that is attacked, are of the cell's method, too.
    erasing = (
        (cell, task)
        for cell in plan.cells
        for task in (*cell.erase.earlier, cell.erase, *cell.assaults)
        if isinstance(task, EraseTask)
    )
    for cell, task in erasing:
        if task.id not in asked or task.id in found:
            continue
        if cell.method.weights is not None:
            found[task.id] = ()  # it is read, not made
            continue
        if task.method not in methods:
            methods[task.method] = _built(cell.method)
        general = tuple(general_prompts) if task.general_prompts else ()
        declared = _declared(
            methods[task.method],
            task.concepts or (cell.concept,),
            EraseContext(seed=task.seed or 0, general_prompts=general, loss_terms=terms),
        )
        if declared is None:
            found[task.id] = None
            continue
        needed = []
        for need in declared:
            kept = entries.id(task, need)
            if kept is None or not (kept in shared or store.has("cache", kept)):
                needed.append(Needed(need, kept))
            if kept is not None:
                shared.add(kept)
        found[task.id] = tuple(needed)
    return found


def made_for_themselves(needs: Needs) -> dict[str, int]:
    """How many pictures and Fisher samples, by unit; training steps are no such thing."""
    counts: dict[str, int] = {}
    for needed in needs.values():
        for need, _ in needed or ():
            if need.unit != STEPS:
                counts[need.unit] = counts.get(need.unit, 0) + need.count
    return counts


def _loss_terms(plan: Plan) -> int:
    """Of how many terms the base model's lower bound is a sum: its timesteps, 1 where it denoises nothing.

    As most models have it where the plan says nothing of its bases.
    """
    from erasure_bench.methods.base import EraseContext

    if not plan.bases:
        return EraseContext.loss_terms
    schedule = plan.bases[0].schedule
    return 1 if schedule is None else int(schedule.config["num_train_timesteps"])


def _built(method: ChosenMethod) -> "Method":
    return build_method(method.registered, method.preset, method.options)


def _declared(
    method: "Method", concepts: Sequence[Concept], context: "EraseContext"
) -> "tuple[Need, ...] | None":
    """What the method says; None where it says nothing, or its code for it fails: only a time hangs on it."""
    from erasure_bench.methods.base import Need

    declare = getattr(method, "needs", None)
    if not callable(declare):
        return None
    try:
        with contained("needs"):
            declared = tuple(declare(concepts, context))
    except Exception:
        return None
    return declared if all(isinstance(need, Need) for need in declared) else None


class _Entries:
    """Ids of the cache's entries: the same long lists of prompts come up for every edit."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self._ids: dict[tuple[str, str, str, str], str] = {}

    def id(self, task: EraseTask, need: "Need") -> str | None:
        if need.maker is None or need.key is None:
            return None
        whose = task.learns_from
        name = whose, task.dtype, need.maker, json.dumps(need.key, sort_keys=True)
        if name not in self._ids:
            self._ids[name] = StoreCache(self.store, whose, task.dtype).entry_id(need.maker, need.key)
        return self._ids[name]
