"""The memory estimate is exact for tensors that stay; profiler and hand counts agree on those of a pass."""

from itertools import accumulate

import pytest
import torch

from erasure_bench.methods.base import EraseContext
from erasure_bench.methods.machinery.memory import (
    TrainingMemory,
    _FusedAttention,
    peak_allocation,
    training_memory,
)
from erasure_bench.methods.machinery.training import FineTune
from erasure_bench.models.diffusion_model import DiffusionModel

SHAPE = (4, 8, 8)


def held(tensors) -> int:
    """Bytes of tensors that exist."""
    return sum(tensor.untyped_storage().nbytes() for tensor in tensors)


def parameters_of(*modules) -> int:
    return held(tensor for module in modules for tensor in (*module.parameters(), *module.buffers()))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("group", ["xattn-strict", "noxattn", "embedding"])
def test_what_stays_is_exactly_what_a_training_holds(tiny_model_dir, group, dtype):
    model = DiffusionModel.from_directory(tiny_model_dir, dtype=dtype)
    base = model.frozen_copy()
    counted = training_memory(
        model.parts, group, latent_shape=SHAPE, tokens=16, frozen_copy=True, average=True, other_tensors=2
    )
    settings = {"learning_rate": 1e-4, "steps": 1, "context": EraseContext(), "ema_decay": 0.9}
    with FineTune(model, group, **settings) as tuning:
        held_back = []

        def loss():
            yield model.predict_noise(torch.ones(1, *SHAPE), 500, "grumpy cat").square().mean()
            held_back.append(held(parameter.grad for parameter in tuning.parameters.values()))

        tuning.minimise(loss())
        states = [value for state in tuning.optimiser.state.values() for value in state.values()]

        assert counted.model == parameters_of(*model.parts.values())
        assert counted.frozen_copy == parameters_of(base.unet, base.text_encoder)
        assert [counted.gradients] == held_back
        assert counted.optimiser == held(states)
        assert counted.average == held(tuning.averages.values())
        assert counted.others == 2 * held(tuning.parameters.values())
    assert counted.total == sum(vars(counted).values())


def test_peak_of_a_few_operations():
    """4000 bytes a tensor: at most three live at once; views and in-place operations make none."""
    existing = torch.empty(1000, device="meta")

    def run():
        first = existing + 1
        second = first * 2
        del first
        third = second.view(10, 100).t() + 0
        third.add_(1)
        return third + third

    assert peak_allocation(run, [existing]) == 12_000
    assert peak_allocation(lambda: existing.view(10, 100).mul_(2), [existing]) == 0


def test_peak_of_a_backward_pass():
    """exp keeps its output for its gradient, one tensor more; the sum and its gradient are 4 bytes each."""
    weight = torch.empty(1000, device="meta", requires_grad=True)

    assert peak_allocation(lambda: weight.exp().sum().backward(), [weight]) == 8_000 + 2 * 4
    assert weight.grad is not None


def test_attention_is_counted_without_its_matrix():
    query, key, value = (torch.empty(2, 3, 512, 16, device="meta", requires_grad=True) for _ in range(3))
    output, per_query = 2 * 3 * 512 * 16 * 4, 2 * 3 * 512 * 4

    def attend():
        return _FusedAttention.apply(query, key, value)

    assert peak_allocation(attend, [query, key, value]) == output + per_query
    attend().sum().backward()
    assert query.grad is not None and query.grad.shape == query.shape


def passes(model: DiffusionModel, group="full", **settings) -> TrainingMemory:
    return training_memory(model.parts, group, tokens=16, **{"latent_shape": SHAPE} | settings)


def test_activations_are_what_a_profiler_sees(tiny_model):
    """Every allocation of a real pass, whose kernels keep a little other things than the GPU's."""
    latents = torch.ones(8, *SHAPE)
    with FineTune(tiny_model, "full", learning_rate=1e-4, steps=1, context=EraseContext()) as tuning:
        for parameter in tuning.parameters.values():
            parameter.grad = torch.zeros_like(parameter)
        embeddings = tiny_model.encode_prompts(["grumpy cat"] * 8)
        with torch.profiler.profile(profile_memory=True) as profiler:
            tiny_model.predict_noise(latents, 500, embeddings).square().mean().backward()
    events = profiler.profiler.kineto_results.events()
    changes = sorted((event.start_ns(), event.nbytes()) for event in events if event.name() == "[memory]")
    peak = max(accumulate(size for _, size in changes))

    assert passes(tiny_model, micro_batch=8).activations == pytest.approx(peak, rel=0.03)


def test_checkpointing_and_micro_batches_save_activations_alone(tiny_model):
    whole = passes(tiny_model, micro_batch=8)
    half = passes(tiny_model, micro_batch=4)
    checkpointed = passes(tiny_model, micro_batch=8, gradient_checkpointing=True)

    assert 0.45 < half.activations / whole.activations < 0.65
    assert checkpointed.activations < 0.8 * whole.activations
    assert len({memory.total - memory.activations for memory in (whole, half, checkpointed)}) == 1


def test_real_and_meta_models_are_counted_alike_and_left_alone(tiny_model):
    from diffusers import UNet2DConditionModel

    with torch.device("meta"):
        unet = UNet2DConditionModel.from_config(tiny_model.unet.config)
    elsewhere = tiny_model.parts | {"unet": unet}

    assert passes(tiny_model) == training_memory(elsewhere, "full", latent_shape=SHAPE, tokens=16)
    assert not any(parameter.requires_grad for parameter in tiny_model.unet.parameters())
    assert not tiny_model.unet.is_gradient_checkpointing
