"""Do a pipeline's parts fit one another, and can they be drawn with? Known from its configs alone.

Imports no torch and reads no weights: what is wrong is one line before anything is drawn.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from erasure_bench.errors import BenchError
from erasure_bench.models.json_files import read_json
from erasure_bench.models.noise_schedule import NoiseSchedule, noise_schedule
from erasure_bench.models.pipeline_files import check_kind, incomplete, missing_files
from erasure_bench.stand_ins import refuse_stand_in

AUTOENCODERS = ("AutoencoderKL", "AutoencoderTiny")
EXTENSIONS = ("addition_embed_type", "class_embed_type", "time_cond_proj_dim", "encoder_hid_dim_type")
ENDLESS = 10**6
"""A tokenizer whose files name no length says 10**30 of itself."""

CLIP_DEFAULTS = {"hidden_size": 512, "max_position_embeddings": 77, "vocab_size": 49408}
UNET_DEFAULTS = {"in_channels": 4, "out_channels": 4, "cross_attention_dim": 1280}
VAE_DEFAULTS = {"latent_channels": 4}
"""What the libraries take where a config does not say it."""


def check_pipeline(directory: Path) -> None:
    """Raises BenchError, in one line, where a pipeline's files are missing or do not fit one another."""
    if missing := missing_files(directory):
        raise BenchError(incomplete(directory, missing))
    check_kind(directory)
    configs = {part: read_json(directory / part / "config.json") for part in ("unet", "vae", "text_encoder")}
    text = text_config(configs["text_encoder"])
    try:
        pipeline_schedule(directory)
        check_parts(configs["unet"], configs["vae"], text)
        check_tokenizer(named_length(directory), vocabulary_size(directory), text)
        for part in ("unet", "vae"):
            blocks(configs[part], part)
    except BenchError as error:
        raise BenchError(f"{directory}: {error}") from error
    except (TypeError, ValueError, AttributeError, KeyError) as error:
        reason = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
        raise BenchError(f"{directory}: its configs have values of the wrong kind: {reason}") from error


def blocks(config: Mapping[str, Any], part: str) -> int:
    """The resolutions that a UNet or autoencoder works at. Raises BenchError where its config names none."""
    # diffusers writes the first for every network; a tiny autoencoder of its first years has the second only.
    found = config.get("block_out_channels") or config.get("encoder_block_out_channels")
    if not isinstance(found, list | tuple) or not found:
        raise BenchError(
            f"{part}/config.json: block_out_channels {found!r}: the sizes of pictures cannot be known"
        )
    return len(found)


def pipeline_schedule(directory: Path) -> NoiseSchedule:
    """The noise schedule that a pipeline was trained on. Raises BenchError where it cannot be drawn with."""
    return noise_schedule(read_json(directory / "scheduler" / "scheduler_config.json"))


def text_length(directory: Path) -> int:
    """Tokens that a pipeline's text encoder is given; a longer prompt is cut."""
    text = text_config(read_json(directory / "text_encoder" / "config.json"))
    return check_tokenizer(named_length(directory), None, text)


def text_config(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """The text encoder's own settings, which a config of a whole CLIP has on a level of their own."""
    inner = config.get("text_config")
    return CLIP_DEFAULTS | dict(inner if isinstance(inner, Mapping) else config)


def check_parts(unet: Mapping[str, Any], vae: Mapping[str, Any], text: Mapping[str, Any]) -> None:
    """Raises BenchError when the configs are not those of a plain text-to-image latent diffusion model."""
    unet, vae = UNET_DEFAULTS | dict(unet), VAE_DEFAULTS | dict(vae)
    if vae.get("_class_name") not in AUTOENCODERS:
        raise BenchError(f"autoencoder {vae.get('_class_name')}; valid: {', '.join(AUTOENCODERS)}")
    if unet.get("_class_name", "UNet2DConditionModel") != "UNet2DConditionModel":
        raise BenchError(f"denoiser {unet['_class_name']}; valid: UNet2DConditionModel")
    channels = vae["latent_channels"]
    if unet["in_channels"] != channels or unet["out_channels"] != channels:
        raise BenchError(
            f"the UNet takes {unet['in_channels']} and gives {unet['out_channels']} channels, the "
            f"autoencoder has {channels}; inpainting and other extended models are not supported"
        )
    if unet["cross_attention_dim"] != text["hidden_size"]:
        raise BenchError(
            f"the UNet attends to text of width {unet['cross_attention_dim']}, "
            f"the text encoder gives {text['hidden_size']}"
        )
    for extra in EXTENSIONS:
        if unet.get(extra) is not None:
            raise BenchError(f"UNets with {extra} (SDXL, LCM) are not supported")
    if vae.get("shift_factor"):
        raise BenchError(
            f"the autoencoder shifts its latents by {vae['shift_factor']:g}, as those of Stable Diffusion 3 "
            "and Flux do: not supported"
        )
    side = unet.get("sample_size")
    sides = side if isinstance(side, list | tuple) else [side]
    if not sides or not all(isinstance(each, int) and each > 0 for each in sides):
        raise BenchError(
            f"unet/config.json: sample_size {side!r}: the native side in latents is not known; "
            "write it there (64 for 512 pixels)"
        )


def check_tokenizer(length: int | None, vocabulary: int | None, text: Mapping[str, Any]) -> int:
    """The tokens that a prompt is padded and cut to: the tokenizer's own length, or the text encoder's.

    `length` and `vocabulary` are the tokenizer's, None where they are not known. Raises BenchError where
    the text encoder has no place for what the tokenizer gives.
    """
    positions = int(text["max_position_embeddings"])
    if length is None or length >= ENDLESS:
        length = positions
    if length > positions:
        raise BenchError(
            f"the tokenizer's model_max_length is {length}, the text encoder has {positions} positions "
            f"(tokenizer/tokenizer_config.json: set model_max_length to {positions})"
        )
    if vocabulary is not None and vocabulary > int(text["vocab_size"]):
        raise BenchError(
            f"the tokenizer has {vocabulary} tokens, the text encoder knows {text['vocab_size']}: the two "
            "belong to different models"
        )
    return length


def named_length(directory: Path) -> int | None:
    """The length that a tokenizer's files give it, None where they give none."""
    path = directory / "tokenizer" / "tokenizer_config.json"
    length = read_json(path).get("model_max_length") if path.is_file() else None
    return int(length) if isinstance(length, int | float) else None


def vocabulary_size(directory: Path) -> int | None:
    """One more than the highest token of a tokenizer's files; None where they are of another layout."""
    folder = directory / "tokenizer"
    if (folder / "vocab.json").is_file():
        for name in ("vocab.json", "merges.txt"):
            refuse_stand_in(folder / name)
        return 1 + max(read_json(folder / "vocab.json").values(), default=-1)
    content = read_json(folder / "tokenizer.json")
    vocabulary = content.get("model", {}).get("vocab", {})
    added = [token["id"] for token in content.get("added_tokens", [])]
    return 1 + max([*vocabulary.values(), *added], default=-1) if isinstance(vocabulary, dict) else None
