"""torch's global generators, seeded for a while: those that fresh networks and dropout draw from."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def seeded(seed: int, device: torch.device | str = "cpu") -> Iterator[None]:
    """The generators of the CPU and of `device` begin at `seed`, and are put back afterwards.

    Other devices' stay where they are: `torch.manual_seed` would begin them anew too, and for good.
    """
    device = torch.device(device)
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        begin_at(seed, device)
        yield


def begin_at(seed: int, device: torch.device) -> None:
    """The generators of the CPU and of `device` begin at `seed`."""
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        with torch.cuda.device(device):
            torch.cuda.manual_seed(seed)
