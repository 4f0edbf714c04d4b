"""What is exported draws in plain diffusers what the edited model draws here, and comes back as it was."""

import json
import shutil

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionPipeline, UNet2DConditionModel
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from transformers import CLIPTextModel

from erasure_bench.errors import BenchError
from erasure_bench.models.checkpoints.checkpoint import read_checkpoint
from erasure_bench.models.checkpoints.exporting import export_weights
from erasure_bench.models.diffusion_model import DiffusionModel
from erasure_bench.models.noise import image_noise
from erasure_bench.models.sampling import sample_latents
from erasure_bench.models.weights import swapped

TOLERANCE = 1e-4
PROMPTS, SEEDS, STEPS = ["a cat", "a dog"], [11, 12], 5
PARTS = {"unet": "attn2.to_v.weight", "text_encoder": "mlp.fc2.weight"}


def changes(model, *parts):
    """New values that a picture shows of some weights of the parts."""
    generator = torch.Generator().manual_seed(4)
    return {
        name: tensor + tensor.std() * torch.randn(tensor.shape, generator=generator)
        for name, tensor in model.named_tensors().items()
        for part in parts
        if name.startswith(part) and name.endswith(PARTS[part])
    }


def start(model):
    return torch.stack([image_noise(seed, model.latent_shape()) for seed in SEEDS])


def drawn_here(model):
    latents = sample_latents(
        model, PROMPTS, SEEDS, scheduler="ddim", steps=STEPS, guidance_scale=7.5, latents=start(model)
    )
    with torch.no_grad():
        return model.decode_latents(latents).permute(0, 2, 3, 1).numpy()


def drawn_by(pipeline, model):
    pipeline.set_progress_bar_config(disable=True)
    return pipeline(
        PROMPTS, latents=start(model), num_inference_steps=STEPS, guidance_scale=7.5, output_type="np"
    ).images


def assert_same_pictures(pipeline, model, tensors):
    before = drawn_here(model)
    with swapped(model, tensors):
        edited = drawn_here(model)
    theirs = drawn_by(pipeline, model)
    assert np.abs(theirs - edited).max() <= TOLERANCE
    assert np.abs(theirs - before).max() > 0.01


@pytest.mark.parametrize("parts", [("unet",), ("text_encoder",), ("unet", "text_encoder")])
def test_plain_diffusers_draws_the_same_from_the_pipeline(tiny_model, tiny_model_dir, tmp_path, parts):
    tensors = changes(tiny_model, *parts)

    out = export_weights(tiny_model_dir, tensors, tmp_path / "out", format="diffusers", about={"method": "x"})

    assert_same_pictures(StableDiffusionPipeline.from_pretrained(out), tiny_model, tensors)
    assert json.loads((out / "erasure_bench.json").read_text()) == {"method": "x"}
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_our_own_model_loads_the_exported_pipeline_bit_by_bit(tiny_model, tiny_model_dir, tmp_path):
    tensors = changes(tiny_model, "unet", "text_encoder")

    out = export_weights(tiny_model_dir, tensors, tmp_path / "out", format="diffusers")

    loaded = DiffusionModel.from_directory(out).named_tensors()
    expected = tiny_model.named_tensors() | tensors
    assert loaded.keys() == expected.keys()
    assert all(torch.equal(loaded[name], expected[name]) for name in expected)


@pytest.mark.parametrize("format", ["safetensors", "delta"])
def test_plain_diffusers_draws_the_same_from_a_file(tiny_model, tiny_model_dir, tmp_path, format):
    tensors = changes(tiny_model, "unet")
    out = export_weights(
        tiny_model_dir, tensors, tmp_path / "edit.safetensors", format=format, about={"method": "x"}
    )
    content = load_file(out)
    pipeline = StableDiffusionPipeline.from_pretrained(tiny_model_dir)

    result = pipeline.unet.load_state_dict(content, strict=format == "safetensors")

    assert not result.unexpected_keys
    if format == "delta":
        assert {f"unet.{name}" for name in content} == tensors.keys()
    assert_same_pictures(pipeline, tiny_model, tensors)
    with safe_open(out, "pt") as file:
        assert json.loads(file.metadata()["erasure_bench"]) == {"method": "x"}


@pytest.mark.parametrize("format", ["safetensors", "delta"])
@pytest.mark.parametrize("parts", [("unet",), ("text_encoder",), ("unet", "text_encoder")])
def test_files_come_back_as_they_were(tiny_model, tiny_model_dir, tmp_path, format, parts):
    tensors = changes(tiny_model, *parts)

    out = export_weights(tiny_model_dir, tensors, tmp_path / "edit.safetensors", format=format)

    back = read_checkpoint(out, tiny_model.named_tensors()).tensors
    if format == "delta":
        assert back.keys() == tensors.keys()
    else:
        own = tiny_model.named_tensors()
        assert back.keys() == {name for name in own if name.startswith(("unet", *parts))}
        tensors = own | tensors
    assert all(torch.equal(back[name], tensors[name]) for name in back)


def test_text_encoder_in_a_file_has_the_names_of_files(tiny_model, tiny_model_dir, tmp_path):
    tensors = changes(tiny_model, "text_encoder")

    out = export_weights(tiny_model_dir, tensors, tmp_path / "edit.safetensors", format="delta")

    assert set(load_file(out)) == {
        name.replace("text_encoder.", "text_encoder.text_model.") for name in tensors
    }


def test_a_download_without_the_safety_checker(tiny_model, tiny_model_dir, tmp_path):
    """As the bench fetches models: the index names what is not there, and plain diffusers would fail."""
    base = shutil.copytree(tiny_model_dir, tmp_path / "base")
    index = json.loads((base / "model_index.json").read_text())
    index |= {
        "safety_checker": ["stable_diffusion", "StableDiffusionSafetyChecker"],
        "feature_extractor": ["transformers", "CLIPImageProcessor"],
        "requires_safety_checker": True,
    }
    (base / "model_index.json").write_text(json.dumps(index))
    tensors = changes(tiny_model, "unet")

    out = export_weights(base, tensors, tmp_path / "out", format="diffusers")

    assert_same_pictures(StableDiffusionPipeline.from_pretrained(out), tiny_model, tensors)


@pytest.mark.parametrize("stored", ["fp16 variant", "pickle"])
def test_base_stored_in_other_files(tiny_model_dir, tmp_path, stored):
    """The result is read without naming a variant, and an fp32 edit of an fp16 base stays fp32."""
    base = shutil.copytree(tiny_model_dir, tmp_path / "base")
    for part, stem in (("unet", "diffusion_pytorch_model"), ("text_encoder", "model")):
        weights = load_file(base / part / f"{stem}.safetensors")
        (base / part / f"{stem}.safetensors").unlink()
        if stored == "pickle":
            name = "pytorch_model.bin" if part == "text_encoder" else f"{stem}.bin"
            torch.save(weights, base / part / name)
        else:
            halves = {name: tensor.half() for name, tensor in weights.items()}
            save_file(halves, base / part / f"{stem}.fp16.safetensors", {"format": "pt"})
    model = DiffusionModel.from_directory(base)
    tensors = changes(model, "unet")

    out = export_weights(base, tensors, tmp_path / "out", format="diffusers")

    assert_same_pictures(StableDiffusionPipeline.from_pretrained(out), model, tensors)
    written = load_file(out / "unet" / "diffusion_pytorch_model.safetensors")
    assert {tensor.dtype for tensor in written.values()} == {torch.float32}


def test_parts_load_one_by_one(tiny_model, tiny_model_dir, tmp_path):
    """The text encoder also in transformers 4, which knows its names only with the level that 5 dropped."""
    tensors = changes(tiny_model, "unet", "text_encoder")
    out = export_weights(tiny_model_dir, tensors, tmp_path / "out", format="diffusers")

    unet = UNet2DConditionModel.from_pretrained(out / "unet")
    text = dict(CLIPTextModel.from_pretrained(out / "text_encoder").named_parameters())
    written = load_file(out / "text_encoder" / "model.safetensors")
    assert all(name.startswith("text_model.") for name in written)

    name = next(name for name in tensors if name.startswith("unet."))
    assert torch.equal(dict(unet.named_parameters())[name.removeprefix("unet.")], tensors[name])
    name = next(name for name in tensors if name.startswith("text_encoder."))
    bare = name.removeprefix("text_encoder.")
    assert torch.equal(text.get(bare, text.get(f"text_model.{bare}")), tensors[name])


@pytest.mark.parametrize("format", ["diffusers", "safetensors", "delta"])
def test_nothing_half_written_is_left(tiny_model, tiny_model_dir, tmp_path, monkeypatch, format):
    def full(*arguments, **named):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("erasure_bench.models.checkpoints.exporting.save_file", full)
    with pytest.raises(BenchError, match="out: cannot be written: .*No space left on device"):
        export_weights(tiny_model_dir, changes(tiny_model, "unet"), tmp_path / "out", format=format)
    assert not list(tmp_path.iterdir())


def test_what_cannot_be_exported(tiny_model, tiny_model_dir, tmp_path):
    tensors = changes(tiny_model, "unet")
    out = tmp_path / "out"
    with pytest.raises(BenchError, match="changes no weights"):
        export_weights(tiny_model_dir, {}, out, format="delta")
    with pytest.raises(
        BenchError, match="unknown export format 'onnx'.*valid: delta, diffusers, safetensors"
    ):
        export_weights(tiny_model_dir, tensors, out, format="onnx")
    with pytest.raises(BenchError, match="the edit: 1 tensor that the base model does not have"):
        export_weights(tiny_model_dir, {"unet.x": torch.zeros(1)}, out, format="delta")
    with pytest.raises(BenchError, match="the edit: unet.conv_in.bias has the shape"):
        export_weights(tiny_model_dir, {"unet.conv_in.bias": torch.zeros(1)}, out, format="delta")
    with pytest.raises(BenchError, match="missing model_index.json"):
        export_weights(tmp_path, tensors, out, format="delta")
    out.write_text("mine")
    with pytest.raises(BenchError, match=r"exists already.*--out"):
        export_weights(tiny_model_dir, tensors, out, format="delta")
    assert out.read_text() == "mine"
