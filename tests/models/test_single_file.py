"""A model in one file, in compvis' names, is the model that it was made from."""

import re
import shutil

import pytest
import torch
from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from safetensors.torch import save_file
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from erasure_bench.errors import BenchError
from erasure_bench.models.checkpoints.compvis import compvis_names, ema_name
from erasure_bench.models.clip_vocabulary import VOCABULARY_SIZE, write_tokenizer
from erasure_bench.models.digest import weights_digest
from erasure_bench.models.zoo import load_model, resolve_model

UNET, TEXT, AUTOENCODER = "model.diffusion_model.", "cond_stage_model.transformer.", "first_stage_model."
WIDTH = 64


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """A random pipeline of SD 1.x's layout, with CLIP's own vocabulary, and small everything else."""
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("small")
    write_tokenizer(folder / "tokenizer", 77)
    text = CLIPTextConfig(
        vocab_size=VOCABULARY_SIZE,
        hidden_size=WIDTH,
        intermediate_size=96,
        num_hidden_layers=2,
        num_attention_heads=1,
        projection_dim=WIDTH,
        bos_token_id=VOCABULARY_SIZE - 2,
        eos_token_id=VOCABULARY_SIZE - 1,
        pad_token_id=VOCABULARY_SIZE - 1,
    )
    pipeline = StableDiffusionPipeline(
        vae=AutoencoderKL(
            block_out_channels=(32, 64),
            down_block_types=("DownEncoderBlock2D",) * 2,
            up_block_types=("UpDecoderBlock2D",) * 2,
            layers_per_block=2,
            sample_size=512,
            scaling_factor=0.18215,
        ),
        text_encoder=CLIPTextModel(text),
        tokenizer=CLIPTokenizer.from_pretrained(folder / "tokenizer"),
        unet=UNet2DConditionModel(
            sample_size=64,
            block_out_channels=(32, 64),
            down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
            up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
            layers_per_block=2,
            cross_attention_dim=WIDTH,
            attention_head_dim=8,
        ),
        scheduler=DDIMScheduler(
            beta_start=0.00085,
            beta_end=0.012,
            beta_schedule="scaled_linear",
            set_alpha_to_one=False,
            clip_sample=False,
            steps_offset=1,
        ),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipeline.save_pretrained(folder)
    return load_model(str(folder))


def autoencoder_name(name, blocks=2):
    """compvis' name of a tensor of the autoencoder."""
    name = re.sub(r"down_blocks\.(\d)\.resnets\.(\d)", r"down.\1.block.\2", name)
    name = re.sub(r"down_blocks\.(\d)\.downsamplers\.0", r"down.\1.downsample", name)
    name = re.sub(r"up_blocks\.(\d)", lambda match: f"up.{blocks - 1 - int(match[1])}", name)
    name = name.replace(".resnets.", ".block.").replace(".upsamplers.0.", ".upsample.")
    name = re.sub(r"mid_block\.block\.(\d)", lambda match: f"mid.block_{int(match[1]) + 1}", name)
    name = name.replace("mid_block.attentions.0.", "mid.attn_1.").replace("conv_shortcut", "nin_shortcut")
    name = name.replace("conv_norm_out", "norm_out").replace("group_norm", "norm")
    for new, old in (("to_q", "q"), ("to_k", "k"), ("to_v", "v"), ("to_out.0", "proj_out")):
        name = name.replace(f"attn_1.{new}.", f"attn_1.{old}.")
    return name


def in_one_file(model):
    unet = model.unet.state_dict()
    names = compvis_names(unet)
    assert names.keys() == unet.keys()
    state = {UNET + names[name]: tensor for name, tensor in unet.items()}
    for name, tensor in model.text_encoder.state_dict().items():
        state[f"{TEXT}text_model.{name.removeprefix('text_model.')}"] = tensor
    state[f"{TEXT}text_model.embeddings.position_ids"] = torch.arange(77)[None]
    for name, tensor in model.vae.state_dict().items():
        as_convolution = ".attentions." in name and name.endswith("weight") and tensor.dim() == 2
        state[AUTOENCODER + autoencoder_name(name)] = tensor[..., None, None] if as_convolution else tensor
    state["betas"] = torch.zeros(1000)
    return {name: tensor.contiguous() for name, tensor in state.items()}


def assert_same(model, own):
    for part in ("unet", "text_encoder", "vae"):
        torch.testing.assert_close(
            model.parts[part].state_dict(), own.parts[part].state_dict(), rtol=0, atol=0
        )
    assert (model.resolution, model.size_multiple) == (128, own.size_multiple)
    latents = torch.randn(1, 4, 16, 16, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        ours, theirs = (each.predict_noise(latents, 500, "a cat in a hat, 3d") for each in (model, own))
        torch.testing.assert_close(ours, theirs, rtol=0, atol=0)
        torch.testing.assert_close(model.decode_latents(latents), own.decode_latents(latents), rtol=0, atol=0)


@pytest.mark.parametrize("kind", ["safetensors", "lightning"])
def test_it_is_the_model_that_it_was_made_from(small, tmp_path, kind):
    state = in_one_file(small)
    if kind == "safetensors":
        save_file(state, path := tmp_path / "v1-5-pruned.safetensors")
    else:
        torch.save({"state_dict": state, "global_step": 7}, path := tmp_path / "v1-5-pruned.ckpt")

    source, model = resolve_model(str(path)), load_model(str(path))

    assert source.name == "v1-5-pruned" and "a single file, converted once into" in source.note
    assert_same(model, small)
    before = source.path.stat().st_mtime_ns
    assert resolve_model(str(path)).path.stat().st_mtime_ns == before
    shutil.rmtree(source.path)
    assert resolve_model(str(path)).digest == source.digest == weights_digest(source.path)


def test_ema_weights_are_taken_where_there_are_any(small, tmp_path):
    state = in_one_file(small)
    for name in [name for name in state if name.startswith(UNET)]:
        state[ema_name(name.removeprefix(UNET))] = state[name]
        state[name] = state[name] + 1
    save_file(state, path := tmp_path / "full-ema.safetensors")
    assert_same(load_model(str(path)), small)


def test_how_it_was_trained_is_read_where_the_file_says_it(small, tmp_path):
    save_file(in_one_file(small), path := tmp_path / "v.safetensors", {"modelspec.prediction_type": "v"})
    assert load_model(str(path)).prediction_type == "v_prediction"
    state = in_one_file(small) | {"v_pred": torch.zeros(0), "ztsnr": torch.zeros(0)}
    save_file(state, path := tmp_path / "zero.safetensors")
    model = load_model(str(path))
    assert model.prediction_type == "v_prediction" and float(model.alphas_cumprod[-1]) == 0


def test_clips_vocabulary_is_open_clips(tmp_path):
    from open_clip.tokenizer import SimpleTokenizer

    write_tokenizer(tmp_path / "tokenizer", 77)
    ours, theirs = CLIPTokenizer.from_pretrained(tmp_path / "tokenizer"), SimpleTokenizer()
    assert len(ours) == VOCABULARY_SIZE == theirs.vocab_size
    for text in ("a photo of Grumpy Cat, 35mm", "naïve café ☕ — don't!", "x" * 400, ""):
        assert ours(text, verbose=False).input_ids[1:-1] == theirs.encode(text)


@pytest.mark.parametrize(
    ("names", "words"),
    [
        ([f"{UNET}out.2.bias"], "a single file without an autoencoder .* and a text encoder .*--edit NAME="),
        (
            ["cond_stage_model.model.ln_final.bias"],
            "of Stable Diffusion 2.x, which does not say.*from_single",
        ),
        (["conditioner.embedders.0.transformer.x"], "a Stable Diffusion XL checkpoint"),
        ([f"{UNET}out.2.bias", f"{TEXT}x", f"{AUTOENCODER}x"], "no Stable Diffusion 1.x model"),
    ],
)
def test_what_is_no_whole_model_says_how_to_go_on(tmp_path, names, words):
    save_file({name: torch.zeros(4) for name in names}, path := tmp_path / "model.safetensors")
    with pytest.raises(BenchError, match=words) as error:
        resolve_model(str(path))
    assert "\n" not in str(error.value)


def test_another_vocabulary_needs_its_tokenizer(small, tmp_path):
    state = in_one_file(small)
    name = f"{TEXT}text_model.embeddings.token_embedding.weight"
    save_file(state | {name: state[name][:100].clone()}, path := tmp_path / "model.safetensors")
    with pytest.raises(BenchError, match="knows 100 tokens, CLIP's tokenizer has 49408"):
        resolve_model(str(path))


def test_a_file_that_is_not_there(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(BenchError, match=r"--model v1-5\.ckpt: no such directory or file"):
        resolve_model("v1-5.ckpt")
