"""ImageNet's 1,000 classes under torchvision's names, and where Imagenette's ten are among them."""

from collections.abc import Mapping, Sequence

from erasure_bench.errors import BenchError
from erasure_bench.evaluators.packages import required_module

NAME = "imagenet"
"""What the option `labels` calls them by."""
CLASSES = 1000
TAG = "IMAGENET1K"
"""What torchvision's tags of weights for these classes begin with."""

IMAGENETTE: Mapping[str, int] = {
    "tench": 0,
    "English springer": 217,
    "cassette player": 482,
    "chain saw": 491,
    "church": 497,
    "French horn": 566,
    "garbage truck": 569,
    "gas pump": 571,
    "golf ball": 574,
    "parachute": 701,
}
"""Index of each class in the output of a network for all 1,000, among which ESD counts its predictions."""


def imagenet_labels() -> list[str]:
    """The labels in the order of the output; imports torchvision, which takes seconds."""
    models = required_module("torchvision.models", "torchvision", "classifier")
    return distinct(models.ResNet50_Weights.IMAGENET1K_V2.meta["categories"])


def distinct(categories: Sequence[str]) -> list[str]:
    """ImageNet's list names two classes "crane" and two "maillot": later ones get their index."""
    seen: set[str] = set()
    labels = []
    for index, name in enumerate(categories):
        labels.append(f"{name} #{index}" if name in seen else name)
        seen.add(name)
    return labels


def check_imagenette(heads: Mapping[str, Sequence[str]], where: str) -> None:
    """Raises BenchError where the classes do not lie where ImageNet's 1,000 have them.

    A list of labels in another order, by the alphabet or by Imagenette alone, would give wrong numbers
    without a word.
    """
    labels = next(iter(heads.values()))
    wrong = [name for name, place in IMAGENETTE.items() if labels[place : place + 1] != (name,)]
    if len(heads) != 1 or len(labels) != CLASSES or wrong:
        place = f"{wrong[0]!r} is not number {IMAGENETTE[wrong[0]]}" if wrong else f"{len(labels)} labels"
        raise BenchError(
            f"classifier {where}: its labels are not ImageNet's {CLASSES:,} in their order ({place}): name "
            f"the right ones (--evaluator-option labels={NAME}), or leave out classes=imagenette"
        )
