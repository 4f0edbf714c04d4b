"""Where the cross-attention looks: its probabilities, which the fused kernels never write down."""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from erasure_bench.errors import BenchError
from erasure_bench.methods.machinery.parameters import cross_attentions


@contextmanager
def attention_maps(unet: nn.Module) -> Iterator[list[Tensor]]:
    """A list that every pass of the UNet within adds to, one entry for each cross-attention in its order.

    An entry is softmax(q kᵀ / √d) of shape [n, heads, positions, tokens], with its graph where there is one.
    Empty the list before the next pass.
    """
    maps: list[Tensor] = []
    seen: dict[str, dict[str, Tensor]] = {}
    hooks: list[Any] = []

    def keep(attention: str, part: str) -> Any:
        def hook(module: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> None:
            seen.setdefault(attention, {})[part] = output

        return hook

    def look(attention: str) -> Any:
        def hook(module: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
            found = seen.pop(attention)
            query, key = (_heads(found[part], module.heads) for part in ("q", "k"))
            maps.append((query @ key.transpose(-1, -2) * module.scale).softmax(-1))

        return hook

    for name, module in cross_attentions(unet).items():
        hooks.append(module.get_submodule("to_q").register_forward_hook(keep(name, "q")))
        hooks.append(module.get_submodule("to_k").register_forward_hook(keep(name, "k")))
        hooks.append(module.register_forward_hook(look(name)))
    try:
        yield maps
    finally:
        for hook in hooks:
            hook.remove()


def looked_at(maps: Sequence[Tensor], tokens: slice, side: int, threshold: float) -> Tensor:
    """1 where the mean of the maps of `side` × `side` positions, at the `tokens`, is at least `threshold`.

    The mean is scaled to [0, 1] for each picture; [n, 1, side, side]. Raises BenchError where no map has
    that size.
    """
    chosen = [each for each in maps if each.shape[2] == side**2]
    if not chosen:
        sides = sorted({math.isqrt(each.shape[2]) for each in maps})
        raise BenchError(
            f"mask_side={side}: this model's cross-attention has maps of side "
            f"{', '.join(map(str, sides))} (--method-option mask_side=…)"
        )
    looked = torch.stack([each[..., tokens].mean((1, 3)) for each in chosen]).mean(0)
    least, most = looked.amin(1, keepdim=True), looked.amax(1, keepdim=True)
    scaled = (looked - least) / (most - least).clamp(min=1e-12)
    return (scaled >= threshold).float().unflatten(1, (1, side, side))


def _heads(tensor: Tensor, heads: int) -> Tensor:
    """[n, positions, width] as [n, heads, positions, width / heads]."""
    return tensor.unflatten(-1, (heads, -1)).transpose(1, 2)
