"""Every format is recognised by what is in it and read without running it; what does not fit is refused."""

import hashlib
import json
import shutil
import subprocess
import sys
from collections import OrderedDict
from functools import partial
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from erasure_bench.errors import BenchError
from erasure_bench.models import digest
from erasure_bench.models.checkpoints.checkpoint import check_checkpoint, read_checkpoint
from erasure_bench.models.checkpoints.files import checkpoint_digest

ROOT = Path(__file__).resolve().parents[2]
LAYER = "down_blocks.0.attentions.0.transformer_blocks.0.attn2"


@pytest.fixture
def edited(tiny_model):
    """The tiny model's tensors, all of them changed."""
    generator = torch.Generator().manual_seed(3)
    return {
        name: tensor + torch.rand(tensor.shape, generator=generator)
        for name, tensor in tiny_model.named_tensors().items()
    }


def part(tensors, name):
    """One part's tensors without the part's name."""
    return {full.removeprefix(f"{name}."): t for full, t in tensors.items() if full.startswith(f"{name}.")}


def under(prefix, tensors):
    return {f"{prefix}{name}": tensor for name, tensor in tensors.items()}


def only(tensors, *marks):
    return {name: tensor for name, tensor in tensors.items() if any(mark in name for mark in marks)}


def assert_read(checkpoint, expected):
    assert checkpoint.tensors.keys() == expected.keys()
    for name, tensor in expected.items():
        torch.testing.assert_close(checkpoint.tensors[name], tensor, rtol=0, atol=0)


@pytest.mark.parametrize("suffix", [".safetensors", ".bin", ".pt", ".anything"])
@pytest.mark.parametrize("write", [save_file, torch.save])
def test_full_unet_whatever_the_file_is_called(tiny_model, edited, tmp_path, write, suffix):
    path = tmp_path / f"unet{suffix}"
    unet = part(edited, "unet")
    write(unet, path)

    checkpoint = read_checkpoint(path, tiny_model.named_tensors())

    assert checkpoint.format == "state dict in diffusers names: full UNet"
    assert_read(checkpoint, under("unet.", unet))
    assert checkpoint.notes == ()
    assert checkpoint.digest == hashlib.sha256(path.read_bytes()).hexdigest() == checkpoint_digest(path)


def test_file_of_the_first_torch_format(tiny_model, edited, tmp_path):
    """Not a zip archive: older training code saved it, and it cannot be mapped from disk."""
    path = tmp_path / "unet.bin"
    torch.save(part(edited, "unet"), path, _use_new_zipfile_serialization=False)

    assert_read(read_checkpoint(path, tiny_model.named_tensors()), only(edited, "unet."))


def test_partial_file_of_esd_or_uce(tiny_model, edited, tmp_path):
    path = tmp_path / "esd.safetensors"
    chosen = only(part(edited, "unet"), "attn2.to_k", "attn2.to_v")
    save_file(chosen, path)

    checkpoint = read_checkpoint(path, tiny_model.named_tensors())

    whole = len(part(edited, "unet"))
    assert checkpoint.format == f"state dict in diffusers names: {len(chosen)} of {whole} UNet tensors"
    assert_read(checkpoint, under("unet.", chosen))


@pytest.mark.parametrize("prefix", ["unet.", ""])
def test_esd_file_nested_by_module(tiny_model, edited, tmp_path, prefix):
    path = tmp_path / "esd.pt"
    out = f"{LAYER}.to_out.0"
    nested = {
        prefix + f"{LAYER}.to_k": OrderedDict(weight=torch.nn.Parameter(edited[f"unet.{LAYER}.to_k.weight"])),
        prefix + out: {"weight": edited[f"unet.{out}.weight"], "bias": edited[f"unet.{out}.bias"]},
    }
    torch.save(nested, path)

    checkpoint = read_checkpoint(path, tiny_model.named_tensors())

    assert checkpoint.format.startswith("state dicts by module (ESD): 3 of ")
    assert_read(checkpoint, only(edited, f"{LAYER}.to_k.weight", f"unet.{out}."))


@pytest.mark.parametrize("unet", [True, False], ids=["unet", "embedding"])
def test_concept_ablation_delta(tiny_model, edited, tmp_path, unet):
    """With parameters `embedding` the delta's UNet is there and empty, the text encoder whole."""
    path = tmp_path / "delta.bin"
    chosen = only(part(edited, "unet"), "attn2.to_k", "attn2.to_v") if unet else {}
    text = {} if unet else part(edited, "text_encoder")
    content = {"unet": {name: torch.nn.Parameter(tensor) for name, tensor in chosen.items()}}
    if text:
        buffer = {"text_model.embeddings.position_ids": torch.arange(16)[None]}
        content["text_encoder"] = under("text_model.", text) | buffer
    torch.save(content, path)

    checkpoint = read_checkpoint(path, tiny_model.named_tensors())

    assert checkpoint.format.startswith("state dicts by part (Concept Ablation's delta): ")
    assert_read(checkpoint, under("unet.", chosen) | under("text_encoder.", text))
    assert checkpoint.notes == ()


def test_new_tokens_of_a_delta_are_spoken_of(tiny_model, edited, tmp_path):
    path = tmp_path / "delta.bin"
    chosen = only(part(edited, "unet"), "attn2.to_k")
    torch.save({"unet": chosen, "modifier_token": {"<new1>": torch.zeros(32)}}, path)

    checkpoint = read_checkpoint(path, tiny_model.named_tensors())

    assert_read(checkpoint, under("unet.", chosen))
    assert "<new1>" in checkpoint.notes[0]


@pytest.mark.parametrize("prefix", ["text_model.", "text_encoder.text_model.", "text_encoder.", ""])
def test_text_encoder_alone(tiny_model, edited, tmp_path, prefix):
    path = tmp_path / "text.pt"
    text = part(edited, "text_encoder")
    torch.save(under(prefix, text) | {f"{prefix}embeddings.position_ids": torch.arange(16)[None]}, path)

    checkpoint = read_checkpoint(path, tiny_model.named_tensors())

    assert checkpoint.format == "state dict in diffusers names: full text encoder"
    assert_read(checkpoint, under("text_encoder.", text))


@pytest.mark.parametrize("level", ["text_model.", ""])
def test_text_encoder_folder(tiny_model, tiny_model_dir, edited, tmp_path, level):
    """AdvUnlearn's form. transformers 5 writes the names without the level that 4 has."""
    folder = shutil.copytree(tiny_model_dir / "text_encoder", tmp_path / "text_encoder")
    text = part(edited, "text_encoder")
    save_file(under(level, text), folder / "model.safetensors")

    checkpoint = read_checkpoint(folder, tiny_model.named_tensors())

    assert checkpoint.format == "CLIPTextModel folder: full text encoder"
    assert_read(checkpoint, under("text_encoder.", text))


@pytest.mark.parametrize("pickled", [False, True])
def test_unet_folder(tiny_model, tiny_model_dir, edited, tmp_path, pickled):
    folder = shutil.copytree(tiny_model_dir / "unet", tmp_path / "unet")
    unet = part(edited, "unet")
    if pickled:
        (folder / "diffusion_pytorch_model.safetensors").unlink()
        torch.save(unet, folder / "diffusion_pytorch_model.bin")
    else:
        save_file(unet, folder / "diffusion_pytorch_model.safetensors")

    checkpoint = read_checkpoint(folder, tiny_model.named_tensors())

    assert checkpoint.format == "diffusers UNet folder: full UNet"
    assert_read(checkpoint, under("unet.", unet))


def test_pipeline_folder_that_diffusers_itself_wrote(tiny_model, tiny_model_dir, edited, tmp_path):
    from diffusers import StableDiffusionPipeline

    pipeline = StableDiffusionPipeline.from_pretrained(tiny_model_dir)
    pipeline.unet.load_state_dict(part(edited, "unet"))
    text = part(edited, "text_encoder")
    own = pipeline.text_encoder.state_dict()
    level = "text_model." if any(name.startswith("text_model.") for name in own) else ""
    pipeline.text_encoder.load_state_dict(under(level, text), strict=False)
    pipeline.save_pretrained(tmp_path / "erased")

    checkpoint = read_checkpoint(tmp_path / "erased", tiny_model.named_tensors())

    assert checkpoint.format == "diffusers pipeline folder: full UNet and full text encoder"
    assert_read(checkpoint, edited)
    assert "autoencoder" in checkpoint.notes[0]


def test_folder_with_a_single_weight_file(tiny_model, edited, tmp_path):
    chosen = only(part(edited, "unet"), "attn2.to_k")
    torch.save({"unet": chosen}, tmp_path / "delta.bin")
    (tmp_path / "training.log").write_text("done")

    assert_read(read_checkpoint(tmp_path, tiny_model.named_tensors()), under("unet.", chosen))


def test_weights_of_an_exported_edit_have_both_parts(tiny_model, edited, tmp_path):
    path = tmp_path / "weights.safetensors"
    chosen = only(edited, "unet.conv_in", "text_encoder.final_layer_norm")
    save_file(chosen, path)

    checkpoint = read_checkpoint(path, tiny_model.named_tensors())

    assert_read(checkpoint, chosen)
    assert "UNet tensors and" in checkpoint.format


def test_half_precision_stays_as_it_is(tiny_model, edited, tmp_path):
    path = tmp_path / "half.safetensors"
    save_file({"conv_in.weight": edited["unet.conv_in.weight"].half()}, path)

    (tensor,) = read_checkpoint(path, tiny_model.named_tensors()).tensors.values()

    assert tensor.dtype == torch.float16


def test_a_view_does_not_bring_its_whole_storage_along(tiny_model, edited, tmp_path):
    path = tmp_path / "views.pt"
    bias = edited["unet.conv_in.bias"]
    torch.save({"conv_in.bias": torch.cat([bias, bias])[: len(bias)]}, path)

    (tensor,) = read_checkpoint(path, tiny_model.named_tensors()).tensors.values()

    torch.testing.assert_close(tensor, bias)
    assert tensor.untyped_storage().nbytes() == tensor.nbytes


def test_parts_that_are_not_used_are_named(tiny_model, edited, tmp_path):
    path = tmp_path / "all.safetensors"
    save_file({"unet.conv_in.bias": edited["unet.conv_in.bias"], "vae.x.weight": torch.zeros(1)}, path)

    assert read_checkpoint(path, tiny_model.named_tensors()).notes == ("1 tensor not used: vae.x.weight",)


def test_digest_of_a_folder_follows_the_weights_alone(tiny_model_dir, tmp_path):
    folder = shutil.copytree(tiny_model_dir, tmp_path / "erased")
    before = checkpoint_digest(folder)
    (folder / "README.md").write_text("how it was made")
    assert checkpoint_digest(folder) == before == checkpoint_digest(tiny_model_dir)
    weights = folder / "unet" / "diffusion_pytorch_model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    assert checkpoint_digest(folder) != before


def test_a_users_weights_are_hashed_afresh_each_time(tiny_model_dir, monkeypatch):
    def refuse(*anything):
        raise AssertionError("remembered")

    monkeypatch.setattr(digest, "REMEMBERED_FROM_BYTES", 0)
    monkeypatch.setattr(digest, "SETTLED_SECONDS", 0.0)
    monkeypatch.setattr(digest, "digest_cache", refuse)
    assert checkpoint_digest(tiny_model_dir)


def test_digests_need_no_torch():
    code = "import sys, erasure_bench.models.checkpoints.files; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


class Malice:
    """Runs `touch` when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


@pytest.mark.parametrize("zipped", [True, False])
def test_a_pickle_with_code_is_refused_and_not_run(tiny_model, edited, tmp_path, zipped):
    path, trace = tmp_path / "model.pt", tmp_path / "ran"
    content = {**part(edited, "unet"), "extra": Malice(trace)}
    torch.save(content, path, _use_new_zipfile_serialization=zipped)

    with pytest.raises(BenchError, match="would run code.*weights_only=False.*save_file") as error:
        read_checkpoint(path, tiny_model.named_tensors())
    assert not trace.exists()
    assert "\n" not in str(error.value)


def test_a_whole_pickled_module_is_refused(tiny_model, tmp_path):
    torch.save(tiny_model.unet, path := tmp_path / "unet.pt")
    with pytest.raises(BenchError, match="would run code .*UNet2DConditionModel"):
        read_checkpoint(path, tiny_model.named_tensors())


@pytest.mark.parametrize("write", [save_file, torch.save])
@pytest.mark.parametrize("keep", [0.5, 0.999])
def test_a_cut_file(tiny_model, edited, tmp_path, write, keep):
    path = tmp_path / "unet"
    write(part(edited, "unet"), path)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * keep)])

    with pytest.raises(BenchError, match="damaged"):
        read_checkpoint(path, tiny_model.named_tensors())


def refused(model, path, message, **options):
    with pytest.raises(BenchError, match=message) as error:
        read_checkpoint(path, model.named_tensors(), **options)
    assert "\n" not in str(error.value)


def test_no_such_file(tiny_model, tmp_path):
    refused(tiny_model, tmp_path / "nothing.ckpt", "no such file or folder")


def test_text_is_no_weight_file(tiny_model, tmp_path):
    path = tmp_path / "model.safetensors"
    path.write_text("These are the weights of a model.")
    refused(tiny_model, path, "neither a safetensors file nor one that torch.save wrote")


def test_a_git_lfs_pointer_is_named_as_such(tiny_model, tmp_path):
    path = tmp_path / "model.safetensors"
    path.write_text(f"version https://git-lfs.github.com/spec/v1\noid sha256:{'0' * 64}\nsize 3438000000\n")
    refused(tiny_model, path, "a Git LFS pointer, not the file itself: run .*git lfs pull")


@pytest.mark.parametrize(
    "prefix", ["module.", "_orig_mod.", "unet.module.", "_orig_mod.module.", "module.unet._orig_mod."]
)
@pytest.mark.parametrize("write", [save_file, torch.save])
def test_names_of_wrapped_networks(tiny_model, edited, tmp_path, write, prefix):
    write(under(prefix, part(edited, "unet")), path := tmp_path / "unet")
    assert_read(read_checkpoint(path, tiny_model.named_tensors()), only(edited, "unet."))


def test_names_of_a_network_compiled_block_by_block(tiny_model, edited, tmp_path):
    state = {name.replace("_blocks.0.", "_blocks.0._orig_mod."): value for name, value in edited.items()}
    save_file(state, path := tmp_path / "model.safetensors")
    assert_read(read_checkpoint(path, tiny_model.named_tensors()), edited)


@pytest.mark.parametrize("level", ["module", "model", "model_state_dict"])
def test_the_level_that_a_training_script_puts_around_the_weights(tiny_model, edited, tmp_path, level):
    content = {
        level: part(edited, "unet"),
        "optimizer": {"state": {0: {"exp_avg": torch.zeros(3)}}},
        "epoch": 3,
    }
    torch.save(content, path := tmp_path / "last.pt")
    assert_read(read_checkpoint(path, tiny_model.named_tensors()), only(edited, "unet."))


def test_a_tensor_with_and_without_its_wrappers_name(tiny_model, edited, tmp_path):
    bias = edited["unet.conv_in.bias"]
    save_file({"conv_in.bias": bias, "module.conv_in.bias": bias + 1}, path := tmp_path / "x.safetensors")
    refused(tiny_model, path, "holds conv_in.bias twice")


@pytest.mark.parametrize("write", [save_file, torch.save])
def test_headers_alone_tell_what_the_reading_will(tiny_model, edited, tmp_path, write):
    write(part(edited, "unet"), path := tmp_path / "unet")
    base = tiny_model.named_tensors()
    assert check_checkpoint(path, base) == read_checkpoint(path, base).format

    write({"conv_in.bias": torch.zeros(3)}, path)
    with pytest.raises(BenchError) as known:
        check_checkpoint(path, base)
    with pytest.raises(BenchError) as read:
        read_checkpoint(path, base)
    assert str(known.value) == str(read.value)


@pytest.mark.parametrize(
    "write", [save_file, torch.save, partial(torch.save, _use_new_zipfile_serialization=False)]
)
@pytest.mark.parametrize("keep", [0.5, 0.999])
def test_headers_alone_tell_a_cut_file(tiny_model, edited, tmp_path, write, keep):
    write(part(edited, "unet"), path := tmp_path / "unet")
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * keep)])
    with pytest.raises(BenchError, match="damaged"):
        check_checkpoint(path, tiny_model.named_tensors())


def test_unknown_content_lists_its_names_and_the_formats(tiny_model, tmp_path):
    save_file(
        {"fc1.weight": torch.zeros(1), "fc2.weight": torch.zeros(1)}, path := tmp_path / "x.safetensors"
    )
    formats = ".*".join(
        ("pipeline", "UNet folder", "PEFT", "delta.bin", "ESD", "LoRA", "compvis", "state dict")
    )
    refused(tiny_model, path, rf"named fc1\.weight, fc2\.weight; known: .*{formats}")


def test_a_choice_of_weights_that_is_none(tiny_model, tmp_path):
    refused(tiny_model, tmp_path, "unknown choice of weights 'averaged'.*valid: ema, raw", weights="averaged")


def test_nothing_and_not_a_mapping(tiny_model, tmp_path):
    torch.save({"epoch": 3}, path := tmp_path / "x.pt")
    refused(tiny_model, path, "it holds no tensors")
    torch.save([torch.zeros(1)], path)
    refused(tiny_model, path, "holds a list; expected tensors by name")


def test_another_shape_is_another_base(tiny_model, tmp_path):
    save_file({f"{LAYER}.to_k.weight": torch.zeros(16, 1024)}, path := tmp_path / "x.safetensors")
    refused(tiny_model, path, rf"unet\.{LAYER}\.to_k\.weight.*\(16, 1024\).*\(16, 32\).*SD 2\.x.*--model")


@pytest.mark.parametrize("name", ["conv_in.weight", "model.diffusion_model.input_blocks.0.0.weight"])
def test_inpainting(tiny_model, tmp_path, name):
    save_file({name: torch.zeros(16, 9, 3, 3)}, path := tmp_path / "x.safetensors")
    refused(tiny_model, path, "an inpainting model, which is not supported")


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("conditioner.embedders.0.transformer.text_model.x", "Stable Diffusion XL checkpoint"),
        ("model.diffusion_model.label_emb.0.0.weight", "Stable Diffusion XL"),
        ("add_embedding.linear_1.weight", "Stable Diffusion XL UNet"),
        ("unet.add_embedding.linear_1.weight", "Stable Diffusion XL UNet"),
        ("cond_stage_model.transformer.attn_layers.layers.0.0.weight", "latent-diffusion"),
        ("controlnet_cond_embedding.conv_in.weight", "ControlNet"),
        ("double_blocks.0.img_attn.qkv.weight", "Flux"),
    ],
)
def test_other_kinds_of_models(tiny_model, edited, tmp_path, name, kind):
    content = {"conv_in.bias": edited["unet.conv_in.bias"], name: torch.zeros(1)}
    save_file(content, path := tmp_path / "x.safetensors")
    refused(tiny_model, path, kind)


def test_a_deeper_unet(tiny_model, tmp_path):
    save_file({"down_blocks.3.resnets.0.conv1.weight": torch.zeros(1)}, path := tmp_path / "x.safetensors")
    refused(tiny_model, path, "1 tensor that the base model does not have, such as unet.down_blocks.3")


def test_quantised_weights(tiny_model, edited, tmp_path):
    save_file(
        {"conv_in.bias": edited["unet.conv_in.bias"].to(torch.int8)}, path := tmp_path / "x.safetensors"
    )
    refused(tiny_model, path, "int8; quantised")


def test_an_incomplete_unet_folder(tiny_model, tiny_model_dir, tmp_path):
    folder = shutil.copytree(tiny_model_dir / "unet", tmp_path / "unet")
    weights = load_file(folder / "diffusion_pytorch_model.safetensors")
    del weights["conv_in.bias"]
    save_file(weights, folder / "diffusion_pytorch_model.safetensors")
    refused(tiny_model, folder, "lacks 1 tensor of the base model's unet, such as unet.conv_in.bias")


@pytest.mark.parametrize("kind", ["StableDiffusionXLPipeline", "StableDiffusionInpaintPipeline"])
def test_other_pipelines(tiny_model, tiny_model_dir, tmp_path, kind):
    folder = shutil.copytree(tiny_model_dir, tmp_path / "pipeline")
    index = json.loads((folder / "model_index.json").read_text())
    (folder / "model_index.json").write_text(json.dumps(index | {"_class_name": kind}))
    refused(tiny_model, folder, f"a {kind} pipeline; valid: StableDiffusionPipeline")


def test_folders_that_are_not_understood(tiny_model, tiny_model_dir, tmp_path):
    refused(tiny_model, tiny_model_dir / "vae", "AutoencoderKL; valid: UNet2DConditionModel")
    refused(tiny_model, tmp_path, "of weight files .* it has none")
    for name in ("a.pt", "b.ckpt"):
        (tmp_path / name).write_bytes(b"")
    refused(tiny_model, tmp_path, "holds a.pt, b.ckpt: name one of them")
    (tmp_path / "config.json").write_text('{"_class_name": "UNet2DConditionModel"}')
    refused(tiny_model, tmp_path, "looked for diffusion_pytorch_model.safetensors")


def test_scale_is_for_lora(tiny_model, tiny_model_dir, edited, tmp_path):
    save_file(part(edited, "unet"), path := tmp_path / "x.safetensors")
    refused(tiny_model, path, "scale=0.5 is for a LoRA", scale=0.5)
    refused(tiny_model, tiny_model_dir, "scale=0.5 is for a LoRA", scale=0.5)
    for place in (path, tiny_model_dir):
        refused(tiny_model, place, "weights=raw is for a compvis checkpoint", weights="raw")
