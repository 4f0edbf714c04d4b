"""Do these tensors belong to that base model? Says which do not, and to what kind of model they might."""

from collections.abc import Iterable, Mapping
from pathlib import Path

from torch import Tensor

from erasure_bench.errors import BenchError
from erasure_bench.models.checkpoints.contents import Contents, WeightsChoice, how_many, some

FOREIGN: dict[str, str] = {
    "conditioner.embedders.": "a Stable Diffusion XL checkpoint",
    "add_embedding.": "a Stable Diffusion XL UNet",
    "label_emb.": "a Stable Diffusion XL or class-conditional UNet",
    "lora_te1_": "a LoRA for Stable Diffusion XL",
    "lora_te2_": "a LoRA for Stable Diffusion XL",
    "text_encoder_2.": "weights of Stable Diffusion XL",
    "cond_stage_model.transformer.attn_layers.": "a latent-diffusion (LDM) checkpoint with its BERT encoder",
    "cond_stage_model.embedding.": "a class-conditional latent-diffusion (LDM) checkpoint",
    "control_model.": "a ControlNet checkpoint",
    "controlnet_cond_embedding.": "a ControlNet",
    "joint_blocks.": "a Stable Diffusion 3 transformer",
    "double_blocks.": "a Flux transformer",
    "double_stream_modulation": "a Flux transformer",
}
"""Beginnings of names, of whole names or behind a dot, that only models of other kinds have."""

TEXT_WIDTHS = {768: "SD 1.x", 1024: "SD 2.x", 1280: "latent-diffusion (LDM)", 2048: "SDXL"}
EXTRA_CHANNELS = {5: "a depth-to-image", 7: "an upscaling", 8: "an instruct-pix2pix", 9: "an inpainting"}
SUPPORTED = "supported: plain text-to-image Stable Diffusion 1.x and 2.x (--model)"


def refuse_foreign(path: Path, names: Iterable[str]) -> None:
    """Raises BenchError where a name gives away a model of a kind that is not supported."""
    for name in names:
        for mark, kind in FOREIGN.items():
            if name.startswith(mark) or f".{mark}" in name:
                raise BenchError(f"{path}: {kind} (it holds {name}); {SUPPORTED}")


def refuse_unknown(where: Path | str, names: list[str]) -> None:
    """Raises BenchError where there are tensors that the base model has no place for."""
    if names:
        raise BenchError(
            f"{where}: {how_many(len(names), 'tensor')} that the base model does not have, such as "
            f"{some(names)}: the weights belong to another base model (--model)"
        )


def refuse_scale(path: Path, scale: float, taken_for: str) -> None:
    """Raises BenchError where whole weights are asked for by degrees, as only a change can be."""
    if scale != 1:
        raise BenchError(
            f"{path}: scale={scale:g} is for a LoRA; this is a {taken_for} (--method-option NAME.scale=1)"
        )


def refuse_choice(path: Path, weights: WeightsChoice, taken_for: str) -> None:
    """Raises BenchError where one of two kinds of weights is asked for and there is one kind alone."""
    if weights != "ema":
        raise BenchError(
            f"{path}: weights={weights} is for a compvis checkpoint, which may hold two kinds; this is a "
            f"{taken_for} (leave --method-option NAME.weights out)"
        )


def fitted(where: Path | str, contents: Contents, base: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The contents' tensors in the base's shapes, in the file's own precision.

    A Linear and a 1 × 1 convolution are the same thing in two shapes, and SD 2's projections are
    saved as either. Raises BenchError for names, shapes and dtypes that do not fit, and where a
    part is bound to be complete but is not.
    """
    refuse_unknown(where, [name for name in contents.tensors if name not in base])
    for part in contents.complete:
        lacking = [name for name in base if name.startswith(f"{part}.") and name not in contents.tensors]
        if lacking:
            raise BenchError(
                f"{where}, lacks {how_many(len(lacking), 'tensor')} of the "
                f"base model's {part}, such as {some(lacking)}: the weights belong to another base model "
                "(--model), or the file is incomplete"
            )
    return {name: _fitted(where, name, tensor, base[name]) for name, tensor in contents.tensors.items()}


def _fitted(where: Path | str, name: str, tensor: Tensor, own: Tensor) -> Tensor:
    if not tensor.is_floating_point():
        raise BenchError(f"{where}: {name} is of {tensor.dtype}; quantised weights are not supported")
    if tensor.shape != own.shape and _squeezed(tensor) == _squeezed(own):
        tensor = tensor.reshape(own.shape)
    if tensor.shape != own.shape:
        raise BenchError(
            f"{where}: {name} has the shape {tuple(tensor.shape)}, the base model's has {tuple(own.shape)}: "
            f"the weights belong to another base model{_which(name, tensor, own)} (--model)"
        )
    # A view of a larger storage would drag all of it along into the edit's file.
    return tensor.clone() if tensor.untyped_storage().nbytes() > tensor.nbytes else tensor


def _squeezed(tensor: Tensor) -> tuple[int, ...]:
    """The shape, where it is a 1 × 1 convolution's that of the Linear it equals."""
    shape = tuple(tensor.shape)
    return shape[:2] if len(shape) == 4 and shape[2:] == (1, 1) else shape


def _which(name: str, tensor: Tensor, own: Tensor) -> str:
    """In brackets, the kind of model that such a shape is known from, or nothing."""
    if tensor.dim() < 2:
        return ""
    width = tensor.shape[1]
    if name == "unet.conv_in.weight" and width != own.shape[1] and width in EXTRA_CHANNELS:
        return f" ({EXTRA_CHANNELS[width]} model, which is not supported)"
    if name.endswith(("attn2.to_k.weight", "attn2.to_v.weight")) and width in TEXT_WIDTHS:
        return f" ({TEXT_WIDTHS[width]})"
    return ""
