"""What every generator of pictures is to the rest: asked by a condition, and changed by edits."""

from collections.abc import Sequence
from typing import Protocol, Self

import torch
from torch import Tensor, nn

from erasure_bench.models.image_families import Family


class ImageModel(Protocol):
    """A generator of pictures that is asked by a condition, which is a text: a prompt, or a class's name.

    `parts` are its networks by name, in eval mode and without gradients until a method asks for them.
    `preset` names the settings that methods and evaluators have for this model, None for the general ones.
    """

    name: str
    digest: str
    preset: str | None
    device: torch.device
    dtype: torch.dtype
    parts: dict[str, nn.Module]

    @property
    def family(self) -> Family:
        """What kind of generator it is."""
        ...

    @property
    def classes(self) -> tuple[str, ...]:
        """The names that it can be asked by; none where it is asked by any text."""
        ...

    @property
    def resolution(self) -> int:
        """The native image side in pixels."""
        ...

    def latent_shape(self, height: int | None = None, width: int | None = None) -> tuple[int, ...]:
        """The shape of the noise that one image of that size starts from; None is the native size.

        Raises BenchError for a size that the model cannot draw.
        """
        ...

    def encode_prompts(self, prompts: Sequence[str]) -> Tensor:
        """The conditions as the networks take them, [n, tokens, width], in the model's dtype."""
        ...

    def encode_images(self, images: Tensor) -> Tensor:
        """What the loss compares with, [n, …], for RGB `images` [n, 3, height, width] in [0, 1]."""
        ...

    def named_tensors(self) -> dict[str, Tensor]:
        """The parameters that an edit may change, as "<part>.<name>"."""
        ...

    def frozen_copy(self, dtype: torch.dtype | None = None) -> Self:
        """The model as it is now, with networks of its own where an edit may change them."""
        ...

    def probe(self, prompt: str | None = None) -> Tensor:
        """A little of what the model computes, [k], on the CPU: the same numbers for the same model.

        `prompt` is what it is asked for, None for a condition that every such model knows.
        """
        ...


def settle(parts: dict[str, nn.Module], device: torch.device, dtype: torch.dtype) -> None:
    """Puts networks on a device in a dtype, in eval mode and without gradients."""
    for part in parts.values():
        part.eval().requires_grad_(False).to(device)
        if any(parameter.dtype != dtype for parameter in part.parameters()):
            part.to(dtype)


def wide(tensor: Tensor) -> Tensor:
    """`tensor` in fp32, or in fp64 where it already is."""
    return tensor.to(torch.promote_types(tensor.dtype, torch.float32))
