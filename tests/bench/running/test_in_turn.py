"""Requests one after another: the edit of all is what erasing from an edited model comes to."""

from pathlib import Path

import pytest
import torch

from erasure_bench.bench.planning.cases import pick_cases
from erasure_bench.bench.planning.chosen import BASELINE, choose_method
from erasure_bench.bench.planning.config import RunConfig
from erasure_bench.bench.planning.plan import Plan, make_plan
from erasure_bench.bench.planning.sizes import ModelSizes
from erasure_bench.bench.planning.tasks import EraseTask, needed_by
from erasure_bench.bench.running.executor import execute
from erasure_bench.bench.running.in_turn import following
from erasure_bench.bench.running.progress import Quiet
from erasure_bench.bench.running.worker import Worker
from erasure_bench.bench.storage.store import Store
from erasure_bench.errors import BenchError
from erasure_bench.methods.base import EraseContext
from erasure_bench.methods.edit import Edit, applied, new_edit
from erasure_bench.methods.machinery.cost import Cost
from erasure_bench.methods.registry import build_method
from erasure_bench.methods.uce import UCE
from erasure_bench.models.diffusion_model import DiffusionModel
from erasure_bench.models.guidance import ClassifierFree
from erasure_bench.models.zoo import resolve_model
from tests.bench.fake_run import FakeWorker, evaluator, run, tiny_plan, tiny_suite

CONFIG = RunConfig(suite="tiny", methods=("dim",), concepts=("blue-cube>red-ball",))


def test_each_request_is_a_task_that_the_next_one_needs() -> None:
    plan = tiny_plan(CONFIG)
    edited = [cell for cell in plan.cells if cell.method.name == "dim"]
    assert [cell.case.name for cell in edited] == [
        "red ball (in turn: Blue Cube, red ball)",
        "Blue Cube (in turn: Blue Cube, red ball)",
    ]
    first, last = edited[0].tasks[:2]
    assert isinstance(first, EraseTask) and isinstance(last, EraseTask) and last.after is first
    assert [[one.name for one in task.concepts] for task in (first, last)] == [["Blue Cube"], ["red ball"]]
    assert needed_by(last) == (first,) and needed_by(edited[0].generate[0])[:1] == (first,)
    assert edited[0].erase.id == edited[1].erase.id, "both are measured on the same edit"
    alone = tiny_plan(RunConfig(suite="tiny", methods=("dim",), concepts=("blue-cube",)))
    assert first.id == alone.cells[1].erase.id, "the first request is the edit of its concept alone"
    turned = tiny_plan(RunConfig(suite="tiny", methods=("dim",), concepts=("red-ball>blue-cube",)))
    assert turned.cells[-1].erase.id != last.id, "the order matters"


def test_a_method_of_one_concept_can_take_requests_in_turn() -> None:
    config = RunConfig(suite="tiny", methods=("dim",), concepts=("blue-cube+red-ball",))
    with pytest.raises(BenchError, match="one concept at a time"):
        tiny_plan(config)
    assert tiny_plan(CONFIG).cells


@pytest.mark.parametrize("text", ["blue-cube>", "a>b+c", "blue-cube>blue-cube"])
def test_a_sequence_is_written_in_one_way(text: str) -> None:
    with pytest.raises(BenchError, match='"NAME>NAME"'):
        pick_cases(tiny_suite(), [text])


def test_a_request_that_fails_fails_the_cells_of_all_after_it(tmp_path: Path) -> None:
    plan = tiny_plan(CONFIG)
    with Store(tmp_path) as store:
        worker = FakeWorker(store)
        worker.break_on = lambda task: isinstance(task, EraseTask) and "Blue" in str(task.concepts)
        outcome = execute(plan, worker, store, Quiet())
    assert {(one.stage, one.role) for one in outcome.failures} == {("erase", None)}
    assert len({one.concept for one in outcome.failures}) == 2


def test_a_run_of_requests_in_turn(tmp_path: Path) -> None:
    outcome, scores = run(tiny_plan(CONFIG), tmp_path / "store", tmp_path / "out")
    assert not outcome.failures and len(scores["concept"].unique()) == 2
    assert outcome.done["erase"] == 3, "the base model's, and one for each request"


def test_the_edit_is_what_the_later_method_makes_of_the_edited_model(
    tiny_model_dir: Path, tmp_path: Path
) -> None:
    """UCE on the tiny model, through the worker, against the two calls by hand."""
    source = resolve_model(str(tiny_model_dir))
    suite, settings = tiny_suite(), tmp_path / "settings"
    methods = [choose_method(name, "official", {}, settings) for name in (BASELINE, "uce")]
    plan: Plan = make_plan(CONFIG, suite, source, ModelSizes(64, 16), methods, [evaluator()])
    task = plan.cells[-1].erase
    with Store(tmp_path / "store") as store:
        worker = Worker(source, methods, [], store, device="cpu", dtype="float32", batch_size=4)
        for each in (*task.earlier, task):
            worker.erase(each, each.concepts[0], Quiet())
        made = Edit.load(store.folder("erase", task.id))
    model = DiffusionModel.from_directory(tiny_model_dir, name=source.name)
    uce, (ball, cube) = build_method("uce"), suite.concepts
    first = uce.erase(model, [cube], EraseContext())
    with applied(model, first):
        second = uce.erase(model, [ball], EraseContext())
    assert made.concepts == ("Blue Cube", "red ball")
    expected = {**first.tensors, **second.tensors}
    assert made.tensors.keys() == expected.keys()
    assert all(torch.allclose(made.tensors[name], expected[name], atol=1e-6) for name in expected)
    alone = uce.erase(model, [ball], EraseContext()).tensors
    assert any(not torch.allclose(made.tensors[name], alone[name], atol=1e-4) for name in alone)


def test_two_edits_in_guidance_cannot_follow_each_other(tiny_model: DiffusionModel) -> None:
    (ball, cube) = tiny_suite().concepts
    one, other = (
        new_edit("x", UCE(), tiny_model, [concept], guidance=ClassifierFree("no")) for concept in (ball, cube)
    )
    with pytest.raises(BenchError, match="one request at a time"):
        following(one, other)
    plain = new_edit("x", UCE(), tiny_model, [cube])
    assert following(one, plain).guidance == one.guidance == following(plain, one).guidance


def test_the_cost_is_that_of_all_requests(tiny_model: DiffusionModel) -> None:
    """Seconds and steps add up; the most memory is that of the request that took most."""
    (ball, cube) = tiny_suite().concepts
    costs = [Cost(2.0, 70, 5), Cost(3.0, 40, 8)]
    one, other = (
        new_edit("x", UCE(), tiny_model, [concept], cost=cost)
        for concept, cost in zip((ball, cube), costs, strict=True)
    )
    assert following(one, other).cost == Cost(5.0, 70, 13)
