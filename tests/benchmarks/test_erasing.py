"""Steps are timed as asked, the plain loop leaves the model as it was, the plain Fisher is the same one."""

from typing import get_args

import pytest
import torch

from benchmarks.erasing import Task, group_of, measure, measure_fisher, ours, plain, rows_of, trained
from erasure_bench.bench.identity.fingerprints.inputs import CONCEPTS, GENERAL_PROMPTS
from erasure_bench.methods.machinery.parameters import ParameterGroup
from erasure_bench.methods.registry import METHODS
from erasure_bench.models.diffusion_model import DiffusionModel


@pytest.fixture
def task(tiny_model: DiffusionModel) -> Task:
    return Task(tiny_model, CONCEPTS[0], GENERAL_PROMPTS)


def test_methods_that_train_nothing_are_left_out(task: Task) -> None:
    assert trained("uce", 3) is None and trained("sld-max", 3) is None and trained("retrain", 3) is None
    figures = measure(task, ["uce", "esd-x"], steps=3, pairs=2)
    assert set(figures) == {"esd-x"}
    assert figures["esd-x"]["steps_per_second_on_a_core"] > 0
    assert figures["esd-x"]["plain_takes_times_as_long"]["pairs"] == 2


def test_the_last_training_of_a_method_is_timed_step_by_step(task: Task) -> None:
    assert len(ours(trained("esd-x", 4), task).seconds) == 3
    assert len(ours(trained("sa", 4), task).seconds) == 3


def test_the_plain_loop_has_the_methods_rows_and_leaves_the_model_as_it_was(task: Task) -> None:
    method = trained("esd-x", 3)
    before = {name: tensor.clone() for name, tensor in task.model.named_tensors().items()}
    assert len(plain(method, task, 3).seconds) == 2
    assert all(torch.equal(tensor, before[name]) for name, tensor in task.model.named_tensors().items())
    assert rows_of(method, task) == method.batch_size


@pytest.mark.parametrize("name", [name for name in METHODS if trained(name, 2) is not None])
def test_the_plain_loop_knows_what_every_method_trains(name: str, task: Task) -> None:
    method = trained(name, 2)
    assert group_of(method, task.concept) in get_args(ParameterGroup)
    assert rows_of(method, task) >= 1


def test_one_term_at_a_time_gives_the_same_fisher(task: Task) -> None:
    figures = measure_fisher(task, terms=6, batch=4, pairs=1)
    assert figures["largest_difference_of_the_largest"] < 1e-4
    assert figures["terms_per_second_on_a_core"] > 0
