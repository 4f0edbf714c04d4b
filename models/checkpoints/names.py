"""Diffusers' and transformers' names of weights, as files spell them, and the base model's own."""

from collections.abc import Iterable
from typing import NamedTuple

from torch import Tensor

from erasure_bench.models.checkpoints.contents import how_many, some
from erasure_bench.models.checkpoints.reading import Tree

UNET_STARTS = (
    "conv_in.",
    "time_embedding.",
    "down_blocks.",
    "mid_block.",
    "up_blocks.",
    "conv_norm_out.",
    "conv_out.",
)
TEXT_STARTS = ("embeddings.", "encoder.layers.", "final_layer_norm.")
TEXT_LEVEL = "text_model."
"""A level of CLIP's names that files have and transformers 5 has not."""

BUFFERS = ("embeddings.position_ids",)
"""Not weights: older transformers saved them along."""

TITLES = {"unet": "UNet", "text_encoder": "text encoder"}
OTHER_PARTS = ("vae.", "safety_checker.", "vision_model.", "visual_projection.", "text_projection.")


class Renamed(NamedTuple):
    """Tensors by the base model's names, and the file's names that were left out."""

    tensors: dict[str, Tensor]
    left_out: list[str]


def full_name(name: str, part: str | None = None) -> str:
    """The name in `DiffusionModel.named_tensors` of what a file calls `name`; `part` if it is known.

    "text_encoder.text_model.x", "text_model.x" and CLIP's own names belong to the text encoder,
    "unet.x" and everything else to the UNet.
    """
    bare = name.removeprefix(TEXT_LEVEL)
    if part == "text_encoder" or (part is None and bare.startswith(TEXT_STARTS)):
        return f"text_encoder.{bare}"
    if part is None and name.startswith("text_encoder."):
        return f"text_encoder.{name.removeprefix('text_encoder.').removeprefix(TEXT_LEVEL)}"
    return f"unet.{name.removeprefix('unet.')}"


def is_known(name: str) -> bool:
    """Whether `name` looks like diffusers' or transformers' for a weight of the two parts."""
    part, _, rest = full_name(name).partition(".")
    return rest.startswith(UNET_STARTS if part == "unet" else TEXT_STARTS)


def renamed(tree: Tree, part: str | None = None) -> Renamed:
    """A flat state dict by the base model's names."""
    tensors, left_out = {}, []
    for name, tensor in tree.items():
        if name.startswith(OTHER_PARTS):
            left_out.append(name)
        elif not name.endswith(BUFFERS):
            tensors[full_name(name, part)] = tensor
    return Renamed(tensors, left_out)


def left_out_note(names: list[str]) -> tuple[str, ...]:
    """A remark on tensors that are not used, where there are any."""
    return (f"{how_many(len(names), 'tensor')} not used: {some(names)}",) if names else ()


def extents(names: Iterable[str], base: Iterable[str]) -> str:
    """How much of the base model is there: "full UNet", "32 of 686 UNet tensors and full text encoder"."""
    held, own = set(names), tuple(base)
    parts = []
    for part, title in TITLES.items():
        whole = [name for name in own if name.startswith(f"{part}.")]
        there = sum(name in held for name in whole)
        if there:
            parts.append(
                f"full {title}" if there == len(whole) else f"{there} of {len(whole)} {title} tensors"
            )
    return " and ".join(parts) or "no tensor of the base model"
