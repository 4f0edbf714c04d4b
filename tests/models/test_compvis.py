"""compvis' names, whole and without leftovers, for UNets of the real shapes; read back from .ckpt files.

The mapping is ours; diffusers' own converter and numbers known of Stable Diffusion's files check it.
"""

import sys
from types import ModuleType

import pytest
import torch
from diffusers import UNet2DConditionModel
from diffusers.loaders.single_file_utils import convert_ldm_unet_checkpoint

from erasure_bench.errors import BenchError
from erasure_bench.models.checkpoints.checkpoint import read_checkpoint
from erasure_bench.models.checkpoints.compvis import COMPVIS, compvis_names, ema_name
from erasure_bench.models.checkpoints.contents import Source, Target

SD_1_4 = {"sample_size": 64, "cross_attention_dim": 768, "attention_head_dim": 8}
SD_2_1 = {
    "sample_size": 96,
    "cross_attention_dim": 1024,
    "attention_head_dim": (5, 10, 20, 20),
    "use_linear_projection": True,
}
DEEP = {
    "sample_size": 8,
    "block_out_channels": (16, 32, 32),
    "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
    "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
    "layers_per_block": 3,
    "norm_num_groups": 8,
}
PREFIX = "model.diffusion_model."
TEXT_PREFIX = "cond_stage_model.transformer.text_model."


def unet_on_meta(config):
    with torch.device("meta"):
        return UNet2DConditionModel(**config)


@pytest.fixture(scope="module")
def sd_1_4():
    return unet_on_meta(SD_1_4)


@pytest.mark.parametrize("config", [SD_1_4, SD_2_1, DEEP], ids=["sd-1.4", "sd-2.1", "three-layers"])
def test_diffusers_converter_turns_every_name_back(config):
    unet = unet_on_meta(config)
    own = dict(unet.named_parameters())
    names = compvis_names(own)
    assert names.keys() == own.keys()
    assert len(set(names.values())) == len(own)

    back = convert_ldm_unet_checkpoint({PREFIX + names[name]: own[name] for name in own}, dict(unet.config))

    assert back.keys() == own.keys()
    assert all(back[name] is own[name] for name in own)


def test_attention_is_where_the_published_formulas_say(sd_1_4):
    """input_blocks.i.1 is down_blocks.(i−1)//3.attentions.(i−1)%3, output_blocks.i.1 up_blocks.i//3…i%3."""
    names = compvis_names(name for name, _ in sd_1_4.named_parameters())
    attention = "transformer_blocks.0.attn2.to_k.weight"
    for i in (1, 2, 4, 5, 7, 8):
        ours = f"down_blocks.{(i - 1) // 3}.attentions.{(i - 1) % 3}.{attention}"
        assert names[ours] == f"input_blocks.{i}.1.{attention}"
    assert names[f"mid_block.attentions.0.{attention}"] == f"middle_block.1.{attention}"
    for i in range(3, 12):
        ours = f"up_blocks.{i // 3}.attentions.{i % 3}.{attention}"
        assert names[ours] == f"output_blocks.{i}.1.{attention}"
    assert sum(name.endswith(attention) for name in names.values()) == 16


def test_landmarks_of_the_published_checkpoint(sd_1_4):
    own = dict(sd_1_4.named_parameters())
    shapes = {compvis: tuple(own[name].shape) for name, compvis in compvis_names(own).items()}
    assert len(shapes) == 686
    known = {
        "time_embed.0.weight": (1280, 320),
        "time_embed.2.weight": (1280, 1280),
        "input_blocks.0.0.weight": (320, 4, 3, 3),
        "input_blocks.1.0.in_layers.2.weight": (320, 320, 3, 3),
        "input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight": (320, 768),
        "input_blocks.3.0.op.weight": (320, 320, 3, 3),
        "input_blocks.4.0.skip_connection.weight": (640, 320, 1, 1),
        "input_blocks.9.0.op.weight": (1280, 1280, 3, 3),
        "middle_block.0.emb_layers.1.weight": (1280, 1280),
        "middle_block.1.proj_in.weight": (1280, 1280, 1, 1),
        "middle_block.2.out_layers.3.weight": (1280, 1280, 3, 3),
        "output_blocks.2.1.conv.weight": (1280, 1280, 3, 3),
        "output_blocks.5.2.conv.weight": (1280, 1280, 3, 3),
        "output_blocks.8.2.conv.weight": (640, 640, 3, 3),
        "output_blocks.11.0.skip_connection.weight": (320, 640, 1, 1),
        "out.0.weight": (320,),
        "out.2.weight": (4, 320, 3, 3),
    }
    assert {name: shapes[name] for name in known} == known


@pytest.mark.parametrize("weights", ["ema", "raw"])
def test_every_tensor_of_the_real_shape_is_used_and_none_is_left(sd_1_4, weights):
    """Both sets of weights in one file, told apart by identity: without any data, so without memory."""
    base = {f"unet.{name}": parameter for name, parameter in sd_1_4.named_parameters()}
    names = compvis_names(target_names := [name.removeprefix("unet.") for name in base])
    raw = {PREFIX + names[name]: torch.empty_like(base[f"unet.{name}"]) for name in target_names}
    ema = {ema_name(names[name]): torch.empty_like(base[f"unet.{name}"]) for name in target_names}
    assert len(ema) == len(raw) == len(base), "two names became one when they lost their dots"

    tree = {**raw, **ema, "betas": torch.empty(1000), "model_ema.decay": torch.empty(())}
    contents = COMPVIS.read(Source(path="x.ckpt", tree=tree), Target(base=base, weights=weights))

    assert contents.tensors.keys() == base.keys()
    chosen = {"ema": {ema_name(names[n]): n for n in names}, "raw": {PREFIX + names[n]: n for n in names}}
    expected = {f"unet.{name}": tree[key] for key, name in chosen[weights].items()}
    assert all(contents.tensors[name] is expected[name] for name in base)
    assert all(contents.tensors[name].shape == base[name].shape for name in base)
    assert contents.complete == ("unet",)


@pytest.mark.slow
def test_a_file_of_random_weights_of_the_real_shape_comes_back_into_the_unet(sd_1_4, tmp_path):
    """By diffusers' names, compvis' in a .ckpt, and back: 1.7 GB in half precision."""
    generator = torch.Generator().manual_seed(0)
    own = {
        name: torch.rand(parameter.shape, generator=generator, dtype=torch.float16)
        for name, parameter in sd_1_4.named_parameters()
    }
    names = compvis_names(own)
    path = tmp_path / "model.ckpt"
    torch.save({"state_dict": {PREFIX + names[name]: tensor for name, tensor in own.items()}}, path)

    checkpoint = read_checkpoint(path, {f"unet.{name}": p for name, p in sd_1_4.named_parameters()})
    path.unlink()

    assert checkpoint.format == "compvis checkpoint: full UNet"
    back = {name.removeprefix("unet."): tensor for name, tensor in checkpoint.tensors.items()}
    assert back.keys() == own.keys()
    assert all(torch.equal(back[name], own[name]) for name in own)
    unet_on_meta(SD_1_4).load_state_dict(back, strict=True, assign=True)


@pytest.fixture
def edited(tiny_model):
    """The tiny model's tensors, all of them changed."""
    generator = torch.Generator().manual_seed(3)
    return {
        name: tensor + torch.rand(tensor.shape, generator=generator)
        for name, tensor in tiny_model.named_tensors().items()
    }


def compvis_state(tensors):
    """A LatentDiffusion module's state dict: UNet and text encoder, schedule, a piece of autoencoder."""
    unet = {name.removeprefix("unet."): t for name, t in tensors.items() if name.startswith("unet.")}
    names = compvis_names(unet)
    state = {PREFIX + names[name]: tensor for name, tensor in unet.items()}
    for name, tensor in tensors.items():
        if name.startswith("text_encoder."):
            state[TEXT_PREFIX + name.removeprefix("text_encoder.")] = tensor
    state[TEXT_PREFIX + "embeddings.position_ids"] = torch.arange(16)[None]
    state["first_stage_model.encoder.conv_in.weight"] = torch.zeros(8, 3, 3, 3)
    state["betas"] = torch.zeros(1000)
    return state


def with_ema(state, change):
    """As LitEma keeps them: every trained tensor's copy, under its name without dots."""
    copies = {
        "model_ema." + name.removeprefix("model.").replace(".", ""): change(tensor)
        for name, tensor in state.items()
        if name.startswith(PREFIX)
    }
    return {
        **state,
        **copies,
        "model_ema.decay": torch.tensor(0.9999),
        "model_ema.num_updates": torch.tensor(7),
    }


def assert_equal(found, expected):
    assert found.keys() == expected.keys()
    for name, tensor in expected.items():
        torch.testing.assert_close(found[name], tensor, rtol=0, atol=0)


def test_whole_checkpoint(tiny_model, edited, tmp_path):
    path = tmp_path / "model.ckpt"
    torch.save({"state_dict": compvis_state(edited), "epoch": 3}, path)

    checkpoint = read_checkpoint(path, tiny_model.named_tensors())

    assert checkpoint.format == "compvis checkpoint: full UNet and full text encoder"
    assert_equal(checkpoint.tensors, edited)
    assert len(checkpoint.notes) == 1 and "first_stage_model" in checkpoint.notes[0]


@pytest.mark.parametrize(("weights", "label"), [("ema", "EMA weights"), ("raw", "raw weights")])
def test_ema_and_raw(tiny_model, edited, tmp_path, weights, label):
    path = tmp_path / "model.ckpt"
    torch.save({"state_dict": with_ema(compvis_state(edited), lambda tensor: tensor * 2)}, path)
    expected = {
        name: tensor * 2 if weights == "ema" and name.startswith("unet.") else tensor
        for name, tensor in edited.items()
    }

    checkpoint = read_checkpoint(path, tiny_model.named_tensors(), weights=weights)

    assert checkpoint.format.endswith(f", {label}")
    assert_equal(checkpoint.tensors, expected)
    assert any("holds raw and EMA weights" in note for note in checkpoint.notes)


def test_raw_weights_that_are_not_there_are_not_taken_from_the_average(tiny_model, edited, tmp_path):
    path = tmp_path / "model.ckpt"
    state = with_ema(compvis_state(edited), lambda tensor: tensor * 2)
    torch.save({name: tensor for name, tensor in state.items() if not name.startswith(PREFIX)}, path)
    assert read_checkpoint(path, tiny_model.named_tensors()).format.endswith("EMA weights")
    with pytest.raises(BenchError, match="no raw ones.*NAME.weights=ema"):
        read_checkpoint(path, tiny_model.named_tensors(), weights="raw")


def test_ema_is_the_default(tiny_model, edited, tmp_path):
    path = tmp_path / "model.ckpt"
    torch.save(with_ema(compvis_state(edited), lambda tensor: tensor * 2), path)

    checkpoint = read_checkpoint(path, tiny_model.named_tensors())

    name = "unet.conv_in.weight"
    torch.testing.assert_close(checkpoint.tensors[name], edited[name] * 2, rtol=0, atol=0)


@pytest.mark.parametrize("prefix", ["", "diffusion_model."])
def test_unet_alone(tiny_model, edited, tmp_path, prefix):
    path = tmp_path / "unet.pt"
    unet = {name: tensor for name, tensor in edited.items() if name.startswith("unet.")}
    state = {
        prefix + name.removeprefix(PREFIX): tensor
        for name, tensor in compvis_state(unet).items()
        if name.startswith(PREFIX)
    }
    torch.save(state, path)

    checkpoint = read_checkpoint(path, tiny_model.named_tensors())

    assert checkpoint.format.startswith("compvis") and checkpoint.format.endswith(": full UNet")
    assert_equal(checkpoint.tensors, unet)


def test_delta_of_concept_ablation(tiny_model, edited, tmp_path):
    path = tmp_path / "delta.ckpt"
    chosen = {name: tensor for name, tensor in edited.items() if ".attn2.to_k." in name}
    state = {name: tensor for name, tensor in compvis_state(edited).items() if ".attn2.to_k." in name}
    torch.save({"state_dict": state}, path)

    checkpoint = read_checkpoint(path, tiny_model.named_tensors())

    total = sum(name.startswith("unet.") for name in edited)
    assert checkpoint.format == f"compvis checkpoint: {len(chosen)} of {total} UNet tensors"
    assert_equal(checkpoint.tensors, chosen)
    assert any("raw weights" in note for note in checkpoint.notes)


def test_token_embedding_of_concept_ablation(tiny_model, edited, tmp_path):
    path = tmp_path / "embed.ckpt"
    name = "text_encoder.embeddings.token_embedding.weight"
    torch.save({"state_dict": {"embed": edited[name]}}, path)

    checkpoint = read_checkpoint(path, tiny_model.named_tensors())

    assert checkpoint.format.startswith("compvis token embedding: 1 of ")
    assert_equal(checkpoint.tensors, {name: edited[name]})


def test_added_tokens_of_concept_ablation_are_spoken_of(tiny_model, edited, tmp_path):
    path = tmp_path / "delta.ckpt"
    state = {name: tensor for name, tensor in compvis_state(edited).items() if ".attn2.to_k." in name}
    rows = edited["text_encoder.embeddings.token_embedding.weight"][-2:].clone()
    torch.save({"state_dict": state | {"embed": rows}}, path)

    checkpoint = read_checkpoint(path, tiny_model.named_tensors())

    assert all(".attn2.to_k." in name for name in checkpoint.tensors)
    assert any("not used: embed" in note for note in checkpoint.notes)


def test_a_whole_checkpoint_that_lacks_a_tensor(tiny_model, edited, tmp_path):
    path = tmp_path / "model.ckpt"
    state = compvis_state(edited)
    del state[PREFIX + "out.2.bias"]
    torch.save(state, path)

    with pytest.raises(
        BenchError, match=r"lacks 1 tensor of the base model's unet, such as unet.conv_out.bias"
    ):
        read_checkpoint(path, tiny_model.named_tensors())


@pytest.mark.parametrize("name", [PREFIX + "input_blocks.9.0.op.weight", "model_ema.diffusion_modelstrange"])
def test_a_checkpoint_of_a_larger_unet(tiny_model, edited, tmp_path, name):
    path = tmp_path / "model.ckpt"
    torch.save({**compvis_state(edited), name: torch.zeros(1)}, path)

    with pytest.raises(BenchError, match="taken for a compvis .ckpt: 1 tensor .* another base model"):
        read_checkpoint(path, tiny_model.named_tensors())


def test_what_is_not_used_is_said(tiny_model, edited, tmp_path):
    path = tmp_path / "model.ckpt"
    unet = compvis_state({name: tensor for name, tensor in edited.items() if name.startswith("unet.")})
    extra = {"cond_stage_model.model.ln_final.weight": torch.zeros(4), "scaler.x": torch.zeros(1)}
    torch.save({**unet, **extra}, path)

    notes = read_checkpoint(path, tiny_model.named_tensors()).notes

    assert any("OpenCLIP" in note for note in notes)
    assert any("1 tensor not used: scaler.x" in note for note in notes)


def test_projections_saved_as_linear_layers_or_as_convolutions(tiny_model, edited, tmp_path):
    """SD 2's proj_in and proj_out are the one in some files and the other in some models."""
    path = tmp_path / "unet.pt"
    name = "unet.mid_block.attentions.0.proj_in.weight"
    assert edited[name].shape[2:] == (1, 1)
    torch.save({PREFIX + "middle_block.1.proj_in.weight": edited[name][:, :, 0, 0]}, path)

    checkpoint = read_checkpoint(path, tiny_model.named_tensors())

    assert_equal(checkpoint.tensors, {name: edited[name]})


def test_lightnings_own_state_is_read_past_without_its_code(tiny_model, edited, tmp_path, monkeypatch):
    """As sd-v1-4.ckpt has it: keyed by a class of Lightning, with numpy scalars in it."""
    import numpy as np

    ran = []

    class ModelCheckpoint:
        def __setstate__(self, state):
            ran.append(state)

    for name in ("pytorch_lightning", "pytorch_lightning.callbacks"):
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
    module = ModuleType("pytorch_lightning.callbacks.model_checkpoint")
    module.ModelCheckpoint = ModelCheckpoint
    ModelCheckpoint.__module__, ModelCheckpoint.__qualname__ = module.__name__, "ModelCheckpoint"
    monkeypatch.setitem(sys.modules, module.__name__, module)
    callback = ModelCheckpoint()
    callback.best = 1
    path = tmp_path / "last.ckpt"
    callbacks = {ModelCheckpoint: {"best": np.float64(0.5), "itself": callback}}
    torch.save({"state_dict": compvis_state(edited), "callbacks": callbacks}, path)
    for name in (module.__name__, "pytorch_lightning.callbacks", "pytorch_lightning"):
        monkeypatch.delitem(sys.modules, name)

    checkpoint = read_checkpoint(path, tiny_model.named_tensors())

    assert_equal(checkpoint.tensors, edited)
    assert not ran and module.__name__ not in sys.modules
