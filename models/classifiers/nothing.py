"""Pictures that show no class: what an evaluation classifier must be unsure of.

Hendrycks, Mazeika and Dietterich, Deep Anomaly Detection with Outlier Exposure, ICLR 2019: of such pictures
the classifier is taught the uniform distribution. An eraser that leaves noise or an even grey then reads as
one, and not as whichever class noise happens to fall to.
"""

import math
from collections.abc import Callable, Mapping

import torch
from torch import Generator, Tensor
from torch.nn import functional as F

Family = Callable[[Tensor, Generator], Tensor]
"""From pictures [n, channels, side, side] in [0, 1] as many that show nothing, of the same shape."""


def _uniform(shape: tuple[int, ...], generator: Generator) -> Tensor:
    return torch.rand(shape, generator=generator, device=generator.device)


def _even_to_noise(pictures: Tensor, generator: Generator) -> Tensor:
    """A grey or a colour with uniform noise on it, of any strength from none to all."""
    count, channels, *_ = pictures.shape
    colour = _uniform((count, channels, 1, 1), generator)
    strength = _uniform((count, 1, 1, 1), generator).square()
    return torch.lerp(colour, _uniform(tuple(pictures.shape), generator), strength)


def _smooth_noise(pictures: Tensor, generator: Generator) -> Tensor:
    """Noise on a grid two to four times as coarse, of any contrast."""
    side, count = pictures.shape[-1], len(pictures)
    coarse = max(2, side // (2 if float(_uniform((1,), generator)) < 0.5 else 4))
    noise = _uniform((count, pictures.shape[1], coarse, coarse), generator)
    smooth = F.interpolate(noise, (side, side), mode="bilinear", align_corners=False)
    return 0.5 + (smooth - 0.5) * _uniform((count, 1, 1, 1), generator)


def _shuffled_pixels(pictures: Tensor, generator: Generator) -> Tensor:
    """The pictures' own pixels in random order."""
    places = _uniform((len(pictures), pictures[0, 0].numel()), generator).argsort(dim=1)
    order = places[:, None].expand(-1, pictures.shape[1], -1)
    return pictures.flatten(2).gather(2, order).reshape(pictures.shape)


def _gratings(pictures: Tensor, generator: Generator) -> Tensor:
    """Parallel waves, one to three to the picture, in any direction."""
    count, side = len(pictures), pictures.shape[-1]
    line = torch.linspace(0, 1, side, device=pictures.device)
    angle, waves, phase = (_uniform((count, 1, 1), generator) for _ in range(3))
    way = (math.pi * angle).cos() * line + (math.pi * angle).sin() * line[:, None]
    wave = 0.5 + 0.5 * torch.sin(2 * math.pi * ((1 + 2 * waves) * way + phase))
    return wave[:, None].expand(pictures.shape).contiguous()


def _salt_and_pepper(pictures: Tensor, generator: Generator) -> Tensor:
    """Black and white pixels, half of each."""
    return (_uniform(tuple(pictures.shape), generator) < 0.5).float()


TRAINED: Mapping[str, Family] = {
    "an even colour to uniform noise": _even_to_noise,
    "smooth noise": _smooth_noise,
    "shuffled pixels": _shuffled_pixels,
}
"""What a classifier is shown in training."""

UNSEEN: Mapping[str, Family] = {"gratings": _gratings, "salt and pepper": _salt_and_pepper}
"""What it is only measured on: whether it has learnt what nothing is, and not a list."""


def mixed(pictures: Tensor, generator: Generator) -> Tensor:
    """As many pictures of nothing as `pictures`, the trained families in equal parts."""
    parts = pictures.tensor_split(len(TRAINED))
    return torch.cat(
        [family(part, generator) for family, part in zip(TRAINED.values(), parts, strict=True) if len(part)]
    )
