"""Checkpoints in the names of CompVis' code base (.ckpt), whole, partial, raw or EMA.

compvis numbers the UNet's layers through all resolutions, diffusers within each. Which number is
which follows from the base model's own names, so that any UNet of this family converts.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from itertools import count

from torch import Tensor

from erasure_bench.errors import BenchError
from erasure_bench.models.checkpoints.contents import (
    Contents,
    Format,
    Source,
    Target,
    how_many,
    is_flat,
    some,
)
from erasure_bench.models.checkpoints.fitting import refuse_unknown
from erasure_bench.models.checkpoints.names import BUFFERS, TEXT_LEVEL, extents
from erasure_bench.models.checkpoints.reading import Tree

UNET_PREFIXES = ("model.diffusion_model.", "diffusion_model.", "")
EMA_PREFIX = "model_ema."
EMA_UNET_PREFIX = "model_ema.diffusion_model"
TEXT_PREFIX = "cond_stage_model.transformer."
OPEN_CLIP_PREFIX = "cond_stage_model.model."
AUTOENCODER_PREFIX = "first_stage_model."
EMBEDDING = "embed"
"""How Concept Ablation's code saves the token embedding: all of it, or only the rows of tokens it added."""
TOKEN_EMBEDDING = "text_encoder.embeddings.token_embedding.weight"

ON_RAW_WEIGHTS = (
    "the rest is the base model's: compvis code trains on a .ckpt's raw weights as a rule, diffusers' "
    "models hold the EMA ones, so a delta may sit on weights slightly other than these"
)

OUTSIDE_BLOCKS = {
    "conv_in": "input_blocks.0.0",
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
    "conv_norm_out": "out.0",
    "conv_out": "out.2",
}
WITHIN_RESNET = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "time_emb_proj": "emb_layers.1",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "conv_shortcut": "skip_connection",
}
LAYER = re.compile(
    r"(?P<layer>(?P<stack>(?:down|up)_blocks\.\d+|mid_block)"
    r"\.(?P<kind>resnets|attentions|downsamplers|upsamplers)\.\d+)\.(?P<rest>.+)"
)
BARE_NAME = re.compile(r"((input|output)_blocks\.\d+\.|middle_block\.|time_embed\.|out\.)\d+\.")


def compvis_names(names: Iterable[str]) -> dict[str, str]:
    """diffusers' name -> compvis' name, neither with a prefix, for the parameters of a whole UNet.

    Names that compvis has no counterpart for are left out.
    """
    names = tuple(names)
    layers = {match["layer"] for name in names if (match := LAYER.fullmatch(name))}
    places = dict(_places(layers))
    converted = ((name, _compvis_name(name, places)) for name in names)
    return {name: new for name, new in converted if new is not None}


def ema_name(name: str) -> str:
    """The key of the EMA copy of the UNet tensor with compvis' (unprefixed) `name`: it loses its dots."""
    return EMA_UNET_PREFIX + name.replace(".", "")


def _places(layers: set[str]) -> Iterator[tuple[str, str]]:
    """diffusers' layer -> compvis' layer."""
    number = count(1)
    for block in _numbers(layers, r"down_blocks\.(\d+)\..*"):
        for layer in _numbers(layers, rf"down_blocks\.{block}\.resnets\.(\d+)"):
            here = next(number)
            yield f"down_blocks.{block}.resnets.{layer}", f"input_blocks.{here}.0"
            yield f"down_blocks.{block}.attentions.{layer}", f"input_blocks.{here}.1"
        if f"down_blocks.{block}.downsamplers.0" in layers:
            yield f"down_blocks.{block}.downsamplers.0", f"input_blocks.{next(number)}.0"
    for layer in _numbers(layers, r"mid_block\.resnets\.(\d+)"):
        yield f"mid_block.resnets.{layer}", f"middle_block.{2 * layer}"
        yield f"mid_block.attentions.{layer}", f"middle_block.{2 * layer + 1}"
    number = count(0)
    for block in _numbers(layers, r"up_blocks\.(\d+)\..*"):
        for layer in _numbers(layers, rf"up_blocks\.{block}\.resnets\.(\d+)"):
            here = next(number)
            attends = f"up_blocks.{block}.attentions.{layer}" in layers
            yield f"up_blocks.{block}.resnets.{layer}", f"output_blocks.{here}.0"
            yield f"up_blocks.{block}.attentions.{layer}", f"output_blocks.{here}.1"
            # The last layer's overwrites the others': an upsampler stands behind the whole block.
            yield f"up_blocks.{block}.upsamplers.0", f"output_blocks.{here}.{2 if attends else 1}"


def _numbers(layers: set[str], pattern: str) -> list[int]:
    return sorted({int(match[1]) for layer in layers if (match := re.fullmatch(pattern, layer))})


def _compvis_name(name: str, places: Mapping[str, str]) -> str | None:
    match = LAYER.fullmatch(name)
    if match is None:
        module, _, leaf = name.rpartition(".")
        return f"{OUTSIDE_BLOCKS[module]}.{leaf}" if module in OUTSIDE_BLOCKS else None
    place, rest = places.get(match["layer"]), match["rest"]
    if place is None:
        return None
    match match["kind"]:
        case "attentions":
            return f"{place}.{rest}"
        case "resnets":
            module, _, leaf = rest.rpartition(".")
            return f"{place}.{WITHIN_RESNET[module]}.{leaf}" if module in WITHIN_RESNET else None
        case "downsamplers":
            return f"{place}.op.{rest.removeprefix('conv.')}"
        case _:
            return f"{place}.conv.{rest.removeprefix('conv.')}"


def _matches(tree: Tree) -> bool:
    starts = (*UNET_PREFIXES[:2], EMA_PREFIX, TEXT_PREFIX)
    return is_flat(tree) and any(
        name.startswith(starts) or BARE_NAME.match(name) or name == EMBEDDING for name in tree
    )


def _read(source: Source, target: Target) -> Contents:
    tree = source.tree
    names = compvis_names(target.names("unet"))
    prefix = next(
        prefix for prefix in UNET_PREFIXES if not prefix or any(name.startswith(prefix) for name in tree)
    )
    raw = {name: prefix + compvis for name, compvis in names.items()}
    ema = {name: ema_name(compvis) for name, compvis in names.items()}
    has_raw, has_ema = (any(key in tree for key in keys.values()) for keys in (raw, ema))
    if target.weights == "raw" and has_ema and not has_raw:
        raise BenchError(
            f"{source.path}: holds EMA weights of the UNet and no raw ones (--method-option NAME.weights=ema)"
        )
    use_ema = has_ema and (target.weights == "ema" or not has_raw)
    tensors = {f"unet.{name}": tree[key] for name, key in (ema if use_ema else raw).items() if key in tree}
    tensors |= {
        f"text_encoder.{name.removeprefix(TEXT_PREFIX).removeprefix(TEXT_LEVEL)}": tensor
        for name, tensor in tree.items()
        if name.startswith(TEXT_PREFIX) and not name.endswith(BUFFERS)
    }
    tensors |= _token_embedding(tree, target)
    known = {*raw.values(), *ema.values()}
    refuse_unknown(f"{source.path}, taken for a compvis .ckpt", _unknown(tree, known, prefix))
    # A .ckpt with an autoencoder or an EMA copy is a whole model's; without, it may be a delta.
    whole = has_ema or any(name.startswith(AUTOENCODER_PREFIX) for name in tree)
    notes = tuple(_notes(tree, known, has_raw and has_ema, use_ema))
    if EMBEDDING in tree and TOKEN_EMBEDDING not in tensors:
        notes += (f"not used: {EMBEDDING}, rows of tokens that the base model does not have",)
    if not whole and len(tensors) < len(target.base):
        notes += (ON_RAW_WEIGHTS,)
    kind = (
        "checkpoint"
        if prefix
        else "token embedding"
        if set(tensors) == {TOKEN_EMBEDDING}
        else "UNet state dict"
    )
    return Contents(
        f"compvis {kind}: {extents(tensors, target.base)}{_which(has_raw, has_ema, use_ema)}",
        tensors,
        notes,
        complete=("unet",) if whole else (),
    )


def _token_embedding(tree: Tree, target: Target) -> dict[str, Tensor]:
    """The whole of it by the base's name, nothing where only added rows are there."""
    rows, own = tree.get(EMBEDDING), target.base.get(TOKEN_EMBEDDING)
    if not isinstance(rows, Tensor) or own is None or rows.numel() != own.numel():
        return {}
    return {TOKEN_EMBEDDING: rows.reshape(own.shape)}


def _unknown(tree: Tree, known: set[str], prefix: str) -> list[str]:
    """UNet tensors, raw or EMA, that the base model lacks."""
    if not prefix:
        others = (EMA_PREFIX, "cond_stage_model.", AUTOENCODER_PREFIX)
        return [name for name in tree if name not in known and "." in name and not name.startswith(others)]
    return [name for name in tree if name not in known and name.startswith((prefix, EMA_UNET_PREFIX))]


def _which(has_raw: bool, has_ema: bool, use_ema: bool) -> str:
    if not has_ema:
        return ""
    return ", EMA weights" if use_ema else ", raw weights"


def _notes(tree: Tree, known: set[str], has_both: bool, use_ema: bool) -> Iterator[str]:
    if has_both:
        used, other = ("EMA", "raw") if use_ema else ("raw", "ema")
        yield (
            f"holds raw and EMA weights of the UNet, {used} ones used (--method-option NAME.weights={other})"
        )
    if any(name.startswith(AUTOENCODER_PREFIX) for name in tree):
        yield "its autoencoder (first_stage_model) is not used: the base model's is"
    if any(name.startswith(OPEN_CLIP_PREFIX) for name in tree):
        yield "its text encoder is in OpenCLIP's names and is not used: the base model's is"
    # Names without a dot are the noise schedule's buffers.
    spoken_of = (EMA_PREFIX, AUTOENCODER_PREFIX, "cond_stage_model.")
    others = [name for name in tree if name not in known and "." in name and not name.startswith(spoken_of)]
    if others:
        yield f"{how_many(len(others), 'tensor')} not used: {some(others)}"


COMPVIS = Format("compvis .ckpt, whole, partial or UNet alone, raw or EMA", _matches, _read, has_choice=True)
