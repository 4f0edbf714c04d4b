"""The proof that a model is what it was: what it sees that values and flags alone would not show."""

from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from erasure_bench.bench.running.base_models import state_of
from erasure_bench.foreign.files import file_target
from erasure_bench.foreign.process import LeftBehind
from erasure_bench.foreign.wanted import METHOD
from erasure_bench.methods.machinery.traces import ModelState, checksum, patches
from erasure_bench.models.diffusion_model import DiffusionModel


@given(st.integers(0, 199), st.integers(0, 31), st.sampled_from([torch.float32, torch.float16, torch.int64]))
def test_every_bit_counts(place: int, bit: int, dtype: torch.dtype) -> None:
    values = torch.arange(200).to(dtype)
    before = checksum(values)
    assert checksum(values.clone()) == before
    words = values.view(torch.uint8)
    words[(place * 4 + bit // 8) % len(words)] ^= 1 << (bit % 8)
    assert checksum(values) != before


def test_the_places_count_too_also_far_apart() -> None:
    values = torch.zeros(1_000_000)
    values[3], values[800_000] = 1.0, -1.0
    other = values.flip(0)
    negative = -values
    assert len({checksum(each) for each in (values, other, negative, torch.zeros(1_000_000))}) == 4


def test_an_untouched_model_has_no_changes(tiny_model: DiffusionModel) -> None:
    state = ModelState.of(tiny_model)
    tiny_model.predict_noise(torch.zeros(1, *tiny_model.latent_shape()), 3, "a cat")
    assert state.changes(tiny_model) == ""


def test_each_kind_of_change_is_named_and_put_back(tiny_model: DiffusionModel) -> None:
    state = ModelState.of(tiny_model)
    unet = tiny_model.unet
    for harm, said in (
        (lambda: unet.register_forward_pre_hook(lambda module, args: args), "unet: forward pre hooks"),
        (lambda: unet.__dict__.update(forward=unet.forward), "unet: forward"),
        (lambda: unet.conv_in.register_buffer("more", torch.zeros(1)), "unet.conv_in: buffers"),
        (lambda: setattr(unet.conv_in, "padding", (0, 0)), "unet.conv_in: padding"),
        (lambda: unet.conv_in.weight.register_hook(lambda grad: grad), "asks for gradients"),
        (lambda: tiny_model.scheduler_config.update(beta_end=1.0), "the model: scheduler config"),
        (lambda: setattr(tiny_model, "predict_noise", None), "the model: predict noise"),
        (lambda: tiny_model.parts.pop("vae"), "the model: parts"),
        (lambda: unet.train(), "unet: training"),
    ):
        try:
            if said == "asks for gradients":
                unet.conv_in.weight.requires_grad_(True)
            harm()
            assert said in state.changes(tiny_model)
        finally:
            state.put_back()
            unet.conv_in.weight._backward_hooks = None
            unet.conv_in.weight.requires_grad_(False)
        assert state.changes(tiny_model) == "", said


def test_a_class_that_a_file_patches_when_it_is_imported_is_found(
    tiny_model: DiffusionModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kind = type(tiny_model.unet)
    monkeypatch.setattr(kind, "forward", kind.forward)  # put back when the test ends
    assert patches(tiny_model) == ""
    path = tmp_path / "mine.py"
    path.write_text(
        f"from {kind.__module__} import {kind.__name__} as Kind\n"
        "class M:\n    erase = None\n"
        "def forward(self, *arguments, **named): ...\n"
        "Kind.forward = forward\n"
    )
    file_target(f"{path}:M", METHOD)
    assert patches(tiny_model) == f"{kind.__name__}.forward"
    with pytest.raises(LeftBehind, match="patched UNet2DConditionModel.forward when it was imported"):
        state_of(tiny_model)
