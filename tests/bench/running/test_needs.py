"""What a run's edits make for themselves, as their methods say it of the run's own base model."""

from pathlib import Path

import pytest
import torch

from erasure_bench.bench.planning.config import RunConfig
from erasure_bench.bench.planning.prepare import prepare
from erasure_bench.bench.planning.tasks import EraseTask
from erasure_bench.bench.running.needs import needs_of_plan
from erasure_bench.bench.storage.store import Store
from erasure_bench.models.generative import generative_of
from erasure_bench.models.layouts import layout_of
from erasure_bench.models.zoo import resolve_model

PASSES = 3
"""Of a term: forwards, and backwards for twice as long."""


@pytest.mark.parametrize("suite", ["digits-vae", "digits-ddpm", "microworld-validation"])
def test_an_exact_fisher_costs_every_term_of_the_models_own_lower_bound(suite: str, tmp_path: Path) -> None:
    config = RunConfig(suite=suite, methods=("sa",), method_options={"sa": {"fisher": "exact"}})
    plan = prepare(config, tmp_path).plan
    edits = [task for task in plan.tasks if isinstance(task, EraseTask)]
    with Store(tmp_path) as store:
        needs = needs_of_plan(plan, edits, store, ("one", "two"))
    (fisher,) = (
        need for of_edit in needs.values() for need, _ in of_edit or () if need.unit == "Fisher samples"
    )
    base = resolve_model(plan.model.name).path
    model = layout_of(base).load(base, name="base", device="cpu", dtype=torch.float32, preset=None)
    assert fisher.passes == PASSES * generative_of(model, lambda prompts, seed: torch.zeros(1)).terms


def test_every_request_in_turn_counts_with_pictures_of_the_model_that_it_finds(tmp_path: Path) -> None:
    """The second erases from another model than the base: its pictures are drawn anew, and its F as well."""
    config = RunConfig(suite="microworld-validation", methods=("sa",), preset="auto")
    names = tuple(concept.name for concept in prepare(config, tmp_path).plan.suite.concepts[:2])

    def needed(concepts: tuple[str, ...]) -> list[tuple[str, ...]]:
        plan = prepare(config.model_copy(update={"concepts": concepts}), tmp_path).plan
        edits = [task for task in plan.tasks if isinstance(task, EraseTask) and task.concepts]
        with Store(tmp_path) as store:
            needs = needs_of_plan(plan, edits, store, ("one", "two"))
        return [tuple(need.unit for need, _ in needs[task.id] or ()) for task in edits]

    everything = ("pictures", "Fisher samples", "pictures", "steps")
    assert needed((">".join(names),)) == [everything, everything]
    assert needed(names) == [everything, ("pictures", "steps")], "two of the base share what is general"
