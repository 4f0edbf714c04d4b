"""Weights that diffusers and transformers split into shards are read as the whole that they are."""

import json
import shutil

import pytest
import torch
from diffusers import UNet2DConditionModel
from safetensors.torch import load_file, save_file
from transformers import CLIPTextModel

from erasure_bench.errors import BenchError
from erasure_bench.models.checkpoints.checkpoint import read_checkpoint
from erasure_bench.models.checkpoints.exporting import export_weights
from erasure_bench.models.checkpoints.files import checkpoint_digest
from erasure_bench.models.diffusion_model import DiffusionModel
from erasure_bench.models.digest import weights_digest
from erasure_bench.models.pipeline_files import missing_files
from erasure_bench.models.weight_files import weight_files

UNET, TEXT = "diffusion_pytorch_model", "model"


def sharded_pickles(folder, stem):
    """The folder's single safetensors file as two .bin shards with their index."""
    single = folder / f"{'model' if stem == 'pytorch_model' else stem}.safetensors"
    state = load_file(single)
    names = sorted(state)
    places = {name: f"{stem}-0000{1 + (place % 2)}-of-00002.bin" for place, name in enumerate(names)}
    for file in set(places.values()):
        torch.save({name: state[name] for name in names if places[name] == file}, folder / file)
    (folder / f"{stem}.bin.index.json").write_text(
        json.dumps({"metadata": {"total_size": 1}, "weight_map": places})
    )
    single.unlink()


def sharded(directory, target, kind):
    """A copy of the pipeline with its UNet and text encoder in shards."""
    copied = shutil.copytree(directory, target)
    if kind == "pickles":
        sharded_pickles(copied / "unet", UNET)
        sharded_pickles(copied / "text_encoder", "pytorch_model")
        return copied
    options = {"variant": "fp16"} if kind == "fp16" else {}
    for part, library_class in (("unet", UNet2DConditionModel), ("text_encoder", CLIPTextModel)):
        network = library_class.from_pretrained(directory / part)
        shutil.rmtree(copied / part)
        network.save_pretrained(copied / part, max_shard_size="60KB", **options)
    return copied


@pytest.mark.parametrize("kind", ["safetensors", "fp16", "pickles"])
def test_a_pipeline_in_shards_is_the_same_model(tiny_model, tiny_model_dir, tmp_path, kind):
    directory = sharded(tiny_model_dir, tmp_path / "sharded", kind)
    for part in ("unet", "text_encoder"):
        found = weight_files(directory / part, part)
        assert found.index_file is not None and len(found.paths) > 1
        assert found.variant == ("fp16" if kind == "fp16" else None)

    model = DiffusionModel.from_directory(directory)

    own = tiny_model.named_tensors()
    assert model.named_tensors().keys() == own.keys()
    for name, tensor in model.named_tensors().items():
        torch.testing.assert_close(tensor, own[name], rtol=0, atol=0)


@pytest.mark.parametrize("kind", ["safetensors", "fp16", "pickles"])
@pytest.mark.parametrize("named", ["pipeline", "unet", "index", "bare folder"])
def test_shards_as_an_edit(tiny_model, tiny_model_dir, tmp_path, kind, named):
    directory = sharded(tiny_model_dir, tmp_path / "sharded", kind)
    path = {
        "pipeline": directory,
        "unet": directory / "unet",
        "index": weight_files(directory / "unet", "unet").index_file,
    }
    if named == "bare folder":
        (directory / "unet/config.json").unlink()
    read_from = path.get(named, directory / "unet")

    checkpoint = read_checkpoint(read_from, tiny_model.named_tensors())

    own = tiny_model.named_tensors()
    parts = ("unet.", "text_encoder.") if named == "pipeline" else ("unet.",)
    assert checkpoint.tensors.keys() == {name for name in own if name.startswith(parts)}
    for name, tensor in checkpoint.tensors.items():
        torch.testing.assert_close(tensor, own[name], rtol=0, atol=0)


def test_every_shard_counts_for_the_digests(tiny_model_dir, tmp_path):
    directory = sharded(tiny_model_dir, tmp_path / "sharded", "safetensors")
    before, edit_before = weights_digest(directory), checkpoint_digest(directory / "unet")
    last = weight_files(directory / "unet", "unet").paths[-1]
    content = bytearray(last.read_bytes())
    content[-1] ^= 1
    last.write_bytes(content)

    assert weights_digest(directory) != before
    assert checkpoint_digest(directory / "unet") != edit_before


def test_a_missing_shard_is_named(tiny_model, tiny_model_dir, tmp_path):
    directory = sharded(tiny_model_dir, tmp_path / "sharded", "safetensors")
    shard = weight_files(directory / "unet", "unet").paths[-1]
    shard.unlink()

    assert missing_files(directory) == [f"unet/{shard.name}"]
    with pytest.raises(BenchError, match=f"lacks {shard.name}, which its index names"):
        read_checkpoint(directory / "unet", tiny_model.named_tensors())


def test_one_shard_is_not_taken_for_the_whole(tiny_model, tiny_model_dir, tmp_path):
    directory = sharded(tiny_model_dir, tmp_path / "sharded", "safetensors")
    with pytest.raises(BenchError, match=r"one of \d+ shards.*safetensors\.index\.json"):
        read_checkpoint(weight_files(directory / "unet", "unet").paths[0], tiny_model.named_tensors())


@pytest.mark.parametrize(
    ("index", "words"),
    [
        ({"weight_map": {"conv_in.bias": "../elsewhere.safetensors"}}, "no file beside it"),
        ({"weight_map": {}}, "no weight_map"),
        ([], "expected a JSON object"),
    ],
)
def test_an_index_that_is_none(tiny_model_dir, tmp_path, index, words):
    directory = sharded(tiny_model_dir, tmp_path / "sharded", "safetensors")
    weight_files(directory / "unet", "unet").index_file.write_text(json.dumps(index))
    with pytest.raises(BenchError, match=words):
        missing_files(directory)


def test_the_file_that_is_read_is_the_one_that_the_libraries_read(tiny_model, tiny_model_dir, tmp_path):
    """With both forms in a folder diffusers takes the shards, transformers the single file."""
    directory = sharded(tiny_model_dir, tmp_path / "sharded", "safetensors")
    for part, stem in (("unet", UNET), ("text_encoder", TEXT)):
        state = load_file(tiny_model_dir / part / f"{stem}.safetensors")
        save_file(
            {name: tensor + 1 for name, tensor in state.items()}, directory / part / f"{stem}.safetensors"
        )

    model, own = DiffusionModel.from_directory(directory), tiny_model.named_tensors()

    for name, tensor in model.named_tensors().items():
        torch.testing.assert_close(tensor, own[name] + (0 if name.startswith("unet.") else 1), rtol=0, atol=0)
    assert weight_files(directory / "unet", "unet").index_file is not None
    assert weight_files(directory / "text_encoder", "text_encoder").index_file is None


def test_a_sharded_base_is_exported_whole(tiny_model, tiny_model_dir, tmp_path):
    directory = sharded(tiny_model_dir, tmp_path / "sharded", "safetensors")
    bias = tiny_model.named_tensors()["unet.conv_in.bias"] + 1

    out = export_weights(directory, {"unet.conv_in.bias": bias}, tmp_path / "out", format="diffusers")

    model = DiffusionModel.from_directory(out)
    torch.testing.assert_close(model.named_tensors()["unet.conv_in.bias"], bias)
    torch.testing.assert_close(model.text_encoder.state_dict(), tiny_model.text_encoder.state_dict())
