"""`python -m benchmarks.erasing`: steps a second and memory of every method that trains, and SA's Fisher.

Each method trains a few steps on the built-in model in that model's preset, made cheap to prepare by the
card's own `quick` settings. Beside it stands a plain loop: torch's Adam on the same parameters, and as many
rows through the UNet, forwards and backwards, as the method counts for its step (`needs`; a pass with its
gradient is three), and nothing else. Above 1 the ratio says how many times as long the plain loop takes: a
method that is not far below 1 spends its time on the network. Both are timed in turns, in seconds on a core,
without their first step; memory is the peak of the process above what it had before. Of the Fisher diagonal
the other way is the official code's, one term at a time. Writes `results/performance/erasing-MODEL.json`.
"""

import argparse
import dataclasses
import gc
import math
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, cast

import numpy as np
import torch
from torch import Generator, Tensor, nn
from torch.nn.functional import mse_loss

from benchmarks.pairs import ratio_of
from benchmarks.recording import record
from erasure_bench.methods.base import EraseContext, Progress
from erasure_bench.methods.machinery.cost import Meter
from erasure_bench.methods.machinery.parameters import ParameterGroup, select
from erasure_bench.methods.machinery.training import FORWARD_AND_BACKWARD
from erasure_bench.methods.registry import METHODS, build_method, method_card
from erasure_bench.methods.selective_amnesia.fisher import fast_fisher
from erasure_bench.models.diffusion_model import DiffusionModel
from erasure_bench.models.generative import DiffusionGenerative
from erasure_bench.models.zoo import load_model
from erasure_bench.prompt_suites.concepts import Concept
from erasure_bench.prompt_suites.general import general_prompts
from erasure_bench.prompt_suites.registry import load_suite

MODEL, SUITE = "microworld", "microworld-instances"
GENERAL = 8
FISHER_TERMS, FISHER_BATCH = 32, 16


class Task(NamedTuple):
    """What is to be erased from what."""

    model: DiffusionModel
    concept: Concept
    prompts: tuple[str, ...]


class Pace(NamedTuple):
    """Seconds on a core of each step but the first, and the peak of memory above what was there before."""

    seconds: list[float]
    peak_bytes: int


def trained(name: str, steps: int) -> Any:
    """The method with so many steps; None where it trains nothing, or no text-to-image model."""
    card, method = method_card(name), build_method(name, MODEL)
    if not hasattr(method, "steps") or "text-to-image" not in card.families:
        return None
    return dataclasses.replace(cast(Any, method), **{**card.quick, "steps": steps})


def ours(method: Any, task: Task) -> Pace:
    """The method's own training, the last of them where it has several one after the other."""
    moments: list[float] = []

    def report(progress: Progress) -> None:
        if progress.step <= 1:
            moments.clear()
        moments.append(time.process_time())

    context = EraseContext(seed=1, report=report, general_prompts=task.prompts)
    return _measured(task.model, lambda: method.erase(task.model, [task.concept], context), moments)


def plain(method: Any, task: Task, steps: int) -> Pace:
    """The same rows through the UNet in a loop with nothing else in it."""
    model, rows = task.model, rows_of(method, task)
    parameters = select(model.parts, group_of(method, task.concept))
    before = {name: parameter.detach().clone() for name, parameter in parameters.items()}
    latents, target = (torch.randn(rows, *model.latent_shape()) for _ in range(2))
    encoded = model.encode_prompts([task.concept.target]).repeat(rows, 1, 1)
    timesteps = torch.randint(model.num_train_timesteps, (rows,))
    moments: list[float] = []

    def train() -> None:
        for parameter in parameters.values():
            parameter.requires_grad_(True)
        optimiser = torch.optim.Adam(parameters.values(), lr=1e-5)
        for _ in range(steps):
            optimiser.zero_grad()
            predicted = model.unet(latents, timesteps, encoder_hidden_states=encoded).sample
            mse_loss(predicted, target).backward()
            optimiser.step()
            moments.append(time.process_time())

    try:
        return _measured(model, train, moments)
    finally:
        with torch.no_grad():
            for name, parameter in parameters.items():
                parameter.grad = None
                parameter.requires_grad_(False).copy_(before[name])


def group_of(method: Any, concept: Concept) -> ParameterGroup:
    """What the method trains of the concept's kind; all of the UNet where that is no group of weights."""
    settings = method.plan([concept]) if hasattr(method, "plan") else method
    group: ParameterGroup = getattr(settings, "parameters", "full")
    return group


def rows_of(method: Any, task: Task) -> int:
    """Rows with their gradient that cost what one of the method's steps does, as it says itself."""
    context = EraseContext(general_prompts=task.prompts)
    (passes,) = (need.passes for need in method.needs([task.concept], context) if need.unit == "steps")
    return max(1, round(passes / FORWARD_AND_BACKWARD))


def _measured(model: DiffusionModel, do: Callable[[], object], moments: Sequence[float]) -> Pace:
    gc.collect()
    with Meter(model.device) as before:
        pass
    with Meter(model.device) as meter:
        do()
    peak = meter.cost(0).peak_memory_bytes - before.cost(0).peak_memory_bytes
    return Pace(np.diff(moments).tolist(), max(peak, 0))


def measure(task: Task, names: Sequence[str], *, steps: int, pairs: int) -> dict[str, Any]:
    """The figures of each method that trains."""
    figures = {}
    for name in names:
        if (method := trained(name, steps)) is None:
            continue
        paces = [(ours(method, task), plain(method, task, steps)) for _ in range(pairs)]
        own, other = ([float(np.median(pace.seconds)) for pace in of] for of in zip(*paces, strict=True))
        figures[name] = {
            "rows_of_a_step": rows_of(method, task),
            "steps_per_second_on_a_core": round(1 / min(own), 3),
            "plain_steps_per_second_on_a_core": round(1 / min(other), 3),
            "plain_takes_times_as_long": ratio_of(own, other).record(),
            "peak_mib": _mib(pace.peak_bytes for pace, _ in paces),
            "plain_peak_mib": _mib(pace.peak_bytes for _, pace in paces),
        }
    return figures


def _mib(peaks: Any) -> float:
    return round(max(peaks) / 2**20, 1)


def measure_fisher(task: Task, *, terms: int, batch: int, pairs: int) -> dict[str, Any]:
    """Of all weights of the UNet on one made-up picture: our batches of terms, and one after the other."""
    model = task.model
    generative = DiffusionGenerative(model, lambda prompts, seed: torch.zeros(0))
    parameters = select(model.parts, "full")
    example = torch.randn(1, *model.latent_shape(), generator=Generator().manual_seed(1))

    def fisher(batch_size: int) -> Mapping[str, Tensor]:
        generator = Generator().manual_seed(0)
        return fast_fisher(
            generative,
            parameters,
            example,
            [task.concept.target],
            terms=terms,
            generator=generator,
            batch_size=batch_size,
        )

    def one_term_at_a_time() -> Mapping[str, Tensor]:
        return plain_fisher(generative, parameters, example, task.concept.target, terms)

    def timed(do: Callable[[], object]) -> float:
        started = time.process_time()
        do()
        return time.process_time() - started

    apart = difference(fisher(batch), one_term_at_a_time())
    taken = [(timed(lambda: fisher(batch)), timed(one_term_at_a_time)) for _ in range(pairs)]
    own, other = (list(seconds) for seconds in zip(*taken, strict=True))
    return {
        "terms": terms,
        "batch": batch,
        "terms_per_second_on_a_core": round(terms / min(own), 2),
        "one_at_a_time_terms_per_second_on_a_core": round(terms / min(other), 2),
        "one_at_a_time_takes_times_as_long": ratio_of(own, other).record(),
        "largest_difference_of_the_largest": float(f"{apart:.2g}"),
    }


def plain_fisher(
    generative: DiffusionGenerative,
    parameters: Mapping[str, nn.Parameter],
    example: Tensor,
    condition: str,
    terms: int,
) -> dict[str, Tensor]:
    """The same terms and noises as the fast Fisher's, as a loop over them would have it."""
    generator = Generator().manual_seed(0)
    edges = torch.linspace(0, generative.terms, terms + 1, dtype=torch.float64).round().long()
    within = torch.rand(terms, generator=generator, dtype=torch.float64)
    numbers = edges[:-1] + (within * edges.diff()).long()
    noises = torch.randn(terms, *example.shape[1:], generator=generator)
    for parameter in parameters.values():
        parameter.requires_grad_(True)
    for number, weight, noise in zip(numbers, edges.diff(), noises, strict=True):
        encoded = generative.encode_conditions([condition])
        loss = generative.elbo_loss(example, encoded, number[None], noise[None])
        (weight * loss).sum().backward()
    squared = {}
    for name, parameter in parameters.items():
        squared[name] = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad.square()
        parameter.grad = None
        parameter.requires_grad_(False)
    return squared


def difference(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> float:
    """The largest of all differences, as a share of the largest value."""
    most = max(float(value.max()) for value in other.values())
    apart = max(float((one[name] - other[name]).abs().max()) for name in other)
    return apart / most if most else math.inf


def built_in() -> Task:
    """The first instance of the built-in suite, and some of its model's general prompts."""
    concept = load_suite(SUITE).concepts[0]
    return Task(load_model(MODEL), concept, tuple(general_prompts(MODEL)[:GENERAL]))


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.erasing", description=__doc__)
    parser.add_argument("--methods", default=",".join(METHODS), help="comma list")
    parser.add_argument("--steps", type=int, default=6)
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--out", type=Path, default=Path(f"results/performance/erasing-{MODEL}.json"))
    asked = parser.parse_args()
    task = built_in()
    figures = {
        "model": MODEL,
        "threads": torch.get_num_threads(),
        "fisher": measure_fisher(task, terms=FISHER_TERMS, batch=FISHER_BATCH, pairs=asked.pairs),
        "methods": measure(task, asked.methods.split(","), steps=asked.steps, pairs=asked.pairs),
    }
    record(figures, asked.out)


if __name__ == "__main__":
    main()
