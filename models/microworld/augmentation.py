"""What training does to a picture before a network sees it."""

import torch
from torch import Tensor
from torch.nn import functional as F

from erasure_bench.models.microworld.corruption import blur, grain, uniform

MOST_BLUR = 3.0
"""Largest standard deviation of the blur, in pixels."""
MOST_GRAIN = 45 / 255
SPOILT_SHARE = 0.35
"""How many pictures are blurred, and how many grained, each by up to the most."""


def augment(images: Tensor, generator: torch.Generator) -> Tensor:
    """Shift, scale, blur, grain, brightness and contrast, picture by picture; [0, 1] in and out.

    Most pictures keep their sharpness: `SPOILT_SHARE` of them are blurred and as many grained, so that a
    network trained on these sees through both.
    """
    n, device = len(images), images.device

    def between(low: float, high: float) -> Tensor:
        return uniform((n,), low, high, generator, device)

    def sometimes(most: float) -> Tensor:
        return between(0, most) * (between(0, 1) < SPOILT_SHARE)

    grid = torch.zeros(n, 2, 3, device=device)
    grid[:, 0, 0] = grid[:, 1, 1] = between(0.9, 1.08)
    grid[:, 0, 2], grid[:, 1, 2] = between(-0.09, 0.09), between(-0.09, 0.09)
    moved = F.grid_sample(
        images,
        F.affine_grid(grid, list(images.shape), align_corners=False),
        padding_mode="border",
        align_corners=False,
    )
    contrast, brightness = between(0.85, 1.15).view(n, 1, 1, 1), between(-0.08, 0.08).view(n, 1, 1, 1)
    lit = (blur(moved, sometimes(MOST_BLUR)) - 0.5) * contrast + 0.5 + brightness
    return grain(lit, sometimes(MOST_GRAIN) + between(0, 0.02), generator)
