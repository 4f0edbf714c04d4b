"""The small convolutional classifier of Selective Amnesia's MNIST experiment, of any size.

Heng and Soh, Selective Amnesia, NeurIPS 2023, official code: conv5(1→10)-BN-pool-ReLU,
conv5(10→20)-BN-Dropout2d-pool-ReLU, fc 320→50, dropout, fc 50→10.
"""

import json
from pathlib import Path
from typing import Any, cast

from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional as F

from erasure_bench.models.classifiers.names import CARD_FILE, HEAD, WEIGHTS_FILE


class SmallClassifier(nn.Module):
    """Two convolutions and two linear layers; logits are divided by a temperature (1 until it is fitted).

    `labels` are the classes, `channels` 1 or 3, `side` the pictures' in pixels; `widths` are the channels of
    the convolutions, `kernel` their size with `padding` pixels added, `hidden` the length of the features.
    """

    def __init__(
        self,
        *,
        labels: tuple[str, ...],
        channels: int,
        side: int,
        widths: tuple[int, int] = (10, 20),
        kernel: int = 5,
        padding: int = 0,
        hidden: int = 50,
        dropout: float = 0.5,
    ) -> None:
        super().__init__()
        self.architecture: dict[str, Any] = {
            "heads": {HEAD: list(labels)},
            "channels": channels,
            "side": side,
            "widths": list(widths),
            "kernel": kernel,
            "padding": padding,
            "hidden": hidden,
            "dropout": dropout,
        }
        self.heads = {HEAD: tuple(labels)}
        self.channels = channels
        self.temperature = 1.0
        first, second = widths
        self.trunk = nn.Sequential(
            nn.Conv2d(channels, first, kernel, padding=padding),
            nn.BatchNorm2d(first),
            nn.MaxPool2d(2),
            nn.ReLU(),
            nn.Conv2d(first, second, kernel, padding=padding),
            nn.BatchNorm2d(second),
            nn.Dropout2d(dropout),
            nn.MaxPool2d(2),
            nn.ReLU(),
            nn.Flatten(),
        )
        shrunk = 2 * padding - kernel + 1
        left = ((side + shrunk) // 2 + shrunk) // 2
        self.describe = nn.Linear(second * left * left, hidden)
        self.dropout = nn.Dropout(dropout)
        self.classify = nn.Linear(hidden, len(labels))

    def features(self, images: Tensor) -> Tensor:
        """The layer below the logits, [n, hidden], for RGB images [n, 3, side, side] in [0, 1].

        Before its ReLU, which makes zeros of all that shows nothing: then noise would lie beside the one
        digit that the network hardly knows, and a precision of k nearest neighbours would call it real.
        """
        return cast(Tensor, self.describe(self.trunk(images[:, : self.channels] * 2 - 1)))

    def logits(self, images: Tensor) -> Tensor:
        """[n, classes], divided by the temperature."""
        return cast(Tensor, self.classify(self.dropout(F.relu(self.features(images))))) / self.temperature

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """The same by the name of the only head, as evaluators ask for them."""
        return {HEAD: self.logits(images)}

    @classmethod
    def load(cls, folder: str | Path) -> "SmallClassifier":
        """From the card and the weights in a folder; in eval mode, fp32, without gradients."""
        card = json.loads((Path(folder) / CARD_FILE).read_text(encoding="utf-8"))
        sizes = dict(card["architecture"])
        labels = tuple(sizes.pop("heads")[HEAD])
        network = cls(labels=labels, **sizes | {"widths": tuple(sizes["widths"])})
        network.load_state_dict(load_file(Path(folder) / WEIGHTS_FILE))
        network.temperature = float(card["temperature"])
        return network.eval().requires_grad_(False)
