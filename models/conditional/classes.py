"""Classes' names as what networks take: one-hot rows."""

from collections.abc import Sequence

import torch
from torch import Tensor

from erasure_bench.errors import UnknownName

NONE = ""
"""The empty condition ∅, in the place of a class's name."""


def one_hot(names: Sequence[str], classes: tuple[str, ...], who: str, *, none: bool) -> Tensor:
    """[n, 1, len(classes)] with a 1 at each name's place; with `none` one place more, the last, for ∅.

    Raises UnknownName for a name that is no class of the model called `who`.
    """
    known = (*classes, NONE) if none else classes
    for name in names:
        if name not in known:
            raise UnknownName(f"class of {who}", name, classes)
    places = torch.tensor([known.index(name) for name in names])
    return torch.nn.functional.one_hot(places, len(known)).float()[:, None]


def as_grey_or_rgb(images: Tensor, channels: int) -> Tensor:
    """RGB `images` [n, 3, …] as a model of so many channels has them: grey ones have three equal channels."""
    return images[:, :channels]


def as_rgb(images: Tensor) -> Tensor:
    """Images [n, 1 or 3, …] as RGB [n, 3, …]."""
    return images.expand(-1, 3, *images.shape[2:])
