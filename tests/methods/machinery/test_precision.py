"""Training in another precision: what it does to the updates, to the edit, and not to the model."""

from pathlib import Path

import pytest
import torch
from diffusers import UNet2DConditionModel

from erasure_bench.methods.base import EraseContext
from erasure_bench.methods.edit import Edit
from erasure_bench.methods.esd import ESD
from erasure_bench.methods.machinery.parameters import select
from erasure_bench.methods.machinery.training import Training
from erasure_bench.methods.registry import build_method
from erasure_bench.models.diffusion_model import DiffusionModel
from erasure_bench.models.weights import changed_tensors, snapshot
from erasure_bench.prompt_suites.concepts import Concept

CAT = Concept(name="cat", kind="instance", targets=("grumpy cat",), anchor="cat")
SHORT = {"parameters": "xattn", "scheduler": "ddim", "denoise_steps": 2, "steps": 2}


def change(model: DiffusionModel, edit: Edit) -> float:
    """‖θ − θ*‖₂ of the trained group, θ* in the dtype that was trained in."""
    group = select(model.parts, edit.settings["parameters"])
    return float(
        torch.stack(
            [
                (edit.tensors[name].double() - own.to(edit.tensors[name].dtype).double()).norm()
                for name, own in group.items()
                if name in edit.tensors
            ]
        ).norm()
    )


def test_bf16_equals_torchs_own_adam_on_bf16_weights(tiny_model_dir: Path) -> None:
    """Bit for bit, with the UNet as diffusers loads it in bf16 and Adam as the official code calls it."""
    model = DiffusionModel.from_directory(tiny_model_dir, name="tiny")
    method = ESD(**SHORT, precision="bfloat16", learning_rate=1e-4, sampled_by="base")
    edit = method.erase(model, [CAT], EraseContext(seed=4))

    unet = UNet2DConditionModel.from_pretrained(tiny_model_dir / "unet", torch_dtype=torch.bfloat16).eval()
    unet.requires_grad_(False)
    trained = {name: p.requires_grad_(True) for name, p in unet.named_parameters() if "attn2" in name}
    optimiser = torch.optim.Adam(list(trained.values()), lr=1e-4)
    frozen = model.frozen_copy(torch.bfloat16)
    lessons = method._lessons(frozen, frozen, method.erased([CAT]), torch.Generator().manual_seed(4))
    for _ in range(2):
        lesson = next(lessons)
        optimiser.zero_grad()
        predicted = unet(
            lesson.latents.bfloat16(), lesson.timestep, lesson.embeddings.bfloat16(), return_dict=False
        )[0]
        torch.nn.functional.mse_loss(predicted.float(), lesson.target).backward()
        optimiser.step()

    assert {name.removeprefix("unet.") for name in edit.tensors} == trained.keys()
    for name, parameter in trained.items():
        assert torch.equal(edit.tensors[f"unet.{name}"], parameter.detach()), name


@pytest.mark.parametrize("precision", ["bfloat16", "float32", "model"])
def test_the_edit_is_in_the_precision_of_the_training_and_the_model_as_it_was(
    tiny_model: DiffusionModel, precision: str
) -> None:
    before = snapshot(tiny_model)

    edit = ESD(**SHORT, precision=precision).erase(tiny_model, [CAT], EraseContext())

    assert not changed_tensors(before, snapshot(tiny_model)) and tiny_model.dtype == torch.float32
    expected = torch.bfloat16 if precision == "bfloat16" else torch.float32
    assert edit.tensors and {tensor.dtype for tensor in edit.tensors.values()} == {expected}
    assert edit.settings["precision"] == str(expected).removeprefix("torch.")


def test_fp32_by_name_is_the_models_own_and_trains_a_narrower_model_in_full(
    tiny_model: DiffusionModel, tiny_model_dir: Path
) -> None:
    own, named = (
        ESD(**SHORT, precision=precision).erase(tiny_model, [CAT], EraseContext())
        for precision in ("model", "float32")
    )
    assert own.tensors.keys() == named.tensors.keys()
    assert all(torch.equal(tensor, named.tensors[name]) for name, tensor in own.tensors.items())

    narrow = DiffusionModel.from_directory(tiny_model_dir, dtype=torch.bfloat16)
    edit = ESD(**SHORT, precision="float32").erase(narrow, [CAT], EraseContext())
    assert {tensor.dtype for tensor in edit.tensors.values()} == {torch.float32}
    assert narrow.dtype == torch.bfloat16


def test_bf16_rounds_small_updates_away() -> None:
    """30 of Adam's steps of 5e-5, all one way. From 2⁻⁶ on bf16's numbers lie 2⁻¹³ and more apart, so
    that half of the way to the next is further than a step: such a weight never moves."""
    weights, gradient = 0.03 * torch.randn(2, 100, 100, generator=torch.Generator().manual_seed(0))
    start, end = {}, {}
    for dtype in (torch.bfloat16, torch.float32):
        parameter = torch.nn.Parameter(weights.to(dtype))
        tuning = Training(
            {"w": parameter},
            device=torch.device("cpu"),
            learning_rate=5e-5,
            steps=30,
            context=EraseContext(),
        )
        with tuning:
            for _ in tuning:
                tuning.minimise([(parameter * gradient.to(dtype)).sum()])
        start[dtype], end[dtype] = weights.to(dtype), tuning.tensors["w"]

    torch.testing.assert_close(end[torch.float32], weights - 30 * 5e-5 * gradient.sign(), rtol=0, atol=1e-5)
    moved = start[torch.bfloat16] != end[torch.bfloat16]
    large, small = weights.abs() > 2**-6 + 2**-8, weights.abs() < 2**-7
    assert 0.4 < float(large.float().mean()) < 0.7
    assert not moved[large].any() and moved[small].all()


@pytest.mark.slow
def test_bf16_rounds_most_of_esds_updates_away(microworld: DiffusionModel) -> None:
    """Stable Diffusion 1.4 moves by 0.112 in 30 steps of the official script, in fp32 by 0.280."""
    cut = {"steps": "10", "denoise_steps": "2", "scheduler": "ddim"}
    concept = Concept(name="apple", kind="object", targets=("apple",), anchor="pear")
    moved = {}
    for precision in ("bfloat16", "float32"):
        method = build_method("esd-x", "official", cut | {"precision": precision})
        moved[precision] = change(microworld, method.erase(microworld, [concept], EraseContext()))

    assert 0 < moved["bfloat16"] < 0.6 * moved["float32"], moved
