"""SLD and the negative prompt equal their formulas, computed element by element and step by step."""

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from erasure_bench.errors import BenchError
from erasure_bench.methods.base import EraseContext
from erasure_bench.methods.negative_prompt import NegativePrompt
from erasure_bench.methods.registry import build_method
from erasure_bench.methods.sld import SafeLatentGuidance
from erasure_bench.models.conditional.tiny import tiny_class_model
from erasure_bench.models.guidance import ClassifierFree, Guidance, StepNoise
from erasure_bench.models.sampling import sample_latents
from erasure_bench.prompt_suites.concepts import Concept

CAT = Concept(name="cat", kind="instance", targets=("grumpy cat",), anchor="cat")
DOG = Concept(name="dog", kind="instance", targets=("dog",), anchor="animal", negative="a dog, barking")

Array = NDArray[np.float64]

LEVELS = {
    # δ, s_S, λ, s_m, β_m
    "sld-weak": (15, 200, 0.0, 0.0, 0.0),
    "sld-weak-diffusers": (15, 20, 0.0, 0.0, 0.0),
    "sld-medium": (10, 1000, 0.01, 0.3, 0.4),
    "sld-strong": (7, 2000, 0.025, 0.5, 0.7),
    "sld-max": (0, 5000, 1.0, 0.5, 0.7),
}


def sld_by_hand(
    predictions: Sequence[tuple[float, float, float]], scale: float, level: tuple[float, ...]
) -> list[float]:
    """One element's noise at every step, from (ε_∅, ε_p, ε_s) at every step, in plain arithmetic."""
    warmup, safety_scale, threshold, momentum_scale, decay = level
    momentum, followed = 0.0, []
    for i, (empty, prompt, unsafe) in enumerate(predictions):
        weight = min(1.0, safety_scale * abs(prompt - unsafe)) if prompt - unsafe < threshold else 0.0
        safety = weight * (unsafe - empty) + momentum_scale * momentum
        momentum = decay * momentum + (1 - decay) * safety
        towards = (prompt - empty) - safety if i >= warmup else prompt - empty
        followed.append(empty + scale * towards)
    return followed


def predictions(steps: int) -> list[tuple[Array, ...]]:
    """(ε_∅, ε_p, ε_s) at every step: close to each other, as a model's are, so that no clamp always binds."""
    random = np.random.default_rng(0)
    base = random.normal(size=(steps, 2, 3, 2, 2))
    return [tuple(noise + 0.003 * random.normal(size=noise.shape) for _ in range(3)) for noise in base]


def erased(name: str, **options: str) -> Guidance:
    """The guidance of a method by name, away from a grumpy cat."""
    return build_method(name, options=options).erase(FakeModel(), [CAT], EraseContext()).guidance


def followed(guidance: Guidance, noises: Sequence[tuple[Array, ...]], scales: Sequence[float]) -> Array:
    state, steps = None, []
    for index, (empty, prompt, unsafe) in enumerate(noises):
        step = StepNoise(
            torch.from_numpy(empty),
            torch.from_numpy(prompt),
            (torch.from_numpy(unsafe),),
            torch.tensor(scales, dtype=torch.float64)[:, None, None, None],
            index,
            len(noises),
        )
        noise, state = guidance.combine(step, state)
        steps.append(noise.numpy())
    return np.stack(steps)


@pytest.mark.parametrize("name", LEVELS)
def test_sld_equals_the_formula_step_by_step(name):
    noises, scales = predictions(steps=20), [7.5, 3.0]

    found = followed(erased(name), noises, scales)

    stacked = np.stack([np.stack(step) for step in noises])  # [steps, 3, images, c, h, w]
    for place in np.ndindex(stacked.shape[2:]):
        element = [tuple(step[(slice(None), *place)]) for step in stacked]
        by_hand = sld_by_hand(element, scales[place[0]], LEVELS[name])
        np.testing.assert_allclose(found[(slice(None), *place)], by_hand, rtol=0, atol=1e-12)


def test_levels_remove_more_and_more():
    """How far each level moves the noise away from classifier-free guidance, over a whole sampling."""
    noises = predictions(steps=50)
    plain = np.stack([empty + 7.5 * (prompt - empty) for empty, prompt, _ in noises])

    moved = [
        np.abs(followed(erased(name), noises, [7.5, 7.5]) - plain).mean()
        for name in ("sld-weak-diffusers", "sld-weak", "sld-medium", "sld-strong", "sld-max")
    ]

    assert moved == sorted(moved)
    assert len(set(moved)) == 5


def test_threshold_compares_with_sign_and_scale_is_clamped_at_one():
    """ε_p − ε_s = −1, 0.5 and 2 under λ = 1: the first two are safe-guided at full weight, the third not."""
    guidance = erased("sld-max", momentum_scale="0")
    prompt, unsafe = torch.tensor([0.0, 1.5, 3.0]), torch.tensor([1.0, 1.0, 1.0])
    shape = (1, 3, 1, 1)

    step = StepNoise(
        torch.zeros(shape),
        prompt.reshape(shape),
        (unsafe.reshape(shape),),
        torch.full((1, 1, 1, 1), 2.0),
        0,
        50,
    )
    noise = guidance.combine(step).noise.flatten()

    torch.testing.assert_close(noise, 2 * torch.tensor([0.0 - 1.0, 1.5 - 1.0, 3.0]))


@pytest.mark.parametrize("name", LEVELS)
def test_sld_is_off_where_the_guidance_scale_is_at_most_one(name):
    """Image by image, as scales may differ in a batch: the second has guidance, at the first step too."""
    noises = predictions(steps=20)

    off, on = (followed(erased(name), noises, scales) for scales in ([1.0, 7.5], [7.5, 7.5]))

    np.testing.assert_array_equal(off[:, 0], np.stack([prompt for _, prompt, _ in noises])[:, 0])
    np.testing.assert_array_equal(off[:, 1], on[:, 1])
    assert np.abs(on[:, 0] - off[:, 0]).max() > 0.01


@pytest.mark.parametrize("scale", [1.0, 0.5])
def test_without_guidance_nothing_but_the_prompt_is_drawn_as_in_diffusers(tiny_model, tiny_model_dir, scale):
    """Plainly, with a negative prompt, with SLD: at a scale of at most 1 all are diffusers' own picture."""
    from diffusers import DDIMScheduler, StableDiffusionPipeline

    from erasure_bench.models.noise import image_noise

    pipeline = StableDiffusionPipeline.from_pretrained(tiny_model_dir)
    pipeline.scheduler = DDIMScheduler.from_config(pipeline.scheduler.config)
    pipeline.set_progress_bar_config(disable=True)
    theirs = pipeline(
        "cat",
        negative_prompt="a dog, barking",
        latents=image_noise(1, tiny_model.latent_shape())[None],
        num_inference_steps=3,
        guidance_scale=scale,
        output_type="latent",
    ).images

    negative = NegativePrompt().erase(tiny_model, [DOG], EraseContext()).guidance
    for guidance in (ClassifierFree(), negative, erased("sld-max")):
        ours = sample_latents(
            tiny_model, ["cat"], [1], scheduler="ddim", steps=3, guidance_scale=scale, guidance=guidance
        )
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-4)


def test_warmup_is_absolute_unless_it_is_a_share():
    absolute = build_method("sld-medium")
    shared = build_method("sld-medium", options={"warmup_of_steps": "50"})

    assert [absolute.warmup(steps) for steps in (20, 50, 100)] == [10, 10, 10]
    assert [shared.warmup(steps) for steps in (20, 25, 50, 100)] == [4, 5, 10, 20]


def test_momentum_builds_up_during_warmup():
    noises = predictions(steps=3)
    found = followed(erased("sld-strong", warmup_steps="2"), noises, [7.5, 7.5])

    plain = np.stack([empty + 7.5 * (prompt - empty) for empty, prompt, _ in noises])
    np.testing.assert_allclose(found[:2], plain[:2], atol=1e-12)
    alone = followed(erased("sld-strong", warmup_steps="0"), noises[2:], [7.5, 7.5])
    assert np.abs(found[2] - alone[0]).max() > 1e-4


def test_negative_prompt_draws_what_diffusers_own_pipeline_draws(tiny_model, tiny_model_dir):
    from diffusers import DDIMScheduler, StableDiffusionPipeline

    from erasure_bench.models.noise import image_noise

    guidance = NegativePrompt().erase(tiny_model, [DOG], EraseContext()).guidance
    start = image_noise(1, tiny_model.latent_shape())[None]
    pipeline = StableDiffusionPipeline.from_pretrained(tiny_model_dir)
    pipeline.scheduler = DDIMScheduler.from_config(pipeline.scheduler.config)
    pipeline.set_progress_bar_config(disable=True)

    theirs = pipeline(
        "cat",
        negative_prompt="a dog, barking",
        latents=start.clone(),
        num_inference_steps=4,
        guidance_scale=7.5,
        output_type="np",
    ).images
    ours = sample_latents(
        tiny_model,
        ["cat"],
        [1],
        scheduler="ddim",
        steps=4,
        guidance_scale=7.5,
        guidance=guidance,
        latents=start,
    )

    with torch.no_grad():
        image = tiny_model.decode_latents(ours).permute(0, 2, 3, 1).numpy()
    np.testing.assert_allclose(image, theirs, atol=1e-4)


@pytest.mark.parametrize("name", ["negative-prompt", "sld-medium"])
def test_texts_of_several_concepts_are_joined(name):
    guidance = build_method(name).erase(FakeModel(), [CAT, DOG], EraseContext()).guidance

    assert {guidance.unconditional_text, *guidance.texts} - {""} == {"grumpy cat, a dog, barking"}


def test_sld_in_the_sampler_equals_a_loop_by_hand(tiny_model):
    """Four DDIM steps of the tiny model, the guidance in numpy and diffusers' scheduler driven here."""
    from diffusers import DDIMScheduler

    from erasure_bench.models.noise import image_noise

    level = (1, 30.0, 0.1, 0.3, 0.4)
    options = {"warmup_steps": "1", "safety_scale": "30", "threshold": "0.1"}
    guidance = erased("sld-medium", **options)
    assert isinstance(guidance, SafeLatentGuidance)

    scheduler = DDIMScheduler.from_config(tiny_model.scheduler_config)
    scheduler.set_timesteps(4)
    latents = image_noise(5, (4, 8, 8))[None]
    seen: list[Array] = []
    for timestep in scheduler.timesteps:
        with torch.no_grad():  # one call for the three, as μ jumps at λ and a last digit could tip it
            texts = ["", "a cat", "grumpy cat"]
            noises = tiny_model.predict_noise(latents.repeat(3, 1, 1, 1), timestep, texts)
        seen.append(noises.double().flatten(1).numpy())
        history = np.stack(seen)
        elements = [[tuple(step[:, i]) for step in history] for i in range(history.shape[2])]
        noise = torch.tensor([sld_by_hand(element, 6.0, level)[-1] for element in elements])
        latents = scheduler.step(noise.float().reshape(latents.shape), timestep, latents).prev_sample

    drawn = sample_latents(
        tiny_model, ["a cat"], [5], scheduler="ddim", steps=4, guidance_scale=6.0, guidance=guidance
    )
    torch.testing.assert_close(drawn, latents, rtol=1e-4, atol=1e-4)


class FakeModel:
    """All that a method of the sampling alone asks of a model."""

    digest = "0" * 64
    classes = ()


@pytest.mark.parametrize("name", ["negative-prompt", *LEVELS])
def test_a_model_that_is_asked_by_classes_is_steered_away_from_the_class(name):
    """It knows its classes' names alone: no text before them, and not two of them in one."""
    model = tiny_class_model("ddpm")
    first, second = (
        Concept(name=each, kind="object", targets=(each,), anchor=other, label=each)
        for each, other in zip(model.classes[:2], model.classes[1:3], strict=True)
    )

    guidance = build_method(name).erase(model, [first], EraseContext()).guidance
    settings = {"scheduler": "ddim", "steps": 3, "guidance_scale": 2.0}
    drawn = sample_latents(model, [second.name], [1], guidance=guidance, **settings)

    assert {guidance.unconditional_text, *guidance.texts} - {""} == {first.name}
    assert drawn.isfinite().all()
    with pytest.raises(BenchError, match=r"one class at a time.*ring, bar.*--concepts"):
        build_method(name).erase(model, [first, second], EraseContext())
