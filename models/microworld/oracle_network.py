"""The oracle: a small convolutional network with one softmax for each question about a picture."""

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional as F

WEIGHTS_FILE = "oracle.safetensors"
CARD_FILE = "oracle.json"


class _Residual(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.first_norm = nn.BatchNorm2d(width)
        self.second = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.second_norm = nn.BatchNorm2d(width)

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.first_norm(self.first(x)))
        return F.relu(x + self.second_norm(self.second(y)))


class OracleNetwork(nn.Module):
    """Strided convolutions and residual blocks from 64x64 down to 4x4, one linear head per question.

    `heads` maps a head's name to its labels. `descriptor` is the penultimate layer, of unit length.
    """

    def __init__(self, heads: dict[str, tuple[str, ...]], widths: tuple[int, ...], descriptor: int) -> None:
        super().__init__()
        self.heads = {name: tuple(labels) for name, labels in heads.items()}
        self.widths = tuple(widths)
        self.descriptor_size = descriptor
        self.card: dict[str, Any] = {}
        layers: list[nn.Module] = []
        before = 3
        for i, width in enumerate(self.widths):
            size = 5 if i == 0 else 3
            layers += [
                nn.Conv2d(before, width, size, stride=2, padding=size // 2, bias=False),
                nn.BatchNorm2d(width),
                nn.ReLU(),
            ]
            if i > 0:
                layers.append(_Residual(width))
            before = width
        self.trunk = nn.Sequential(*layers)
        self.project = nn.Linear(2 * before, descriptor)
        self.classify = nn.ModuleDict(
            {name: nn.Linear(descriptor, len(labels)) for name, labels in self.heads.items()}
        )

    def _penultimate(self, images: Tensor) -> Tensor:
        features = self.trunk(images * 2 - 1)
        pooled = torch.cat([features.mean(dim=(2, 3)), features.amax(dim=(2, 3))], dim=1)
        return self.project(pooled)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Logits of every head, [n, labels], for float images [n, 3, 64, 64] in [0, 1]."""
        features = F.relu(self._penultimate(images))
        return {name: layer(features) for name, layer in self.classify.items()}

    def descriptor(self, images: Tensor) -> Tensor:
        """Unit-length descriptors [n, descriptor] for float images [n, 3, 64, 64] in [0, 1]."""
        return F.normalize(self._penultimate(images), dim=1)

    @property
    def settings(self) -> dict[str, Any]:
        """What `OracleNetwork` must be built with to take these weights."""
        return {
            "heads": {name: list(labels) for name, labels in self.heads.items()},
            "widths": list(self.widths),
            "descriptor": self.descriptor_size,
        }

    @classmethod
    def load(cls, folder: str | Path) -> "OracleNetwork":
        """Read `oracle.json` and `oracle.safetensors`; in eval mode, fp32, without gradients.

        `card` holds the rest of the JSON: accuracy, the descriptor's threshold, training facts.
        """
        folder = Path(folder)
        card = json.loads((folder / CARD_FILE).read_text(encoding="utf-8"))
        settings = card["architecture"]
        network = cls(settings["heads"], tuple(settings["widths"]), settings["descriptor"])
        stored = load_file(folder / WEIGHTS_FILE)
        network.load_state_dict(
            {name: t.float() if t.is_floating_point() else t for name, t in stored.items()}
        )
        network.card = card
        return network.eval().requires_grad_(False)
