"""LPIPS: how differently a network trained on photographs sees two pictures.

Zhang et al., The Unreasonable Effectiveness of Deep Features as a Perceptual Metric, CVPR 2018: the squared
difference of unit-length features, weighted by channel, averaged over the picture and summed over five
layers. Version 0.1 of the authors' weights, which scale their input.
"""

from collections.abc import Mapping
from typing import NamedTuple

import torch
import torchvision
from torch import Tensor, nn

SHIFT, SCALE = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)
"""Pictures in [-1, 1], minus the one, divided by the other, are ImageNet's mean and deviation."""
LEAST = 1e-10
"""Added to a feature's length before it is divided by it."""


class Backbone(NamedTuple):
    """A feature stack of torchvision's: its model's name, and the layers that are compared.

    `layers` are the ReLUs' places in its `features`, `channels` what comes out of them.
    """

    model: str
    layers: tuple[int, ...]
    channels: tuple[int, ...]

    def features(self) -> nn.Sequential:
        """The stack up to the last layer that is compared, without weights (on the meta device)."""
        with torch.device("meta"):
            whole: nn.Sequential = torchvision.models.get_model(self.model, weights=None).features
        return whole[: self.layers[-1] + 1]

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Name -> shape of every tensor: `features.N.weight`, `features.N.bias`, `lin.LAYER` [channels]."""
        stack = self.features().state_dict()
        lin = {f"lin.{place}": (channels,) for place, channels in enumerate(self.channels)}
        return {f"features.{name}": tuple(tensor.shape) for name, tensor in stack.items()} | lin


BACKBONES: Mapping[str, Backbone] = {
    "alex": Backbone("alexnet", (1, 4, 7, 9, 11), (64, 192, 384, 256, 256)),
    "vgg": Backbone("vgg16", (3, 8, 15, 22, 29), (64, 128, 256, 512, 512)),
}


class LPIPS(nn.Module):
    """The distance of pictures pair by pair, with the weights of one backbone.

    `tensors` are named and shaped as in `Backbone.shapes`, float32.
    """

    shift: Tensor
    scale: Tensor

    def __init__(self, backbone: Backbone, tensors: Mapping[str, Tensor]) -> None:
        super().__init__()
        self.layers = frozenset(backbone.layers)
        self.features = backbone.features()
        stack = {name.removeprefix("features."): each for name, each in tensors.items()}
        self.features.load_state_dict({name: stack[name] for name in self.features.state_dict()}, assign=True)
        self.lin = nn.ParameterList([tensors[f"lin.{place}"] for place in range(len(backbone.layers))])
        self.register_buffer("shift", torch.tensor(SHIFT)[:, None, None])
        self.register_buffer("scale", torch.tensor(SCALE)[:, None, None])
        self.eval().requires_grad_(False)

    def forward(self, one: Tensor, other: Tensor) -> Tensor:
        """Distances [n], 0 for equal pictures, of images [n, 3, height, width] in [-1, 1]."""
        seen = (torch.cat([one, other]) - self.shift) / self.scale
        distance = torch.zeros(len(one), device=one.device)
        weights = iter(self.lin)
        for place, layer in enumerate(self.features):
            seen = layer(seen)
            if place in self.layers:
                unit = seen / (seen.square().sum(dim=1, keepdim=True).sqrt() + LEAST)
                squares = (unit[: len(one)] - unit[len(one) :]).square()
                distance = distance + torch.einsum("nchw,c->nhw", squares, next(weights)).mean(dim=(1, 2))
        return distance
