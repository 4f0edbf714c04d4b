"""What is read, what it is read for, and what a format makes of it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple

from torch import Tensor

from erasure_bench.models.checkpoints.reading import Tree

WeightsChoice = Literal["ema", "raw"]
"""Which of a compvis checkpoint's two sets of UNet weights; without effect where there is only one."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Source:
    """One file's content by the file's own names.

    `metadata` is a safetensors file's, `adapter` a PEFT adapter's settings where they are known.
    """

    path: Path
    tree: Tree
    metadata: Mapping[str, str] = field(default_factory=dict)
    adapter: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, eq=False)
class Target:
    """The model that the weights are for, and how the user wants them read.

    `base` are its tensors by the names of `DiffusionModel.named_tensors`, `scale` a LoRA's strength.
    With `shapes_only` neither the base's tensors nor the file's have values.
    """

    base: Mapping[str, Tensor]
    weights: WeightsChoice = "ema"
    scale: float = 1.0
    shapes_only: bool = False

    def names(self, part: str) -> tuple[str, ...]:
        """The names of a part's tensors, without the part."""
        prefix = f"{part}."
        return tuple(name.removeprefix(prefix) for name in self.base if name.startswith(prefix))


class Contents(NamedTuple):
    """A format's reading: full values by the base's names, what the file was taken for, and remarks.

    `complete` names the parts of which the format is bound to hold every tensor.
    """

    format: str
    tensors: dict[str, Tensor]
    notes: tuple[str, ...] = ()
    complete: tuple[str, ...] = ()


class Format(NamedTuple):
    """A kind of file, told by the names and levels in it.

    `has_scale` says whether it holds a change of the base, which can be applied by degrees,
    `has_choice` whether it may hold averaged weights beside the raw ones.
    """

    title: str
    matches: Callable[[Tree], bool]
    read: Callable[[Source, Target], Contents]
    has_scale: bool = False
    has_choice: bool = False


def is_flat(tree: Tree) -> bool:
    """Whether there are tensors and no inner levels."""
    return bool(tree) and all(isinstance(value, Tensor) for value in tree.values())


def is_nested(tree: Tree) -> bool:
    """Whether there are inner levels and no tensors beside them."""
    return bool(tree) and all(isinstance(value, Mapping) for value in tree.values())


def how_many(count: int, what: str) -> str:
    """ "1 tensor", "2 tensors"."""
    return f"{count} {what}{'' if count == 1 else 's'}"


def some(names: list[str] | tuple[str, ...], count: int = 3) -> str:
    """The first few names, and that there are more."""
    return ", ".join(names[:count]) + (", …" if len(names) > count else "")
