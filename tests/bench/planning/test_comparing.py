"""Evaluators that compare with the base model's pictures: what they are shown, what their ids hold."""

from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from erasure_bench.bench.planning.config import RunConfig
from erasure_bench.bench.planning.plan import Plan
from erasure_bench.bench.planning.tasks import needed_by
from erasure_bench.bench.running.executor import execute
from erasure_bench.bench.running.pictures import read_pictures
from erasure_bench.bench.running.progress import Quiet
from erasure_bench.bench.storage.store import Store


def plan(fake: ModuleType, compares_with: Any, **changes: Any) -> Plan:
    methods = changes.pop("methods", None)
    evaluator = replace(fake.evaluator(detector="arithmetic"), compares_with=compares_with)
    config = RunConfig(suite="tiny", methods=("dim",), **changes)
    made: Plan = fake.tiny_plan(config, evaluators=[evaluator], methods=methods)
    return made


def asked(task: Any) -> list[tuple[str, int]]:
    return [(image.prompt.id, image.image_index) for image in task.images.images]


@pytest.mark.parametrize("seeds", [(0,), (0, 3)])
def test_pairs_are_the_base_models_pictures_of_the_same_prompts_and_noises(
    fake: ModuleType, seeds: tuple[int, ...]
) -> None:
    for cell in plan(fake, "pairs", seeds=seeds).cells:
        for task in cell.score:
            (base,) = task.base
            assert base.erase.method == "none" and base.images == task.generate.images
            assert asked(base) == asked(task.generate)


def test_a_concept_is_all_that_the_base_model_drew_for_it_with_that_seed(fake: ModuleType) -> None:
    whole = plan(fake, "concept", seeds=(0, 3))
    base = {(cell.case.name, cell.seed): cell.generate for cell in whole.cells if cell.method.is_baseline}

    for cell in whole.cells:
        assert all(task.base == base[cell.case.name, cell.seed] for task in cell.score)
        assert {drawn.images.role for drawn in cell.score[0].base} == {"target", "anchor", "retention"}


def test_an_id_holds_the_pictures_that_are_compared_with(fake: ModuleType) -> None:
    alone, pairs, concept = (
        {task.id for cell in plan(fake, how).cells for task in cell.score}
        for how in (None, "pairs", "concept")
    )
    assert not alone & pairs and not alone & concept and not pairs & concept

    other_base = [replace(fake.method("none"), code="another"), fake.method("dim", strength=0.5)]
    before, after = (plan(fake, "pairs", methods=methods) for methods in (None, other_base))
    assert [cell.erase.id for cell in before.cells[2:]] == [cell.erase.id for cell in after.cells[2:]]
    assert not {t.id for c in before.cells[2:] for t in c.score} & {
        t.id for c in after.cells for t in c.score
    }


def test_a_concept_alone_has_the_ids_that_it_has_among_others(fake: ModuleType) -> None:
    for how in ("pairs", "concept"):
        whole, part = (plan(fake, how, **more) for more in ({}, {"concepts": ("red ball",)}))
        assert {task.id for task in part.tasks} < {task.id for task in whole.tasks}


def test_what_is_needed_comes_in_an_order_in_which_it_can_be_done(fake: ModuleType) -> None:
    cell = plan(fake, "concept").cells[-1]
    task = cell.score[0]

    needed = needed_by(task)

    assert needed[0] == task.base[0].erase and needed[-2:] == (cell.erase, task.generate)
    assert needed_by(cell.generate[0]) == (cell.erase,) and needed_by(cell.erase) == ()


def test_broken_pictures_of_the_base_are_a_failure_of_the_scores_that_need_them(
    fake: ModuleType, tmp_path: Path
) -> None:
    worker = fake.FakeWorker(Store(tmp_path))
    worker.break_on = lambda task: (
        task.kind == "generate" and task.erase.method == "none" and task.images.role == "target"
    )

    outcome = execute(plan(fake, "pairs", concepts=("red ball",)), worker, worker.store, Quiet())

    of_base, of_method = outcome.failures
    assert (of_base.method, of_base.stage, of_base.role, of_base.evaluator) == (
        "none",
        "generate",
        "target",
        None,
    )
    assert (of_method.method, of_method.stage) == ("dim", "score")
    assert (of_method.role, of_method.evaluator) == ("target", "fake")
    assert of_method.reason.startswith("the base model's pictures: ")


def test_damaged_pictures_of_the_base_are_drawn_again_when_a_score_needs_them(
    fake: ModuleType, tmp_path: Path
) -> None:
    store = Store(tmp_path)
    worker = fake.FakeWorker(store)
    damaged = []

    def is_broken(task: Any) -> bool:
        if task.kind == "score" and task.generate.erase.method == "dim" and not damaged:
            damaged.append(task.base[0].id)
            (store.entry("generate", damaged[0]).folder / "000.png").write_bytes(b"torn")
            read_pictures(store.entry("generate", damaged[0]), task.base[0])
        return False

    worker.break_on = is_broken
    outcome = execute(plan(fake, "pairs", concepts=("red ball",)), worker, store, Quiet())

    assert outcome.failures == () and worker.calls.count(damaged[0]) == 2
