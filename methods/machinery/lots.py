"""Drawing lots: what training chooses at random, from a generator that the seed decides."""

import torch
from torch import Generator


def integers(generator: Generator, low: int, high: int, count: int) -> list[int]:
    """`count` integers drawn uniformly from [low, high)."""
    return [int(value) for value in torch.randint(low, high, (count,), generator=generator)]
