"""Hooks in a network that are gone again after use."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn


@contextmanager
def output_changed(module: nn.Module, change: Callable[[Tensor, Tensor], Tensor]) -> Iterator[None]:
    """What the module gives is `change` of its (first) input and of its output."""

    def hook(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        return change(inputs[0], output)

    handle = module.register_forward_hook(hook)
    try:
        yield
    finally:
        handle.remove()


@contextmanager
def embeddings_changed(unet: nn.Module, change: Callable[[Tensor], Tensor]) -> Iterator[None]:
    """The text embeddings that the UNet is asked with are `change` of those that it was given."""

    def hook(module: nn.Module, inputs: tuple[Any, ...], named: dict[str, Any]) -> tuple[Any, Any]:
        return inputs, named | {"encoder_hidden_states": change(named["encoder_hidden_states"])}

    handle = unet.register_forward_pre_hook(hook, with_kwargs=True)
    try:
        yield
    finally:
        handle.remove()
