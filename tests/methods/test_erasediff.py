"""EraseDiff: a step is the bi-level one, the steps within move nothing, and λ is what BOME asks for."""

import pytest
import torch

from erasure_bench.methods.base import EraseContext
from erasure_bench.methods.erasediff import EraseDiff, multiplier
from erasure_bench.methods.machinery.parameters import select
from erasure_bench.models.diffusion_model import DiffusionModel
from erasure_bench.prompt_suites.concepts import Concept

CAT = Concept(
    name="cat", kind="instance", targets=("grumpy cat",), anchor="cat", anchor_prompts=("a cat", "cat at sea")
)
GENERAL = ("a tree", "a grumpy cat", "a red boat")
TINY = {"images": 4, "denoise_steps": 2, "steps": 2, "batch_size": 2, "learning_rate": 1e-3}


def context():
    return EraseContext(general_prompts=GENERAL)


@pytest.mark.parametrize("multiplier", ["fixed", "adaptive"])
def test_the_steps_within_move_the_reported_loss_alone(tiny_model, multiplier):
    with_them, without = (
        EraseDiff(**TINY, inner_steps=steps, multiplier=multiplier).erase(tiny_model, [CAT], context())
        for steps in (2, 0)
    )
    assert with_them.tensors.keys() == without.tensors.keys()
    assert all(torch.equal(tensor, without.tensors[name]) for name, tensor in with_them.tensors.items())
    assert with_them.losses != without.losses


def material_and_parameters(method, model):
    generator = torch.Generator().manual_seed(0)
    material = method.material(model, [CAT], context())
    parameters = select(model.parts, method.parameters)
    for parameter in parameters.values():
        parameter.requires_grad_(True)
    forgotten = method.forgotten(model, material, generator)
    remembered = method.about_remembered(model, material, generator)
    return parameters, forgotten, remembered


def test_the_steps_within_are_gradient_descent(tiny_model_dir):
    """f falls by lr ‖∇f‖² to first order, taken along a finite difference, and the weights come back."""
    model = DiffusionModel.from_directory(tiny_model_dir, dtype=torch.float64)
    method = EraseDiff(**TINY | {"learning_rate": 1e-5}, inner_steps=1, drawn_latents=False)
    parameters, forgotten, _ = material_and_parameters(method, model)
    target = forgotten._replace(
        anchors=None,
        noise=model.predict_noise(forgotten.latents, forgotten.timesteps, forgotten.anchors).detach(),
    )
    before = {name: parameter.detach().clone() for name, parameter in parameters.items()}

    def loss():
        with torch.no_grad():
            said = model.predict_noise(target.latents, target.timesteps, target.prompts)
            return float((said - target.noise).square().mean())

    gradients = method._gradients(model, parameters, target)
    squared = sum(float(gradient.square().sum()) for gradient in gradients.values())
    start, after = loss(), method.inner(model, parameters, target)
    assert all(torch.equal(parameter, before[name]) for name, parameter in parameters.items())
    assert start - after == pytest.approx(1e-5 * squared, rel=0.02)


@pytest.mark.parametrize("choice", ["fixed", "adaptive"])
def test_a_step_goes_along_both_gradients(tiny_model_dir, choice):
    model = DiffusionModel.from_directory(tiny_model_dir, dtype=torch.float64)
    method = EraseDiff(**TINY, multiplier=choice, forget_weight=0.7, drawn_latents=False)
    parameters, forgotten, remembered = material_and_parameters(method, model)
    outer = method._gradients(model, parameters, remembered)
    inner = method._gradients(model, parameters, forgotten)
    for loss in method.bilevel(model, parameters, forgotten, remembered, best=0.3):
        loss.backward()
    flat = [torch.cat([part[name].flatten() for name in parameters]) for part in (outer, inner)]
    weight = 0.7 if choice == "fixed" else max(0.0, 0.7 - float(flat[0] @ flat[1]) / float(flat[1] @ flat[1]))
    step = torch.cat([parameter.grad.flatten() for parameter in parameters.values()])
    torch.testing.assert_close(step, flat[0] + weight * flat[1])
    if choice == "adaptive":
        assert weight > 0
        # BOME's promise: along the step q decreases at least as η ‖∇q‖² asks
        assert float(step @ flat[1]) >= 0.7 * float(flat[1] @ flat[1]) * (1 - 1e-4)


def test_a_multiplier_is_never_negative():
    same = {"w": torch.tensor([3.0, 4.0])}
    assert multiplier(same, same, 0.5) == 0.0
    assert multiplier({"w": -same["w"]}, same, 0.5) == pytest.approx(1.5)
    assert multiplier(same, {"w": torch.zeros(2)}, 0.5) == 0.0


def test_uniform_noise_may_be_the_target(tiny_model):
    method = EraseDiff(**TINY, target="uniform")
    _, forgotten, _ = material_and_parameters(method, tiny_model)
    assert forgotten.anchors is None
    assert float(forgotten.noise.min()) >= 0 and float(forgotten.noise.max()) < 1
