"""The oracle: a small convolutional network with one softmax for each question about a picture."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional as F

WEIGHTS_FILE = "oracle.safetensors"
CARD_FILE = "oracle.json"
MAP = 4
"""Height and width of the map that says where things are."""


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
    """Strided convolutions and residual blocks down to a 16th of the size, one linear head per question.

    `heads` maps a head's name to its labels. `descriptor` is the length of the penultimate layer, which
    pools over the picture. With `places` above 0 the heads also read so many channels of a 4x4 map, which
    says where things are. Logits are divided by the head's temperature (1 until `calibrate`), so that
    their softmax is calibrated.
    """

    def __init__(
        self, heads: dict[str, tuple[str, ...]], widths: tuple[int, ...], descriptor: int, places: int = 0
    ) -> None:
        super().__init__()
        self.heads = {name: tuple(labels) for name, labels in heads.items()}
        self.widths = tuple(widths)
        self.descriptor_size = descriptor
        self.places = places
        self.temperatures = dict.fromkeys(self.heads, 1.0)
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
        read = descriptor
        if places:
            self.place = nn.Conv2d(before, places, 1)
            self.locate = nn.Linear(places * MAP * MAP, descriptor)
            read += descriptor
        self.classify = nn.ModuleDict(
            {name: nn.Linear(read, len(labels)) for name, labels in self.heads.items()}
        )

    def _penultimate(self, features: Tensor) -> Tensor:
        pooled = torch.cat([features.mean(dim=(2, 3)), features.amax(dim=(2, 3))], dim=1)
        return self.project(pooled)

    def _trunk(self, images: Tensor) -> Tensor:
        return self.trunk(images * 2 - 1)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Logits of every head, [n, labels], for float images [n, 3, height, width] in [0, 1]."""
        features = self._trunk(images)
        read = F.relu(self._penultimate(features))
        if self.places:
            where = F.adaptive_avg_pool2d(F.relu(self.place(features)), MAP).flatten(1)
            read = torch.cat([read, F.relu(self.locate(where))], dim=1)
        return {name: layer(read) / self.temperatures[name] for name, layer in self.classify.items()}

    def features(self, images: Tensor) -> Tensor:
        """What the picture shows wherever it is, [n, descriptor], for float images in [0, 1]."""
        return F.relu(self._penultimate(self._trunk(images)))

    def descriptor(self, images: Tensor) -> Tensor:
        """Unit-length descriptors [n, descriptor] for float images [n, 3, height, width] in [0, 1]."""
        return F.normalize(self._penultimate(self._trunk(images)), dim=1)

    def calibrate(self, temperatures: Mapping[str, float]) -> None:
        """Divide each head's logits by its temperature from now on; heads left out keep theirs."""
        self.temperatures |= {head: float(temperatures[head]) for head in self.heads if head in temperatures}

    @property
    def settings(self) -> dict[str, Any]:
        """What `OracleNetwork` must be built with to take these weights."""
        return {
            "heads": {name: list(labels) for name, labels in self.heads.items()},
            "widths": list(self.widths),
            "descriptor": self.descriptor_size,
            "places": self.places,
        }

    @classmethod
    def load(cls, folder: str | Path) -> "OracleNetwork":
        """Read `oracle.json` and `oracle.safetensors`; in eval mode, fp32, without gradients.

        `card` holds the JSON: temperatures, accuracy, the descriptor's threshold, training facts.
        """
        folder = Path(folder)
        card = json.loads((folder / CARD_FILE).read_text(encoding="utf-8"))
        settings = card["architecture"]
        network = cls(
            settings["heads"], tuple(settings["widths"]), settings["descriptor"], settings["places"]
        )
        stored = load_file(folder / WEIGHTS_FILE)
        network.load_state_dict(
            {name: t.float() if t.is_floating_point() else t for name, t in stored.items()}
        )
        network.calibrate(card.get("temperatures", {}))
        network.card = card
        return network.eval().requires_grad_(False)
