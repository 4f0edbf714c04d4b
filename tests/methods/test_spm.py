"""SPM: adapters that begin at nothing, anchors near the concept's length, and a gate in the edit."""

import dataclasses
import math

import pytest
import torch
from diffusers import DDIMScheduler

from erasure_bench.methods import spm
from erasure_bench.methods.base import EraseContext
from erasure_bench.methods.edit import Edit, applied
from erasure_bench.methods.machinery.adapters import PromptGate, SquaredGate, adapted, opened
from erasure_bench.methods.machinery.exporting import export_edit
from erasure_bench.methods.registry import build_method
from erasure_bench.models.asking import called_with
from erasure_bench.prompt_suites.concepts import Concept

CAT = Concept(name="cat", kind="instance", targets=("grumpy cat", "cross cat"), anchor="cat")
DOG = Concept(name="dog", kind="instance", targets=("pirate dog",), anchor="dog")
FAST = {"steps": "4", "denoise_steps": "3", "warmup": "1", "learning_rate": "1e-2", "anchoring": "1"}


def test_adapters_begin_at_nothing(tiny_model):
    """Up is 0 and down within Kaiming's bound: at first the network is what it was, to the bit."""
    start = dict(spm.start_of_adapters(tiny_model, 1, seed=0, spread=2.0))
    places = {name.rpartition(".")[0] for name in start}
    transformers = {
        name
        for name, module in tiny_model.unet.named_modules()
        if "attentions" in name and isinstance(module, torch.nn.Linear | torch.nn.Conv2d)
    }
    assert places == transformers
    for place in places:
        weight = tiny_model.unet.get_submodule(place).weight
        bound = math.sqrt(2 / weight[0].numel())
        assert 0.5 * bound < start[f"{place}.down"].abs().max() <= bound and not start[f"{place}.up"].any()
    edit = build_method("spm", options={"steps": "0"}).erase(tiny_model, [CAT], EraseContext())
    latents = torch.ones(1, 4, 8, 8)
    plain = tiny_model.predict_noise(latents, 500, "a grumpy cat")
    with applied(tiny_model, edit):
        assert torch.equal(tiny_model.predict_noise(latents, 500, "a grumpy cat"), plain)


def test_the_loss_is_the_papers(tiny_model):
    """With adapters that do nothing it is (1 + η)² times the distance from ε_∅ to ε_c, whatever λ."""
    method = build_method("spm", options={"eta": "2"})
    start = dict(spm.start_of_adapters(tiny_model, 1, seed=0, spread=2.0))
    latents, concept = torch.ones(2, 4, 8, 8), tiny_model.encode_prompts(["grumpy cat"])
    pair = tiny_model.predict_noise_pair(latents, 300, "grumpy cat")
    lesson = spm.Lesson(0, latents, 300, *pair)
    anchors = spm.random_anchors(concept[0], 4, torch.Generator().manual_seed(0))
    loss = method.loss(tiny_model, lesson, concept, anchors, start, 1.0)
    wanted = 9 * (pair.conditional - pair.unconditional).square().mean()
    torch.testing.assert_close(loss, wanted, rtol=1e-4, atol=1e-6)

    moved = {name: tensor + 0.05 for name, tensor in start.items()}
    at = [
        float(
            dataclasses.replace(method, anchoring=weight).loss(
                tiny_model, lesson, concept, anchors, moved, 1.0
            )
        )
        for weight in (0.0, 1.0, 2.0)
    ]
    with torch.no_grad():
        plain = tiny_model.predict_noise(latents[:1].expand(4, -1, -1, -1), 300, anchors)
        with adapted(tiny_model, moved, place="beside"):
            away = tiny_model.predict_noise(latents, 300, concept.expand(2, -1, -1))
            beside = tiny_model.predict_noise(latents[:1].expand(4, -1, -1, -1), 300, anchors)
    erasing = (away - (3 * pair.unconditional - 2 * pair.conditional)).square().mean()
    assert at[0] == pytest.approx(float(erasing), rel=1e-3)
    assert at[1] - at[0] == pytest.approx(float((beside - plain).square().mean()), rel=1e-2)
    assert at[0] < at[1] and abs((at[2] - at[1]) - (at[1] - at[0])) < 1e-3 * at[2]


def test_anchors_are_about_as_long_as_the_concept():
    concept = torch.randn(16, 32, generator=torch.Generator().manual_seed(1))
    anchors = spm.random_anchors(concept, 200, torch.Generator().manual_seed(0))
    lengths = anchors.flatten(1).norm(dim=1) / concept.norm()
    assert 0.8 <= lengths.min() < 0.82 and 1.18 < lengths.max() <= 1.2
    mean = anchors.flatten(1).mean(0) @ concept.flatten() / concept.norm() ** 2
    assert abs(mean) < 0.01


def test_the_learning_rate_warms_up_and_begins_anew():
    method = build_method("spm")
    assert [method.factor(step) for step in (0, 250, 500, 3000)] == [0, 0.5, 1, 0]
    third = 2500 / 3
    torch.testing.assert_close(method.factor(round(500 + third / 2)), 0.5, atol=2e-3, rtol=0)
    assert method.factor(int(500 + third)) < 1e-3 < 0.99 < method.factor(int(500 + third) + 1)


def test_latents_are_officially_asked_about_on_the_schedule_of_all_timesteps(tiny_model, monkeypatch):
    """What diffusers' DDIM of 1,000 steps has at place ⌊1000 i / n⌋, and the trained model is asked there."""
    whole = DDIMScheduler(num_train_timesteps=1000, steps_offset=0)
    whole.set_timesteps(1000)
    wanted = [int(whole.timesteps[int(step * 1000 / 30)]) for step in range(1, 30)]
    assert [spm.evenly(step, 30, 1000) for step in range(1, 30)] == wanted

    asked = []
    predict = type(tiny_model).predict_noise_pair
    monkeypatch.setattr(
        type(tiny_model),
        "predict_noise_pair",
        lambda model, latents, timestep, prompt: (
            asked.append(timestep) or predict(model, latents, timestep, prompt)
        ),
    )
    build_method("spm", options=FAST).erase(tiny_model, [CAT], EraseContext())
    every = tiny_model.num_train_timesteps
    assert set(asked) <= {spm.evenly(step, 3, every) for step in (1, 2)} and len(asked) == 4


@pytest.mark.parametrize("drawing", [{}, {"trajectories": "2", "batch_size": "2"}])
def test_each_concept_has_adapters_and_a_gate_of_its_own(tiny_model, drawing):
    method = build_method("spm", options=FAST | drawing)
    edit = method.erase(tiny_model, [CAT, DOG], EraseContext())
    assert [one.gate for one in edit.attachments] == [
        SquaredGate(PromptGate(("grumpy cat",))),
        SquaredGate(PromptGate(("pirate dog",))),
    ]
    assert len(edit.losses) == 8 and not edit.tensors
    assert all(tensor.any() for name, tensor in edit.attachments[0].tensors.items() if name.endswith(".up"))


@pytest.mark.parametrize(("preset", "power"), [("official", 2), ("paper", 1)])
def test_officially_up_and_down_are_each_multiplied_by_the_gate(tiny_model, tmp_path, preset, power):
    """The official code loads a network whose every tensor is γ times the file's; the paper's has γ once."""
    edit = build_method("spm", preset, options=FAST).erase(tiny_model, [CAT], EraseContext())
    edit.save(tmp_path)
    latents, prompt = torch.ones(1, 4, 8, 8), "a grumpy dog"
    (attachment,) = edit.attachments
    with called_with(tiny_model.encode_prompts([prompt]), (prompt,)):
        gamma = float(opened(PromptGate(("grumpy cat",)), tiny_model)())
    assert 0.1 < gamma < 0.95
    tensors = {
        name: tensor * (gamma if power == 2 or name.endswith(".up") else 1)
        for name, tensor in attachment.tensors.items()
    }
    with torch.no_grad():
        with adapted(tiny_model, tensors, place="beside", scale=attachment.scale):
            wanted = tiny_model.predict_noise(latents, 500, prompt)
        with applied(tiny_model, Edit.load(tmp_path)):
            torch.testing.assert_close(tiny_model.predict_noise(latents, 500, prompt), wanted)
        assert not torch.allclose(wanted, tiny_model.predict_noise(latents, 500, prompt), atol=1e-4)


def test_without_a_gate_it_is_a_lora_that_other_tools_hold(tiny_model, tiny_model_dir, tmp_path):
    edit = build_method("spm", options=FAST | {"gate": "none"}).erase(tiny_model, [CAT], EraseContext())
    assert export_edit(edit, tiny_model_dir, "delta", tmp_path / "out.safetensors").is_file()
