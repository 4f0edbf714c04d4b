"""Pictures of the built-in model, drawn as the suites draw theirs."""

import sys
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from erasure_bench.models.diffusion_model import DiffusionModel
from erasure_bench.models.sampling import ImageRequest, sample


class Protocol(NamedTuple):
    """How pictures are drawn: DDIM, as in the suites."""

    guidance: float
    steps: int
    batch_size: int


def draw_all(
    model: DiffusionModel,
    prompts: Sequence[str],
    first_seed: int,
    protocol: Protocol,
    on_batch: Callable[[int], None] | None = None,
) -> NDArray[np.uint8]:
    """One sample for each prompt, uint8 [n, size, size, 3]; sample i has the seed `first_seed` + i."""
    requests = [
        ImageRequest(prompt, first_seed + i, protocol.guidance, model.resolution, model.resolution)
        for i, prompt in enumerate(prompts)
    ]
    drawn = sample(
        model,
        requests,
        scheduler="ddim",
        steps=protocol.steps,
        batch_size=protocol.batch_size,
        on_batch=on_batch,
    )
    return np.stack(drawn)


class Progress:
    """How many of `total` pictures are drawn, on stderr."""

    def __init__(self, total: int) -> None:
        self.total, self.done, self.started = total, 0, time.monotonic()

    @property
    def rate(self) -> float:
        """Pictures per second so far."""
        return self.done / (time.monotonic() - self.started)

    def __call__(self, n: int) -> None:
        self.done += n
        left = (self.total - self.done) / self.rate
        end = "\n" if self.done == self.total else ""
        print(
            f"\r{self.done}/{self.total}, {self.rate:.1f} images/s, {left:.0f} s left  ",
            end=end,
            file=sys.stderr,
            flush=True,
        )
