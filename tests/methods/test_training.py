"""Fine-tuning stops clearly, restores bit for bit whatever happens, and reports what it did."""

import math

import pytest
import torch

from methods.base import EraseContext, Progress
from methods.training import FineTune, TrainingStopped
from models.weights import changed_tensors, snapshot


def tuned(model, **settings):
    return FineTune(
        model, "xattn", **{"learning_rate": 1e-3, "steps": 3, "context": EraseContext()} | settings
    )


def size(tuning):
    """A loss on the weights alone: their mean square."""
    return torch.cat([p.flatten() for p in tuning.parameters.values()]).square().mean()


def test_model_is_as_it_was(tiny_model):
    before = snapshot(tiny_model)
    with tuned(tiny_model) as tuning:
        for _ in tuning:
            tuning.minimise([size(tuning)])
        assert changed_tensors(before, tiny_model.named_tensors())

    assert tuning.tensors.keys() == tuning.parameters.keys()
    assert not changed_tensors(before, tiny_model.named_tensors())
    assert all(not p.requires_grad and p.grad is None for p in tiny_model.named_tensors().values())


def test_model_is_as_it_was_after_an_error(tiny_model):
    before = snapshot(tiny_model)
    with pytest.raises(KeyboardInterrupt), tuned(tiny_model) as tuning:
        tuning.minimise([size(tuning)])
        raise KeyboardInterrupt
    assert not changed_tensors(before, tiny_model.named_tensors())
    assert tuning.tensors == {}


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_loss_that_is_not_finite_stops_and_keeps_the_curve(tiny_model, bad):
    before = snapshot(tiny_model)
    message = rf"step 2 of 3: the loss became {bad}.*learning_rate"
    with pytest.raises(TrainingStopped, match=message) as stopped, tuned(tiny_model) as tuning:
        for step in tuning:
            tuning.minimise([size(tuning) * (bad if step == 1 else 1.0)])

    assert len(stopped.value.losses) == 2
    assert math.isfinite(stopped.value.losses[0])
    assert not changed_tensors(before, tiny_model.named_tensors())


def test_divergence_stops(tiny_model):
    message = "times what it was at the start"
    with pytest.raises(TrainingStopped, match=message) as stopped, tuned(tiny_model, steps=20) as tuning:
        for step in tuning:
            tuning.minimise([size(tuning) * (1e6 if step == 15 else 1.0)])
    assert len(stopped.value.losses) == 16


def test_weights_that_are_not_finite_stop(tiny_model):
    with pytest.raises(TrainingStopped, match="no longer finite"), tuned(tiny_model, steps=1) as tuning:
        tuning.minimise([size(tuning)])
        with torch.no_grad():
            next(iter(tuning.parameters.values())).fill_(math.nan)


def test_micro_batches_add_up_and_progress_is_reported(tiny_model):
    seen: list[Progress] = []
    with tuned(tiny_model, context=EraseContext(report=seen.append)) as tuning:
        for _ in tuning:
            half = size(tuning) / 2
            tuning.minimise(part for part in (half, size(tuning) / 2))

    assert [(p.step, p.steps) for p in seen] == [(1, 3), (2, 3), (3, 3)]
    assert tuning.losses == [p.loss for p in seen]
    with tuned(tiny_model) as whole:
        for _ in whole:
            whole.minimise([size(whole)])
    torch.testing.assert_close(whole.losses, tuning.losses)


def test_decoupled_weight_decay_is_adamws(tiny_model):
    """With no gradient AdamW only shrinks the weights: by 1 − lr · decay a step."""
    with tuned(tiny_model, optimiser="adamw", learning_rate=0.1, weight_decay=0.5, steps=1) as tuning:
        name, parameter = next(iter(tuning.parameters.items()))
        before = parameter.detach().clone()
        tuning.minimise([size(tuning) * 0.0])
    torch.testing.assert_close(tuning.tensors[name], before * (1 - 0.1 * 0.5))


def test_cost_is_measured(tiny_model):
    with tuned(tiny_model) as tuning:
        for _ in tuning:
            tuning.minimise([size(tuning)])

    assert tuning.cost.steps == 3
    assert 0 < tuning.cost.seconds < 60
    assert tuning.cost.peak_memory_bytes > 50 * 2**20
    assert tuning.cost == tuning.cost, "the clock stopped"
    assert tuning.cost.memory == "process"


def test_memory_peak_sees_what_was_allocated_and_freed():
    from methods.cost import Meter

    with Meter("cpu") as small:
        pass
    with Meter("cpu") as large:
        block = torch.ones(256 * 2**20, dtype=torch.uint8)
        del block
    assert large.cost(0).peak_memory_bytes - small.cost(0).peak_memory_bytes > 200 * 2**20
