"""What a device is, how fast it multiplies matrices, and how many operations a network's pass takes."""

import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from erasure_bench.bench.running.versions import device_name
from erasure_bench.models.denoiser import Denoiser

REPEATS = 10


def waiting(device: str) -> Callable[[], None]:
    """Returns when the device has done all that it was given; a CPU has."""
    return torch.cuda.synchronize if torch.device(device).type == "cuda" else lambda: None


def device_record(device: str) -> dict[str, Any]:
    """Its name, threads of a CPU, and a GPU's memory with the most that this process took of it."""
    found: dict[str, Any] = {"name": device_name(device)}
    if torch.device(device).type == "cuda":
        found["memory_gib"] = round(torch.cuda.get_device_properties(device).total_memory / 2**30, 1)
        found["peak_memory_gib"] = round(torch.cuda.max_memory_allocated(device) / 2**30, 2)
    else:
        found["threads"] = torch.get_num_threads()
    return found


def matrix_rate(device: str, dtype: torch.dtype, side: int | None = None) -> float:
    """Operations a second, a multiplication and an addition being two, of the best of several products."""
    side = side or (8192 if torch.device(device).type == "cuda" else 1024)
    wait = waiting(device)
    one, other = (torch.randn(side, side, device=device, dtype=dtype) for _ in range(2))
    best = float("inf")
    with torch.inference_mode():
        for _ in range(REPEATS):
            wait()
            started = time.perf_counter()
            product: Tensor = one @ other
            wait()
            best = min(best, time.perf_counter() - started)
            del product
    return 2 * side**3 / best


def flops_of(network: Callable[..., object], inputs: dict[str, Any]) -> int:
    """Operations of one pass: matrix products, convolutions and attention, as torch counts them."""
    with torch.inference_mode(), FlopCounterMode(display=False) as counter:
        network(**inputs)
    return int(counter.get_total_flops())


def flops_of_a_row(model: Denoiser) -> int:
    """Operations of the network for one latent of the model's own size."""
    return flops_of(
        model.run_network,
        {
            "latents": torch.zeros(1, *model.latent_shape(), device=model.device, dtype=model.dtype),
            "timesteps": torch.zeros(1, device=model.device),
            "embeddings": model.encode_prompts([""]).to(model.dtype),
        },
    )
