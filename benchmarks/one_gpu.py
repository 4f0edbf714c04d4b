"""`python -m benchmarks.one_gpu`: several processes at once on one device, beside one process alone.

Each has the built-in model to itself and first trains (a step of Adam on all of the UNet, 8 rows, waited for
as a training waits for its loss), then draws (batches of 32, 20 steps with guidance), for so many seconds;
what they do a second is added up. The others wait meanwhile. On a small network a GPU waits for the processor
that hands it kernels, which is what more processes mend: in turns, as a GPU takes them by itself, or together
where NVIDIA's MPS runs (`nvidia-cuda-mps-control -d`; `$CUDA_MPS_PIPE_DIRECTORY` tells the benchmark).
Writes `results/performance/one-gpu-DEVICE.json`, or with MPS `one-gpu-DEVICE-mps.json`.
"""

import argparse
import multiprocessing
import os
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from benchmarks.devices import device_record, waiting
from benchmarks.recording import record
from erasure_bench.bench.running.libraries import full_precision, quiet_libraries
from erasure_bench.models.sampling import sample_images
from erasure_bench.models.zoo import load_model

MODEL = "microworld"
ROWS, PICTURES, STEPS, GUIDANCE = 8, 32, 20, 4.0
LONGEST_WAIT = 300.0
MPS = "CUDA_MPS_PIPE_DIRECTORY"
Job = Callable[[], int]
"""Does a little and says how many steps or pictures that was."""


def jobs(device: str) -> Mapping[str, Job]:
    """What one process does: `steps` of training, `pictures` drawn."""
    quiet_libraries()
    full_precision()
    model, wait = load_model(MODEL, device=device), waiting(device)
    parameters = [parameter.requires_grad_(True) for parameter in model.unet.parameters()]
    optimiser = torch.optim.Adam(parameters, lr=1e-9)
    latents = torch.randn(ROWS, *model.latent_shape(), device=device)

    def train() -> int:
        model.predict_noise(latents, 500, "a cat").square().mean().backward()
        optimiser.step()
        optimiser.zero_grad()
        wait()
        return 1

    def draw() -> int:
        with torch.no_grad():
            sample_images(
                model,
                ["a cat"] * PICTURES,
                range(PICTURES),
                scheduler="ddim",
                steps=STEPS,
                guidance_scale=GUIDANCE,
            ).cpu()
        return PICTURES

    return {"steps": train, "pictures": draw}


def _process(
    number: int, device: str, counts: Sequence[int], seconds: float, barrier: Any, told: Any
) -> None:
    torch.set_num_threads(1)
    for name, job in jobs(device).items():
        job()
        for count in counts:
            barrier.wait(LONGEST_WAIT)
            done, started = 0, time.perf_counter()
            while number < count and time.perf_counter() - started < seconds:
                done += job()
            told.put((name, count, done / (time.perf_counter() - started)))
            barrier.wait(LONGEST_WAIT)


def measure(device: str, counts: Sequence[int], seconds: float) -> dict[str, Any]:
    """Steps and pictures a second of so many processes together, and how many times one process' that is."""
    context = multiprocessing.get_context("spawn")
    most = max(counts)
    barrier, told = context.Barrier(most), context.Queue()
    processes = [
        context.Process(target=_process, args=(number, device, counts, seconds, barrier, told), daemon=True)
        for number in range(most)
    ]
    for process in processes:
        process.start()
    rates: Counter[tuple[str, int]] = Counter()
    for _ in range(2 * len(counts) * most):
        name, count, rate = told.get(timeout=LONGEST_WAIT)
        rates[name, count] += rate
    for process in processes:
        process.join()
    runs = [
        {
            "processes": count,
            **{f"{name}_per_second": round(rates[name, count], 1) for name in ("steps", "pictures")},
            **{
                f"times_as_many_{name}": round(rates[name, count] / rates[name, counts[0]], 2)
                for name in ("steps", "pictures")
            },
        }
        for count in counts
    ]
    return {"model": MODEL, "device": device_record(device), "mps": MPS in os.environ, "runs": runs}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.one_gpu", description=__doc__)
    parser.add_argument("--device", default="cuda")
    parser.add_argument(
        "--processes", default="1,8,16", help="comma list; the first is what the others stand beside"
    )
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--out", type=Path)
    asked = parser.parse_args()
    figures = measure(asked.device, [int(count) for count in asked.processes.split(",")], asked.seconds)
    name = f"one-gpu-{asked.device.partition(':')[0]}{'-mps' if figures['mps'] else ''}.json"
    record(figures, asked.out or Path("results/performance") / name)


if __name__ == "__main__":
    main()
