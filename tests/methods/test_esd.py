"""ESD: the paper's target, its gradient, the latents of both official codes, and where gradients go."""

import dataclasses

import numpy as np
import pytest
import torch

from erasure_bench.errors import BenchError
from erasure_bench.methods.base import EraseContext
from erasure_bench.methods.edit import applied
from erasure_bench.methods.esd import ESD, Lesson, eta_from_negative_guidance, losses
from erasure_bench.methods.machinery.on_the_way import away_from
from erasure_bench.methods.machinery.parameters import select
from erasure_bench.methods.machinery.training import FineTune
from erasure_bench.methods.machinery.trajectories import trajectories
from erasure_bench.methods.registry import build_method
from erasure_bench.models.diffusion_model import DiffusionModel
from erasure_bench.models.sampling import partly_denoised, sample_latents
from erasure_bench.prompt_suites.concepts import Concept

CAT = Concept(name="cat", kind="instance", targets=("grumpy cat", "angry cat"), anchor="cat")
DOG = Concept(name="dog", kind="instance", targets=("dog",), anchor="animal")

TINY = {"parameters": "xattn", "scheduler": "ddim", "denoise_steps": 4, "steps": 2, "learning_rate": 1e-4}


def first_lesson(method: ESD, model: DiffusionModel, *concepts: Concept, seed: int = 0) -> Lesson:
    generator = torch.Generator().manual_seed(seed)
    return next(method._lessons(model.frozen_copy(), model, method.erased(concepts), generator))


def phrases(method: ESD) -> list[str]:
    return [one.phrase for one in method.erased([CAT, DOG])]


def test_target_lies_opposite_to_the_concept():
    unconditional, conditional = torch.randn(2, 3, 4, 8, 8)

    torch.testing.assert_close(away_from(unconditional, conditional, 0.0), unconditional)
    torch.testing.assert_close(away_from(unconditional, conditional, 1.0), 2 * unconditional - conditional)
    torch.testing.assert_close(away_from(unconditional, conditional, -1.0), conditional)


def test_negative_guidance_of_the_diffusers_code_is_one_more_than_eta():
    unconditional, conditional = torch.randn(2, 3, 4, 8, 8, dtype=torch.float64)

    for negative_guidance in (1.0, 2.0, 3.5):
        theirs = conditional - negative_guidance * (conditional - unconditional)
        eta = eta_from_negative_guidance(negative_guidance)
        torch.testing.assert_close(away_from(unconditional, conditional, eta), theirs)


@pytest.mark.parametrize("options", [{}, {"trajectories": 2}], ids=["sampled anew", "along trajectories"])
def test_lesson_holds_the_base_models_answer(tiny_model, options):
    lesson = first_lesson(ESD(**TINY, eta=1.5, batch_size=3, **options), tiny_model, CAT)

    unconditional = tiny_model.predict_noise(lesson.latents, lesson.timestep, "")
    conditional = tiny_model.predict_noise(lesson.latents, lesson.timestep, "grumpy cat")
    torch.testing.assert_close(lesson.target, 2.5 * unconditional - 1.5 * conditional, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("source", ["a cat", "anchor"])
def test_erased_from_another_text(tiny_model, source):
    """The diffusers code's --erase_from: with its negative guidance ng, ε_from − ng (ε_c − ε_∅), and x_t and
    the trained prompt are that text's."""
    concept = dataclasses.replace(CAT, anchor="a cat")
    method = ESD(**TINY, eta=eta_from_negative_guidance(3.0), erase_from=source, batch_size=3)

    lesson = first_lesson(method, tiny_model, concept, seed=3)

    assert lesson.timestep < 750, "so that x_t is more than noise"
    empty, erased, origin = (
        tiny_model.predict_noise(lesson.latents, lesson.timestep, text)
        for text in ("", "grumpy cat", "a cat")
    )
    torch.testing.assert_close(lesson.target, origin - 3.0 * (erased - empty), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(lesson.embeddings, tiny_model.encode_prompts(["a cat"] * 3))
    own = first_lesson(ESD(**TINY, erase_from="grumpy cat", batch_size=3), tiny_model, CAT, seed=3)
    plain = first_lesson(ESD(**TINY, batch_size=3), tiny_model, CAT, seed=3)
    assert torch.equal(own.latents, plain.latents) and not torch.equal(own.latents, lesson.latents)
    torch.testing.assert_close(own.target, plain.target, rtol=1e-4, atol=1e-4)


def test_gradient_equals_finite_differences_of_the_formula(tiny_model_dir):
    """In float64, along single weights and along random directions through the whole group."""
    model = DiffusionModel.from_directory(tiny_model_dir, dtype=torch.float64)
    lesson = first_lesson(ESD(**TINY, eta=1.0, batch_size=2), model, CAT)
    parameters = select(model.parts, "xattn")

    with torch.no_grad():
        empty = model.predict_noise(lesson.latents, lesson.timestep, "").numpy()
        concept = model.predict_noise(lesson.latents, lesson.timestep, "grumpy cat").numpy()

        # Away from θ*, so that ε_θ(c) and ε_c differ as they do in the middle of training.
        generator = torch.Generator().manual_seed(1)
        for parameter in parameters.values():
            parameter.add_(0.02 * torch.randn(parameter.shape, generator=generator, dtype=torch.float64))

    def formula() -> float:
        with torch.no_grad():
            predicted = model.predict_noise(lesson.latents, lesson.timestep, "grumpy cat").numpy()
        return float(np.mean((predicted - (empty - 1.0 * (concept - empty))) ** 2))

    for parameter in parameters.values():
        parameter.requires_grad_(True)
    for loss in losses(model, lesson, micro_batch=1):
        loss.backward()
    gradients = {name: parameter.grad.clone() for name, parameter in parameters.items()}

    def slope(directions: dict[str, torch.Tensor], width: float) -> float:
        values = []
        for sign in (1, -1):
            with torch.no_grad():
                for name, direction in directions.items():
                    parameters[name].add_(direction, alpha=sign * width)
                values.append(formula())
                for name, direction in directions.items():
                    parameters[name].sub_(direction, alpha=sign * width)
        return (values[0] - values[1]) / (2 * width)

    for _ in range(3):
        directions = {
            name: torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
            for name, parameter in parameters.items()
        }
        along = sum(float((gradients[name] * direction).sum()) for name, direction in directions.items())
        assert along == pytest.approx(slope(directions, 1e-6), rel=1e-4)
    for name in list(parameters)[:8]:
        place = int(gradients[name].abs().argmax())
        direction = torch.zeros_like(parameters[name]).flatten()
        direction[place] = 1.0
        one = {name: direction.view_as(parameters[name]).detach()}
        assert float(gradients[name].flatten()[place]) == pytest.approx(slope(one, 1e-5), rel=1e-4)


@pytest.mark.parametrize("group", ["xattn", "xattn-strict", "u", "all", "noxattn", "full"])
def test_only_the_parameter_group_changes(tiny_model, group):
    edit = ESD(**TINY | {"parameters": group}).erase(tiny_model, [CAT], EraseContext())

    assert edit.tensors
    assert edit.tensors.keys() <= select(tiny_model.parts, group).keys()
    trained = set(edit.tensors) ^ select(tiny_model.parts, group).keys()
    assert len(trained) <= 0.1 * len(select(tiny_model.parts, group)), "most of the group is trained"


def test_gradient_reaches_nothing_else(tiny_model):
    lesson = first_lesson(ESD(**TINY), tiny_model, CAT)

    with FineTune(tiny_model, "xattn-strict", learning_rate=1e-4, steps=1, context=EraseContext()):
        for loss in losses(tiny_model, lesson, 1):
            loss.backward()
        reached = {name for name, tensor in tiny_model.named_tensors().items() if tensor.grad is not None}
        assert reached == select(tiny_model.parts, "xattn-strict").keys()


def test_first_step_is_adams_on_the_formula(tiny_model):
    """Adam's first step is −lr · g / (|g| + 1e-8), with g the formula's gradient on the first lesson."""
    method = ESD(**TINY | {"steps": 1})
    edit = method.erase(tiny_model, [CAT], EraseContext(seed=3))

    lesson = first_lesson(method, tiny_model, CAT, seed=3)
    parameters = select(tiny_model.parts, "xattn")
    predicted_from = {name: parameter.detach().clone() for name, parameter in parameters.items()}
    for parameter in parameters.values():
        parameter.requires_grad_(True)
    predicted = tiny_model.predict_noise(lesson.latents, lesson.timestep, "grumpy cat")
    with torch.no_grad():
        empty, concept = tiny_model.predict_noise_pair(lesson.latents, lesson.timestep, "grumpy cat")
    gradients = torch.autograd.grad(
        (predicted - (2 * empty - concept)).square().mean(), list(parameters.values())
    )
    for (name, before), gradient in zip(predicted_from.items(), gradients, strict=True):
        certain = gradient.abs() > 1e-5  # smaller ones are rounding noise, whose sign decides the step
        expected = before - 1e-4 * gradient / (gradient.abs() + 1e-8)
        torch.testing.assert_close(edit.tensors[name][certain], expected[certain], rtol=0, atol=2e-6)


def test_training_approaches_the_target(tiny_model):
    """On latents that training never saw, the edited model is nearer to the target than the base."""
    method = ESD(**TINY | {"steps": 40, "batch_size": 4, "trajectories": 8, "learning_rate": 3e-3})
    edit = method.erase(tiny_model, [CAT], EraseContext())
    unseen = first_lesson(ESD(**TINY, batch_size=8), tiny_model, CAT, seed=99)

    with torch.no_grad():
        before = sum(losses(tiny_model, unseen, 8)).item()
        with applied(tiny_model, edit):
            after = sum(losses(tiny_model, unseen, 8)).item()
    assert after < 0.8 * before


def test_trajectories_pass_through_the_partly_denoised_latents(tiny_model):
    settings = {"steps": 4, "guidance_scale": 3.0, "scheduler": "ddim"}
    visited = trajectories(tiny_model, ["cat", "dog"], [5, 6], **settings)

    assert len(visited) == 4
    for stop, at in enumerate(visited):
        latents, timestep = partly_denoised(tiny_model, ["cat", "dog"], [5, 6], stop=stop, **settings)
        assert at.timestep == timestep
        torch.testing.assert_close(at.latents, latents)
        unconditional, conditional = tiny_model.predict_noise_pair(latents, timestep, ["cat", "dog"])
        torch.testing.assert_close(at.unconditional, unconditional, rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(at.conditional, conditional, rtol=1e-4, atol=1e-4)


def test_intervals_are_those_of_the_compvis_code():
    """t_enc counts from the clean end: t ~ U[20 t_enc, 20 (t_enc + 1)) for 50 steps of 1000."""
    method = ESD(parameters="xattn", denoise_steps=50)

    assert method.interval(0, 1000) == (980, 1000)
    for step in range(50):
        t_enc = 49 - step
        assert method.interval(step, 1000) == (20 * t_enc, 20 * (t_enc + 1))


def test_paper_latents_are_two_steps_ahead(tiny_model):
    """The compvis sampler leaves x_t at T/n (t_enc − 2) + 1, and at the end for t_enc 0 and 1."""
    method = ESD(parameters="xattn", timestep="interval", steps_ahead=2, denoise_steps=10, scheduler="ddim")

    for t_enc in (9, 6):
        _, timestep = method._partly_denoised(tiny_model, ["cat"], [1], 9 - t_enc)
        assert timestep == 100 * (t_enc - 2) + 1
    finished = sample_latents(tiny_model, ["cat"], [1], scheduler="ddim", steps=10, guidance_scale=3.0)
    for t_enc in (1, 0):
        latents, _ = method._partly_denoised(tiny_model, ["cat"], [1], 9 - t_enc)
        torch.testing.assert_close(latents, finished)


def test_sampled_by_the_edited_model_follows_it(tiny_model):
    """With the old code's choice the latents change as the model does, with the new one they do not."""
    for sampled_by, moves in (("base", False), ("edited", True)):
        method = ESD(**TINY | {"denoise_steps": 2}, sampled_by=sampled_by, timestep="interval")
        model, base = tiny_model.frozen_copy(), tiny_model.frozen_copy()
        before = next(method._lessons(base, model, method.erased([CAT]), torch.Generator().manual_seed(1)))
        with torch.no_grad():
            for parameter in select(model.parts, "full").values():
                parameter.mul_(1.1)
        after = next(method._lessons(base, model, method.erased([CAT]), torch.Generator().manual_seed(1)))
        assert torch.equal(before.latents, after.latents) != moves


@pytest.mark.parametrize(
    ("name", "preset"),
    [("esd-x", "official"), ("esd-u", "paper"), ("esd-all", "paper"), ("esd-x-strict", "microworld")],
)
def test_presets_run_when_cut_short(tiny_model, name, preset):
    method = build_method(name, preset, {"steps": "1", "denoise_steps": "3"})
    edit = method.erase(tiny_model, [CAT], EraseContext())

    assert edit.tensors
    assert len(edit.losses) == 1


def test_official_latents_come_from_the_pipelines_own_scheduler(tiny_model):
    """Stable Diffusion 1.4's is PNDM, which visits the second timestep twice: 51 calls for 50 steps."""
    method = build_method("esd-x")
    timesteps = [method._partly_denoised(tiny_model, ["cat"], [1], step)[1] for step in range(4)]

    assert timesteps == [981, 961, 961, 941]


def test_micro_batches_change_nothing(tiny_model):
    whole, split = (
        ESD(**TINY, batch_size=4, micro_batch=size).erase(tiny_model, [CAT, DOG], EraseContext())
        for size in (None, 3)
    )

    np.testing.assert_allclose(whole.losses[0], split.losses[0], rtol=1e-5)


def test_every_concept_and_phrase_is_drawn(tiny_model):
    assert phrases(ESD(parameters="xattn")) == ["grumpy cat", "dog"]
    assert phrases(ESD(parameters="xattn", phrases="all")) == ["grumpy cat", "angry cat", "dog"]
    lesson = first_lesson(ESD(**TINY, batch_size=16), tiny_model, CAT, DOG)

    known = tiny_model.encode_prompts(["grumpy cat", "dog"])
    drawn = {int((known - row).abs().flatten(1).sum(1).argmin()) for row in lesson.embeddings}
    assert drawn == {0, 1}


@pytest.mark.parametrize("options", [{}, {"trajectories": 2}], ids=["sampled anew", "along trajectories"])
@pytest.mark.parametrize("phrases", ["canonical", "all"])
def test_every_latent_belongs_to_the_phrase_it_is_scored_for(tiny_model, monkeypatch, options, phrases):
    """Every phrase of both concepts is drawn; x_t was sampled from it, and embedding and target are its."""
    method = ESD(**TINY, phrases=phrases, batch_size=24, **options)
    prompts = [one.phrase for one in method.erased([CAT, DOG])]
    sampled: list[tuple[str, torch.Tensor]] = []

    def partly(model, texts, seeds, **settings):
        found = partly_denoised(model, texts, seeds, **settings)
        sampled.extend(zip(texts, found.latents, strict=True))
        return found

    def along(model, texts, seeds, **settings):
        steps = trajectories(model, texts, seeds, **settings)
        for at in steps:
            sampled.extend(zip(texts, at.latents, strict=True))
        return steps

    monkeypatch.setattr("erasure_bench.methods.esd.partly_denoised", partly)
    monkeypatch.setattr("erasure_bench.methods.esd.trajectories", along)
    lesson = first_lesson(method, tiny_model, CAT, DOG)

    known = tiny_model.encode_prompts(prompts)
    said = [prompts[int((known - row).abs().flatten(1).sum(1).argmin())] for row in lesson.embeddings]
    assert set(said) == set(prompts)
    for text, latents in zip(said, lesson.latents, strict=True):
        assert text in {owner for owner, seen in sampled if torch.equal(seen, latents)}
    empty, concept = tiny_model.predict_noise_pair(lesson.latents, lesson.timestep, said)
    torch.testing.assert_close(lesson.target, 2 * empty - concept, rtol=1e-3, atol=1e-3)


def test_only_parameters_of_the_unet_can_be_trained():
    with pytest.raises(BenchError, match="xattn-strict"):
        build_method("esd-x", options={"parameters": "embedding"})


def test_gradient_checkpointing_changes_nothing(tiny_model):
    plain, checkpointed = (
        ESD(**TINY, gradient_checkpointing=on).erase(tiny_model, [CAT], EraseContext())
        for on in (False, True)
    )
    assert plain.losses == checkpointed.losses
    assert all(torch.equal(plain.tensors[name], checkpointed.tensors[name]) for name in plain.tensors)


@pytest.mark.parametrize("options", [{}, {"trajectories": 2}], ids=["sampled anew", "along trajectories"])
def test_a_v_predictions_error_weighs_as_noise(tiny_v_model_dir, options):
    """ε = √ᾱ v + √(1−ᾱ) x_t: the loss is ᾱ times that of v_∅ − η (v_c − v_∅) on the network's own words."""
    model = DiffusionModel.from_directory(tiny_v_model_dir)
    lesson = first_lesson(ESD(**TINY, eta=1.5, batch_size=3, **options), model, CAT, seed=3)
    with torch.no_grad():
        empty, concept = (
            model.predict_output(lesson.latents, lesson.timestep, text) for text in ("", "grumpy cat")
        )
        for parameter in select(model.parts, "xattn").values():
            parameter.mul_(1.1)
        said = model.predict_output(lesson.latents, lesson.timestep, "grumpy cat")
        loss = sum(losses(model, lesson, 3)).item()

    error = (said - (empty - 1.5 * (concept - empty))).square().mean().item()
    assert loss == pytest.approx(float(model.alphas_cumprod[lesson.timestep]) * error, rel=1e-3)


def test_settings_that_contradict_each_other_are_refused():
    with pytest.raises(BenchError, match="sampled_by=base"):
        ESD(parameters="xattn", trajectories=4, sampled_by="edited")
    with pytest.raises(BenchError, match="trajectories=0"):
        ESD(parameters="xattn", trajectories=4, erase_from="animal")
    with pytest.raises(BenchError, match="timestep=interval"):
        ESD(parameters="xattn", steps_ahead=2)
