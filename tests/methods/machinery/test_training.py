"""Fine-tuning stops clearly, restores bit for bit whatever happens, and reports what it did."""

import math
import mmap

import numpy as np
import pytest
import torch

from erasure_bench.errors import BenchError
from erasure_bench.methods.base import EraseContext, Progress
from erasure_bench.methods.machinery.adversary import Adversary
from erasure_bench.methods.machinery.interruption import Interrupting, Interruption
from erasure_bench.methods.machinery.parameters import select
from erasure_bench.methods.machinery.training import FineTune, NotResumable, TrainingStopped
from erasure_bench.methods.registry import build_method
from erasure_bench.models.diffusion_model import DiffusionModel
from erasure_bench.models.weights import changed_tensors, snapshot
from erasure_bench.prompt_suites.concepts import Concept


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


@pytest.mark.parametrize(
    ("dtype", "advice"),
    [(torch.float16, " or --dtype bfloat16 or float32$"), (torch.bfloat16, " or --dtype float32$")],
)
def test_advice_about_a_loss_that_is_not_finite_fits_the_dtype(tiny_model_dir, dtype, advice):
    model = DiffusionModel.from_directory(tiny_model_dir, dtype=dtype)
    with pytest.raises(TrainingStopped, match=advice), tuned(model) as tuning:
        tuning.minimise([size(tuning) * math.nan])


def test_advice_is_about_the_precision_that_the_method_chose(tiny_model):
    """ESD trains in bfloat16 whatever --dtype is, so another --dtype would not help."""
    method = build_method("esd-x", options={"precision": "bfloat16", "steps": "2", "denoise_steps": "2"})
    cat = Concept(name="cat", kind="instance", targets=("grumpy cat",), anchor="cat")
    with torch.no_grad():
        tiny_model.unet.conv_out.bias.fill_(math.nan)
    with pytest.raises(TrainingStopped, match=r"learning_rate=…\) or --method-option precision=float32$"):
        method.erase(tiny_model, (cat,), EraseContext())


def test_float32_is_not_advised_to_float32(tiny_model):
    with pytest.raises(TrainingStopped, match=r"learning_rate=…\)$"), tuned(tiny_model) as tuning:
        tuning.minimise([size(tuning) * math.nan])


@pytest.mark.parametrize("sign", [1.0, -1.0])
@pytest.mark.parametrize("when", [1, 2, 15])
def test_divergence_stops_whenever_it_begins(tiny_model, when, sign):
    message = f"step {when + 1} of 20: the loss went to "
    with pytest.raises(TrainingStopped, match=message) as stopped, tuned(tiny_model, steps=20) as tuning:
        for step in tuning:
            tuning.minimise([size(tuning) * (sign * 1e7 if step >= when else 1.0)])
    assert len(stopped.value.losses) == when + 1


def test_a_start_at_zero_is_no_divergence(tiny_model):
    with tuned(tiny_model, steps=12) as tuning:
        for step in tuning:
            tuning.minimise([size(tuning) * 0.0 + (2.0 if step == 11 else 0.0)])
    assert tuning.losses == [0.0] * 11 + [2.0]


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


def test_average_is_the_exponential_one(tiny_model):
    """ā ← d ā + (1 − d) θ, from θ* on, after every step: in numpy float64 from the weights of each step."""
    decay = 0.7
    visited = {}
    with tuned(tiny_model, ema_decay=decay, learning_rate=1e-2, steps=4) as tuning:
        expected = {name: p.detach().double().numpy().copy() for name, p in tuning.parameters.items()}
        for _ in tuning:
            tuning.minimise([size(tuning)])
            visited = {name: p.detach().double().numpy().copy() for name, p in tuning.parameters.items()}
            expected = {name: decay * expected[name] + (1 - decay) * visited[name] for name in visited}

    assert tuning.tensors.keys() == expected.keys()
    for name, tensor in tuning.tensors.items():
        np.testing.assert_allclose(tensor.numpy(), expected[name], rtol=0, atol=1e-6)
        assert np.abs(tensor.numpy() - visited[name]).max() > 1e-3, "the average is not the last weights"


def test_average_moves_where_bfloat16_could_not(tiny_model_dir):
    """From 1 by 1 % of the way to 1.125, nineteen times; bfloat16 has nothing between 1 and 1.0078."""
    model = DiffusionModel.from_directory(tiny_model_dir, dtype=torch.bfloat16)
    name, parameter = next(iter(select(model.parts, "xattn").items()))
    with torch.no_grad():
        parameter.fill_(1.0)
    with tuned(model, ema_decay=0.99, steps=20) as tuning:
        for step in tuning:
            tuning.minimise([size(tuning) * 0.0])
            if step == 0:
                with torch.no_grad():
                    parameter.fill_(1.125)

    assert tuning.tensors[name].dtype == torch.bfloat16
    expected = torch.full_like(parameter, 1 + 0.125 * (1 - 0.99**19))
    assert torch.equal(tuning.tensors[name], expected)


def test_no_average_without_a_decay(tiny_model):
    with tuned(tiny_model, steps=1) as plain:
        plain.minimise([size(plain)])
    assert plain.averages == {}
    with pytest.raises(BenchError, match="ema_decay=1: valid: 0"):
        tuned(tiny_model, ema_decay=1.0)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_average_may_be_kept_on_the_cpu(tiny_model_dir):
    model = DiffusionModel.from_directory(tiny_model_dir, device="cuda")
    found = []
    for on_cpu in (False, True):
        with tuned(model, ema_decay=0.5, ema_on_cpu=on_cpu) as tuning:
            for _ in tuning:
                tuning.minimise([size(tuning)])
            held = {average.device.type for average in tuning.averages.values()}
            assert held == {"cpu" if on_cpu else "cuda"}
        found.append(tuning.tensors)
    torch.testing.assert_close(*found)


def test_token_embedding_learns_where_the_loss_encodes_its_prompts(tiny_model):
    """Only the rows of the prompt's own tokens move, and nothing but the embedding."""
    before = snapshot(tiny_model)
    latents = torch.ones(1, 4, 8, 8)
    with FineTune(tiny_model, "embedding", learning_rate=1e-2, steps=2, context=EraseContext()) as tuning:
        for _ in tuning:
            tuning.minimise([tiny_model.predict_noise(latents, 500, "grumpy cat").square().mean()])

    name = "text_encoder.embeddings.token_embedding.weight"
    assert tuning.tensors.keys() == {name}
    moved = (tuning.tensors[name] != before[name]).any(1).nonzero().flatten().tolist()
    tokens = tiny_model.tokenizer("grumpy cat", padding="max_length", max_length=16).input_ids
    assert set(moved) == set(tokens)
    assert not changed_tensors(before, tiny_model.named_tensors())


def gradients(model, latents, **settings):
    """The gradients of one ESD-like loss, and how many calls of a residual block they took."""
    calls = []
    with tuned(model, steps=1, **settings) as tuning:
        hook = model.unet.down_blocks[1].resnets[0].register_forward_pre_hook(lambda *_: calls.append(1))
        model.predict_noise(latents, 500, "grumpy cat").square().mean().backward()
        hook.remove()
        found = {name: parameter.grad.clone() for name, parameter in tuning.parameters.items()}
    return found, len(calls)


def test_gradient_checkpointing_recomputes_and_changes_nothing(tiny_model):
    latents = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    plain, once = gradients(tiny_model, latents)
    checkpointed, twice = gradients(tiny_model, latents, gradient_checkpointing=True)

    assert (once, twice) == (1, 2), "a block runs again for its gradient"
    assert plain.keys() == checkpointed.keys()
    assert all(torch.equal(plain[name], checkpointed[name]) for name in plain)
    assert not tiny_model.unet.is_gradient_checkpointing, "off again on leaving"


def test_gradient_checkpointing_is_left_as_it_was_found(tiny_model):
    tiny_model.unet.enable_gradient_checkpointing()
    with tuned(tiny_model, gradient_checkpointing=True):
        pass
    assert tiny_model.unet.is_gradient_checkpointing

    tiny_model.unet.disable_gradient_checkpointing()
    with pytest.raises(KeyboardInterrupt), tuned(tiny_model, gradient_checkpointing=True):
        assert tiny_model.unet.is_gradient_checkpointing
        raise KeyboardInterrupt
    assert not tiny_model.unet.is_gradient_checkpointing


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
    from erasure_bench.methods.machinery.cost import Meter

    with Meter("cpu") as small:
        pass
    with Meter("cpu") as large, mmap.mmap(-1, 256 * 2**20) as block:  # never memory that was freed before
        block.write(bytes(len(block)))
    assert large.cost(0).peak_memory_bytes - small.cost(0).peak_memory_bytes > 200 * 2**20


def noisy(tuning):
    """A loss that depends on what is drawn."""
    pull = torch.randn((), generator=tuning.generator)
    return size(tuning) + pull * torch.cat([p.flatten() for p in tuning.parameters.values()]).mean()


RICH = {
    "steps": 9,
    "optimiser": "adamw",
    "weight_decay": 0.1,
    "clip_norm": 0.5,
    "ema_decay": 0.9,
    "learning_rate": 1e-2,
}


def train(model, checkpoints=None, loss=noisy, **settings):
    context = EraseContext(**({} if checkpoints is None else {"checkpoints": checkpoints}))
    with tuned(model, context=context, **RICH | settings) as tuning:
        for _ in tuning:
            tuning.minimise([loss(tuning)])
    return tuning


def interrupted(model, after, **settings):
    checkpoints = Interrupting(after)
    with pytest.raises(Interruption):
        train(model, checkpoints, **settings)
    return checkpoints.resumed()


@pytest.mark.parametrize("after", [1, 4, 9])
def test_a_training_that_was_interrupted_ends_in_the_same_bits(tiny_model, after):
    """Weights, optimiser, averages, generator and losses all matter: each step depends on each of them."""
    undisturbed = train(tiny_model)
    again = interrupted(tiny_model, after)
    resumed = train(tiny_model, again)

    assert again.loaded == ["training-1"]
    assert resumed.losses == undisturbed.losses
    assert resumed.tensors.keys() == undisturbed.tensors.keys()
    assert all(torch.equal(resumed.tensors[name], tensor) for name, tensor in undisturbed.tensors.items())
    assert resumed.cost.steps == 9


def test_what_is_carried_along_goes_on_as_it_was(tiny_model):
    """An adversary with its own moments, which the loss depends on."""

    def run(checkpoints=None):
        context = EraseContext(**({} if checkpoints is None else {"checkpoints": checkpoints}))
        adversary = Adversary(torch.zeros(2), learning_rate=0.1)
        with tuned(tiny_model, context=context, **RICH) as tuning:
            tuning.carry("adversary", adversary)
            for _ in tuning:
                tuning.minimise([size(tuning) * (1 + adversary.value.detach().square().sum())])
                adversary.ascend(lambda value: value.sin().sum() + value[0])
        return tuning, adversary

    undisturbed, wanted = run()
    first = Interrupting(4)
    with pytest.raises(Interruption):
        run(first)
    resumed, found = run(first.resumed())
    assert resumed.losses == undisturbed.losses
    assert torch.equal(found.value, wanted.value) and wanted.value.abs().min() > 0.1


@pytest.mark.parametrize("part", ["parameters", "averages", "optimiser", "generator"])
def test_every_part_of_the_state_is_needed(tiny_model, part):
    """The test above can fail: with any one part left as it is at the start, another edit comes out."""
    undisturbed = train(tiny_model)
    again = interrupted(tiny_model, 4)
    kept = again.kept["training-1"]
    fresh = Interrupting(1)
    with pytest.raises(Interruption):
        train(tiny_model, fresh)
    again.kept["training-1"] = kept._replace(
        state={**kept.state, part: fresh.kept["training-1"].state[part]},
        expected={**kept.expected, "generator": fresh.kept["training-1"].expected["generator"]}
        if part == "generator"
        else kept.expected,
    )
    try:
        resumed = train(tiny_model, again)
    except NotResumable:
        return
    assert any(not torch.equal(resumed.tensors[name], tensor) for name, tensor in undisturbed.tensors.items())


def test_a_training_with_randomness_of_its_own_is_not_resumed_in_silence(tiny_model):
    """Its generator would start from its seed again: the first step from the checkpoint gives that away."""

    def with_generator():
        own = torch.Generator().manual_seed(0)

        def loss(tuning):
            pull = torch.rand((), generator=own)
            return size(tuning) * pull

        return loss

    again = interrupted(tiny_model, 4, loss=with_generator())
    with pytest.raises(NotResumable, match=r"step 4 of 9.*docs/adding-a-method"):
        train(tiny_model, again, loss=with_generator())


def test_a_training_that_draws_with_its_first_lesson_is_not_resumed_in_silence(tiny_model):
    """An iterator that sets itself up when it is first asked draws from a generator that has moved on."""

    def loss_of_lessons():
        def lessons(generator):
            torch.randn(7, generator=generator)
            while True:
                yield torch.randn((), generator=generator)

        drawn = None

        def loss(tuning):
            nonlocal drawn
            drawn = drawn or lessons(tuning.generator)
            return size(tuning) * (2 + next(drawn))

        return loss

    again = interrupted(tiny_model, 4, loss=loss_of_lessons())
    with pytest.raises(NotResumable):
        train(tiny_model, again, loss=loss_of_lessons())


@pytest.mark.parametrize("changed", [{"steps": 10}, {"learning_rate": 2e-2}, {"optimiser": "adam"}])
def test_a_checkpoint_of_another_training_is_not_taken(tiny_model, changed):
    again = interrupted(tiny_model, 4)
    undisturbed, other = train(tiny_model, **changed), train(tiny_model, again, **changed)
    assert other.losses == undisturbed.losses


def test_two_trainings_of_one_edit_do_not_mix_up_their_checkpoints(tiny_model):
    def both(checkpoints=None):
        context = EraseContext(**({} if checkpoints is None else {"checkpoints": checkpoints}))
        losses = []
        for rate in (1e-2, 3e-2):
            with tuned(tiny_model, context=context, **RICH | {"learning_rate": rate}) as tuning:
                for _ in tuning:
                    tuning.minimise([noisy(tuning)])
            losses.append(tuning.losses)
        return losses

    checkpoints = Interrupting(9 + 3)
    with pytest.raises(Interruption):
        both(checkpoints)
    again = checkpoints.resumed()
    assert both(again) == both()
    assert again.loaded == ["training-1", "training-2"]
