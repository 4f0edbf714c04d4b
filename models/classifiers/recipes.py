"""How the evaluation classifier of each data set is built and trained."""

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

from erasure_bench.models.microworld.settings import Schedule

if TYPE_CHECKING:
    from torch import nn

    from erasure_bench.models.datasets.base import DatasetCard


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """A network's kind and sizes, its schedule, and what its batches are made of.

    `nothing_share` of a batch shows no class (`nothing`), the target there being uniform. `shift` (a share of
    the side) and `turn` (degrees) are how far pictures are moved and turned at most; `mirror` flips half.
    """

    dataset: str
    kind: Literal["small", "residual"]
    sizes: dict[str, Any] = field(default_factory=dict)
    schedule: Schedule
    nothing_share: float = 0.2
    shift: float = 0.0
    turn: float = 0.0
    mirror: bool = False


_SCHEDULE = Schedule(steps=2_000, batch=128, lr=3e-3, weight_decay=0.05)
_DIGITS = Recipe(
    dataset="digits",
    kind="small",
    sizes={"widths": (32, 64), "kernel": 3, "padding": 1, "hidden": 64},
    schedule=_SCHEDULE,
    shift=0.06,
    turn=10,
)
_MNIST = Recipe(
    dataset="mnist",
    kind="small",
    sizes={"widths": (32, 64), "hidden": 64},
    schedule=_SCHEDULE,
    shift=0.05,
    turn=10,
)
_CIFAR = Recipe(
    dataset="cifar10",
    kind="residual",
    sizes={"network": "resnet34", "start": "IMAGENET1K_V1"},
    schedule=Schedule(steps=8_000, batch=64, lr=1e-4, weight_decay=5e-4),
    nothing_share=0.1,
    mirror=True,
)
RECIPES: dict[str, Recipe] = {
    "digits": _DIGITS,
    "digits-plain": replace(_DIGITS, nothing_share=0.0),
    "mnist": _MNIST,
    "mnist-plain": replace(_MNIST, nothing_share=0.0),
    "fashion-mnist": replace(
        _MNIST, dataset="fashion-mnist", sizes=_MNIST.sizes | {"hidden": 128}, turn=0.0, mirror=True
    ),
    "cifar10": _CIFAR,
    "stl10": replace(_CIFAR, dataset="stl10"),
}
"""By the classifier's name, which is its data set's. Selective Amnesia's MNIST classifier is narrower and is
shown no pictures of nothing, as those called plain; its ResNet-34 begins with the same weights."""


def build_network(recipe: Recipe, card: "DatasetCard") -> "nn.Module":
    """The network with what it begins with: random weights, or torchvision's."""
    if recipe.kind == "small":
        from erasure_bench.models.classifiers.small import SmallClassifier

        return SmallClassifier(labels=card.classes, channels=card.channels, side=card.side, **recipe.sizes)
    from erasure_bench.models.classifiers.residual import ResidualClassifier

    return ResidualClassifier(labels=card.classes, **recipe.sizes)
