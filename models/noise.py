"""Where every random number of an image comes from: one CPU generator per image.

A picture is then the same whatever the batch, the worker or the order it is drawn in.
"""

from collections.abc import Sequence

import torch
from torch import Generator, Tensor


def image_generator(seed: int) -> Generator:
    """The generator that draws an image's start noise and then, with DDIM's η > 0, each step's noise."""
    return Generator("cpu").manual_seed(seed)


def image_noise(seed: int, shape: Sequence[int]) -> Tensor:
    """The start noise of one image: standard normal, fp32, on the CPU, of `shape` (no batch dimension)."""
    return batch_noise([image_generator(seed)], shape)[0]


def batch_noise(generators: Sequence[Generator], shape: Sequence[int]) -> Tensor:
    """Standard normal fp32 noise of shape [n, *shape], row i drawn from generator i alone."""
    return torch.stack([torch.randn(tuple(shape), generator=generator) for generator in generators])
