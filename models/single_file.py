"""A base model in a single file, as CompVis' code and web UIs keep it, made into a pipeline folder once.

Sizes are read from the tensors' shapes; what a file does not tell is Stable Diffusion 1.x's own: 8 heads,
512 pixels, the betas, CLIP's vocabulary. Nothing is fetched.
"""

import json
import os
import secrets
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from platformdirs import user_cache_path
from torch import Tensor

from erasure_bench.errors import BenchError
from erasure_bench.models.checkpoints.compvis import (
    AUTOENCODER_PREFIX,
    EMA_PREFIX,
    OPEN_CLIP_PREFIX,
    TEXT_PREFIX,
    UNET_PREFIXES,
    ema_name,
)
from erasure_bench.models.checkpoints.fitting import refuse_foreign
from erasure_bench.models.checkpoints.names import BUFFERS, TEXT_LEVEL
from erasure_bench.models.checkpoints.reading import Tree, flat_names, read_file
from erasure_bench.models.clip_vocabulary import VOCABULARY_SIZE, write_tokenizer
from erasure_bench.models.digest import file_digest
from erasure_bench.models.fitness import check_pipeline

UNET_PREFIX = UNET_PREFIXES[0]
LAYOUT = 1
"""Of the folders that are written; another number makes them anew."""

V_PREDICTION, ZERO_SNR = "v_pred", "ztsnr"
"""Names of empty tensors by which web UIs' files say how they were trained."""


def converted(path: Path) -> Path:
    """The pipeline folder of a single-file checkpoint, in the user's cache; written where it is not there.

    Raises BenchError where the file cannot be read or is not a whole Stable Diffusion 1.x model.
    """
    folder = user_cache_path("erasure-bench") / "converted" / f"{file_digest(path)[:32]}-{LAYOUT}"
    if folder.is_dir():
        return folder
    tree, metadata = read_file(path, shapes_only=True)
    tree = _inner(tree)
    refuse_foreign(path, flat_names(tree))
    _refuse_part(path, tree)
    configs = _configs(path, tree, metadata)
    temporary = folder.with_name(f".{folder.name}.{secrets.token_hex(6)}")
    try:
        temporary.mkdir(parents=True)
        _write(temporary, configs, _inner(read_file(path).tree))
        check_pipeline(temporary)
        os.replace(temporary, folder)
    except OSError as error:
        if not folder.is_dir():  # another process may have been quicker
            raise BenchError(
                f"{path}: cannot be converted into {folder}: {error.strerror or error}; {_by_hand(path)}"
            ) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return folder


def _inner(tree: Tree) -> Tree:
    while isinstance(tree.get("state_dict"), Mapping):
        tree = tree["state_dict"]
    return tree


def _by_hand(path: Path) -> str:
    return (
        'to convert a file yourself, where the hub can be reached: python -c "from diffusers import '
        f"StableDiffusionPipeline as P; P.from_single_file('{path.name}').save_pretrained('FOLDER')\", "
        "then --model FOLDER"
    )


def _refuse_part(path: Path, tree: Tree) -> None:
    """Raises BenchError for what is no whole model, and for a family of which a file does not tell enough."""
    names = list(tree)
    if any(name.startswith(OPEN_CLIP_PREFIX) for name in names):
        raise BenchError(
            f"{path}: a single file of Stable Diffusion 2.x, which does not say whether its UNet predicts "
            f"ε or v; {_by_hand(path)}"
        )
    parts = {"a UNet": UNET_PREFIX, "an autoencoder": AUTOENCODER_PREFIX, "a text encoder": TEXT_PREFIX}
    lacking = [
        f"{part} ({prefix}…)"
        for part, prefix in parts.items()
        if not any(name.startswith(prefix) for name in names)
    ]
    if lacking:
        raise BenchError(
            f"{path}: a single file without {' and '.join(lacking)}, so no whole model; weights for a row of "
            f"their own go to --edit NAME={path.name}; {_by_hand(path)}"
        )


def _configs(path: Path, tree: Tree, metadata: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """Each part's config. Raises BenchError where the names are not those of the layout."""
    try:
        return {
            "unet": _unet(_below(tree, UNET_PREFIX)),
            "vae": _autoencoder(_below(tree, AUTOENCODER_PREFIX)),
            "text_encoder": _text_encoder(path, _text(tree)),
            "scheduler": _scheduler(tree, metadata),
        }
    except (KeyError, IndexError, StopIteration) as error:
        raise BenchError(
            f"{path}: a single file that is no Stable Diffusion 1.x model: it lacks {error}; {_by_hand(path)}"
        ) from error


def _below(tree: Tree, prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tree.items() if name.startswith(prefix)}


def _text(tree: Tree) -> dict[str, Tensor]:
    """The text encoder in transformers' names."""
    return {
        TEXT_LEVEL + name.removeprefix(TEXT_LEVEL): tensor
        for name, tensor in _below(tree, TEXT_PREFIX).items()
        if not name.endswith(BUFFERS)
    }


def _unet(unet: Mapping[str, Tensor]) -> dict[str, Any]:
    channels: list[int] = []
    resnets: list[int] = []
    attends: list[bool] = []
    block = 1
    while f"input_blocks.{block}.0.in_layers.2.weight" in unet:
        attends.append(f"input_blocks.{block}.1.proj_in.weight" in unet)
        channels.append(int(unet[f"input_blocks.{block}.0.in_layers.2.weight"].shape[0]))
        resnets.append(0)
        while f"input_blocks.{block}.0.in_layers.2.weight" in unet:
            resnets[-1] += 1
            block += 1
        block += 1  # the downsampler
    first = next(name for name in unet if name.endswith("attn2.to_k.weight"))
    linear = unet[f"{first.split('.transformer_blocks.')[0]}.proj_in.weight"].dim() == 2
    down = ["CrossAttnDownBlock2D" if attention else "DownBlock2D" for attention in attends]
    return {
        "_class_name": "UNet2DConditionModel",
        "sample_size": 64,
        "in_channels": int(unet["input_blocks.0.0.weight"].shape[1]),
        "out_channels": int(unet["out.2.weight"].shape[0]),
        "block_out_channels": channels,
        "layers_per_block": resnets[0],
        "down_block_types": down,
        "up_block_types": [kind.replace("Down", "Up") for kind in reversed(down)],
        "cross_attention_dim": int(unet[first].shape[1]),
        "attention_head_dim": 8,
        "use_linear_projection": linear,
    }


def _autoencoder(autoencoder: Mapping[str, Tensor]) -> dict[str, Any]:
    channels: list[int] = []
    while (name := f"encoder.down.{len(channels)}.block.0.conv2.weight") in autoencoder:
        channels.append(int(autoencoder[name].shape[0]))
    layers = 0
    while f"encoder.down.0.block.{layers}.conv1.weight" in autoencoder:
        layers += 1
    return {
        "_class_name": "AutoencoderKL",
        "in_channels": 3,
        "out_channels": 3,
        "latent_channels": int(autoencoder["decoder.conv_in.weight"].shape[1]),
        "block_out_channels": channels,
        "layers_per_block": layers,
        "down_block_types": ["DownEncoderBlock2D"] * len(channels),
        "up_block_types": ["UpDecoderBlock2D"] * len(channels),
        "sample_size": 512,
        "scaling_factor": 0.18215,
    }


def _text_encoder(path: Path, text: Mapping[str, Tensor]) -> dict[str, Any]:
    vocabulary, width = text[f"{TEXT_LEVEL}embeddings.token_embedding.weight"].shape
    if vocabulary != VOCABULARY_SIZE:
        raise BenchError(
            f"{path}: its text encoder knows {vocabulary} tokens, CLIP's tokenizer has {VOCABULARY_SIZE}, "
            "and a single file holds none of its own: --model takes a pipeline folder with its tokenizer"
        )
    layers = 0
    while f"{TEXT_LEVEL}encoder.layers.{layers}.mlp.fc1.weight" in text:
        layers += 1
    return {
        "architectures": ["CLIPTextModel"],
        "model_type": "clip_text_model",
        "hidden_act": "quick_gelu",
        "hidden_size": int(width),
        "projection_dim": int(width),
        "intermediate_size": int(text[f"{TEXT_LEVEL}encoder.layers.0.mlp.fc1.weight"].shape[0]),
        "num_hidden_layers": layers,
        "num_attention_heads": max(1, int(width) // 64),
        "max_position_embeddings": int(text[f"{TEXT_LEVEL}embeddings.position_embedding.weight"].shape[0]),
        "vocab_size": int(vocabulary),
        "bos_token_id": VOCABULARY_SIZE - 2,
        "eos_token_id": VOCABULARY_SIZE - 1,
        "pad_token_id": VOCABULARY_SIZE - 1,
    }


def _scheduler(tree: Tree, metadata: Mapping[str, str]) -> dict[str, Any]:
    predicts_v = V_PREDICTION in tree or metadata.get("modelspec.prediction_type", "").startswith("v")
    return {
        "_class_name": "DDIMScheduler",
        "num_train_timesteps": 1000,
        "beta_start": 0.00085,
        "beta_end": 0.012,
        "beta_schedule": "scaled_linear",
        "prediction_type": "v_prediction" if predicts_v else "epsilon",
        "rescale_betas_zero_snr": ZERO_SNR in tree,
        "clip_sample": False,
        "set_alpha_to_one": False,
        "steps_offset": 1,
    }


def _write(folder: Path, configs: Mapping[str, dict[str, Any]], tree: Tree) -> None:
    from diffusers import AutoencoderKL, UNet2DConditionModel
    from safetensors.torch import save_file

    for part, config in configs.items():
        (folder / part).mkdir()
        name = "scheduler_config.json" if part == "scheduler" else "config.json"
        (folder / part / name).write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    kinds: tuple[tuple[str, Any, str], ...] = (
        ("unet", UNet2DConditionModel, UNET_PREFIX),
        ("vae", AutoencoderKL, AUTOENCODER_PREFIX),
    )
    for part, kind, prefix in kinds:
        held = {name: tensor for name, tensor in _averaged(tree).items() if name.startswith(prefix)}
        network = kind.from_single_file(
            held,
            config=str(folder),
            subfolder=part,
            local_files_only=True,
            torch_dtype=next(iter(held.values())).dtype,
        )
        network.save_pretrained(folder / part, max_shard_size="100GB")
    text = {name: tensor.contiguous() for name, tensor in _text(tree).items()}
    save_file(text, folder / "text_encoder" / "model.safetensors", {"format": "pt"})
    write_tokenizer(folder / "tokenizer", configs["text_encoder"]["max_position_embeddings"])
    index = {
        "_class_name": "StableDiffusionPipeline",
        "scheduler": ["diffusers", "DDIMScheduler"],
        "text_encoder": ["transformers", "CLIPTextModel"],
        "tokenizer": ["transformers", "CLIPTokenizer"],
        "unet": ["diffusers", "UNet2DConditionModel"],
        "vae": ["diffusers", "AutoencoderKL"],
        "safety_checker": [None, None],
        "feature_extractor": [None, None],
        "requires_safety_checker": False,
    }
    (folder / "model_index.json").write_text(json.dumps(index, indent=2) + "\n", encoding="utf-8")


def _averaged(tree: Tree) -> Tree:
    """The tree with the UNet's EMA weights, where there are any, in the place of the raw ones."""
    if not any(name.startswith(EMA_PREFIX) for name in tree):
        return tree
    return {
        name: tree.get(ema_name(name.removeprefix(UNET_PREFIX)), tensor)
        if name.startswith(UNET_PREFIX)
        else tensor
        for name, tensor in tree.items()
    }
