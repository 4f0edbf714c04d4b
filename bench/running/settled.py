"""What a run measures with where it names nothing: the suite's own evaluators, but those that cannot be here.

Most say what they lack when the plan is made. Some know only when they load their weights, which may have to
be fetched: they are tried before the first picture is drawn.
"""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from erasure_bench.bench.planning.chosen import ChosenEvaluator
from erasure_bench.bench.planning.config import RunConfig
from erasure_bench.bench.planning.devices import pick_device
from erasure_bench.bench.planning.plan import Plan
from erasure_bench.bench.planning.prepare import SKIPPED, Prepared, prepare
from erasure_bench.bench.planning.tasks import FeatureTask, ScoreTask
from erasure_bench.bench.storage.store import Store
from erasure_bench.errors import BenchError, NotHere


class Settled(NamedTuple):
    """A plan that names its evaluators, where one had to be left out, and the notes of those that were."""

    prepared: Prepared
    skipped: tuple[str, ...]


def settled(config: RunConfig, store: Path) -> Settled:
    """As `prepare`, without the suite's evaluators whose weights are not here; the notes say which and why.

    The config of such a plan names the others, so that whoever makes the plan again, on whatever machine,
    means the same. Raises BenchError as `prepare` does, and NotHere where the user set an option of one.
    """
    prepared = prepare(config, store)
    skipped = tuple(note for note in prepared.notes if note.startswith(SKIPPED))
    lacking = {} if config.evaluators else _lacking(prepared.plan, store)
    if not lacking:
        return Settled(_named(prepared) if skipped else prepared, skipped)
    skipped += tuple(f"{SKIPPED}evaluator {name!r}: {why}" for name, why in lacking.items())
    rest = tuple(each.name for each in prepared.plan.evaluators if each.name not in lacking)
    if not rest:
        raise BenchError(f"nothing to measure with: {'; '.join(skipped)} (--evaluators)")
    again = prepare(config.model_copy(update={"evaluators": rest}), store)
    return Settled(again._replace(notes=(*again.notes, *skipped)), skipped)


def _named(prepared: Prepared) -> Prepared:
    """The same, with a config that names the evaluators."""
    plan = prepared.plan
    names = tuple(each.name for each in plan.evaluators)
    named = dataclasses.replace(plan, config=plan.config.model_copy(update={"evaluators": names}))
    return prepared._replace(plan=named)


def _lacking(plan: Plan, store: Path) -> Mapping[str, NotHere]:
    """Of the evaluators that have anything left to do: those that cannot be loaded here, and why."""
    todo = {
        task.evaluator for task in plan.unfinished(Store(store)) if isinstance(task, ScoreTask | FeatureTask)
    }
    found = {}
    device = pick_device(plan.config.device)
    for chosen in plan.evaluators:
        if chosen.name in todo and (why := _why_not(chosen, device)):
            if chosen.options:
                raise why
            found[chosen.name] = why
    return found


def _why_not(chosen: ChosenEvaluator, device: str) -> NotHere | None:
    from erasure_bench.bench.running.scoring import loaded

    try:
        loaded(chosen, device)
    except NotHere as why:
        return why
    return None
