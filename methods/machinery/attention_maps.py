"""Where the cross-attention looks: its probabilities, which the fused kernels never write down."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

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


def _heads(tensor: Tensor, heads: int) -> Tensor:
    """[n, positions, width] as [n, heads, positions, width / heads]."""
    return tensor.unflatten(-1, (heads, -1)).transpose(1, 2)
