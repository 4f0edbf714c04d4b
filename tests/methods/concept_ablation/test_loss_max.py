"""Loss maximisation: formula and gradient, both sides of the hinge, the pull of the unsquared norm."""

import numpy as np
import pytest
import torch

from erasure_bench.methods.base import EraseContext
from erasure_bench.methods.concept_ablation.loss_max import LossMaximisation, distance, losses
from erasure_bench.methods.edit import applied
from erasure_bench.methods.machinery.parameters import select
from erasure_bench.methods.registry import build_method
from erasure_bench.models.diffusion_model import DiffusionModel
from erasure_bench.prompt_suites.concepts import Concept

CAT = Concept(
    name="cat",
    kind="instance",
    targets=("grumpy cat", "tom"),
    anchor="cat",
    anchor_prompts=("a cat", "cat at sea"),
)
DOG = Concept(name="dog", kind="instance", targets=("rex",), anchor="dog", anchor_prompts=("a dog",))
TINY = {
    "images": 4,
    "denoise_steps": 2,
    "eta": 0.0,
    "steps": 2,
    "learning_rate": 1e-4,
    "batch_size": 3,
}
HIGH = {"ceiling": "10"}
"""An untrained model predicts noise so badly that it lies above the ceiling of 1 from the start."""


def lesson_of(method, model, *concepts, seed=0):
    examples = method.examples(model, concepts or [CAT], EraseContext(seed=seed))
    return method.lesson(model, examples, torch.Generator().manual_seed(seed))


def scaled(lesson, factor):
    """The same lesson with another noise to be predicted, which moves L."""
    return lesson._replace(noised=lesson.noised._replace(noise=lesson.noised.noise * factor))


def diffusion_loss(model, lesson):
    """L, image by image in numpy."""
    errors = []
    with torch.no_grad():
        for row, prompt in enumerate(lesson.prompts):
            one = slice(row, row + 1)
            said = model.predict_noise(lesson.noised.latents[one], lesson.noised.timesteps[one], prompt)
            errors.append(np.mean((said - lesson.noised.noise[one]).numpy() ** 2))
    return float(np.mean(errors))


def below_the_hinge(model, lesson):
    """The lesson with noise that the random model predicts with an error of about 0.6."""
    with torch.no_grad():
        said = model.predict_noise(lesson.noised.latents, lesson.noised.timesteps, list(lesson.prompts))
    generator = torch.Generator().manual_seed(7)
    noise = said + 0.75 * torch.randn(said.shape, generator=generator, dtype=said.dtype)
    lesson = lesson._replace(noised=lesson.noised._replace(noise=noise))
    assert 0.4 < diffusion_loss(model, lesson) < 0.8
    return lesson


@pytest.mark.parametrize("micro_batch", [1, 2, 3])
def test_loss_is_one_minus_the_diffusion_loss_up_to_the_hinge(tiny_model, micro_batch):
    below = below_the_hinge(tiny_model, lesson_of(LossMaximisation(**TINY), tiny_model))
    value = sum(losses(tiny_model, below, 1.0, micro_batch)).item()
    assert value == pytest.approx(1 - diffusion_loss(tiny_model, below), rel=1e-4)

    above = scaled(below, 10)
    assert diffusion_loss(tiny_model, above) > 1
    assert float(sum(losses(tiny_model, above, 1.0, micro_batch))) == 0


@pytest.mark.parametrize("micro_batch", [1, 3])
def test_above_the_hinge_there_is_no_gradient(tiny_model, micro_batch):
    lesson = scaled(lesson_of(LossMaximisation(**TINY), tiny_model), 10)
    parameters = select(tiny_model.parts, "xattn-strict")
    for parameter in parameters.values():
        parameter.requires_grad_(True)
    for loss in losses(tiny_model, lesson, 1.0, micro_batch):
        loss.backward()
    assert all(p.grad is None or not p.grad.any() for p in parameters.values())


@pytest.mark.parametrize("micro_batch", [1, 3])
def test_gradient_equals_finite_differences_of_the_formula(tiny_model_dir, micro_batch):
    """In float64, away from θ*, of 1 − L + λ √Σ(θ − θ*)²."""
    model = DiffusionModel.from_directory(tiny_model_dir, dtype=torch.float64)
    method = LossMaximisation(**TINY, penalty=0.3)
    parameters = select(model.parts, "xattn-strict")
    base = {name: parameter.detach().clone() for name, parameter in parameters.items()}
    lesson = lesson_of(method, model)
    generator = torch.Generator().manual_seed(1)

    def noise_like(parameter):
        return torch.randn(parameter.shape, generator=generator, dtype=torch.float64)

    with torch.no_grad():
        for parameter in parameters.values():
            parameter.add_(0.02 * noise_like(parameter))
    lesson = below_the_hinge(model, lesson)

    def formula():
        squares = sum(float(((p.detach() - base[name]).numpy() ** 2).sum()) for name, p in parameters.items())
        return max(1 - diffusion_loss(model, lesson), 0) + 0.3 * squares**0.5

    for parameter in parameters.values():
        parameter.requires_grad_(True)
    total = sum(losses(model, lesson, 1.0, micro_batch)) + method.penalty * distance(parameters, base)
    assert total.item() == pytest.approx(formula(), rel=1e-9)
    total.backward()
    for _ in range(3):
        directions = {name: noise_like(parameter) for name, parameter in parameters.items()}
        along = sum(float((parameters[name].grad * d).sum()) for name, d in directions.items())
        values = []
        for sign in (1, -1):
            with torch.no_grad():
                for name, direction in directions.items():
                    parameters[name].add_(direction, alpha=sign * 1e-6)
                values.append(formula())
                for name, direction in directions.items():
                    parameters[name].sub_(direction, alpha=sign * 1e-6)
        assert along == pytest.approx((values[0] - values[1]) / 2e-6, rel=1e-4)


def test_distance_is_the_norm_itself_and_still_at_the_base():
    base = {"a": torch.zeros(2, 2), "b": torch.zeros(3)}
    at = {"a": torch.tensor([[3.0, 0.0], [0.0, 0.0]]), "b": torch.tensor([0.0, 4.0, 0.0])}
    assert distance(at, base).item() == pytest.approx(5.0)
    assert distance({name: 2 * tensor for name, tensor in at.items()}, base).item() == pytest.approx(10.0)

    still = {name: tensor.clone().requires_grad_(True) for name, tensor in base.items()}
    distance(still, base).backward()
    assert all(not tensor.grad.any() for tensor in still.values()), "and not NaN"
    partly = {"a": at["a"].clone().requires_grad_(True), "b": base["b"].clone().requires_grad_(True)}
    distance(partly, base).backward()
    torch.testing.assert_close(partly["a"].grad, torch.tensor([[1.0, 0.0], [0.0, 0.0]]))
    assert not partly["b"].grad.any()


def test_first_step_goes_up_the_diffusion_loss(tiny_model):
    """Adam's first step is lr · sign of L's gradient wherever that is not small; the penalty has none yet."""
    method = LossMaximisation(**TINY | {"ceiling": 10.0} | {"steps": 1})
    edit = method.erase(tiny_model, [CAT], EraseContext(seed=3))
    lesson = lesson_of(method, tiny_model, seed=3)
    whole = diffusion_loss(tiny_model, lesson)
    assert edit.losses == pytest.approx([10 - whole], rel=1e-4)

    parameters = select(tiny_model.parts, "xattn-strict")
    for parameter in parameters.values():
        parameter.requires_grad_(True)
    said = tiny_model.predict_noise(lesson.noised.latents, lesson.noised.timesteps, list(lesson.prompts))
    found = torch.autograd.grad((said - lesson.noised.noise).square().mean(), list(parameters.values()))
    for (name, parameter), gradient in zip(parameters.items(), found, strict=True):
        certain = gradient.abs() > 1e-5
        expected = parameter.detach() + 1e-4 * gradient.sign()
        torch.testing.assert_close(edit.tensors[name][certain], expected[certain], rtol=0, atol=2e-6)


def test_training_worsens_the_loss_and_the_penalty_holds_it_back(tiny_model):
    def erased(penalty):
        settings = TINY | {"ceiling": 10.0} | {"steps": 30, "learning_rate": 3e-3, "batch_size": 6}
        method = LossMaximisation(**settings, penalty=penalty)
        return method, method.erase(tiny_model, [CAT], EraseContext())

    method, free = erased(0.0)
    _, held = erased(10.0)
    unseen = lesson_of(method, tiny_model, seed=99)
    before = diffusion_loss(tiny_model, unseen)
    with applied(tiny_model, free):
        assert diffusion_loss(tiny_model, unseen) > before
    own = tiny_model.named_tensors()
    far, near = (
        distance(edit.tensors, {name: own[name] for name in edit.tensors}).item() for edit in (free, held)
    )
    assert near < 0.5 * far


def test_pictures_are_of_the_targets_with_the_prompts_that_they_were_drawn_by(tiny_model):
    method = LossMaximisation(**TINY)
    examples = method.examples(tiny_model, [CAT, DOG], EraseContext())

    texts = [example.targets for example in examples]
    assert texts[:4] == [("a grumpy cat",), ("tom at sea",), ("a tom",), ("grumpy cat at sea",)]
    assert texts[4:] == [("a rex",)] * 4
    lesson = method.lesson(tiny_model, examples, torch.Generator().manual_seed(0))
    assert set(lesson.prompts) <= {text for several in texts for text in several}


@pytest.mark.parametrize("preset", ["official", "microworld"])
def test_presets_run_when_cut_short(tiny_model, preset):
    method = build_method("loss-max", preset, {"steps": "1", "denoise_steps": "2", "images": "2"} | HIGH)
    edit = method.erase(tiny_model, [CAT, DOG], EraseContext())
    assert edit.tensors and len(edit.losses) == 1
    assert edit.settings["penalty"] == method.penalty
