"""Latents on the way from noise to a concept's picture, and what the base model says of them.

What ESD and those that build on it are trained on: sampled anew for every lesson, or drawn from along a few
ways that are walked once, which is many times faster and gives less varied latents.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from pydantic import NonNegativeInt, PositiveInt
from torch import Generator, Tensor

from erasure_bench.errors import BenchError
from erasure_bench.methods.base import Need
from erasure_bench.methods.machinery.lots import integers
from erasure_bench.methods.machinery.trajectories import Visited, trajectories
from erasure_bench.models.denoiser import Denoiser
from erasure_bench.models.sampling import partly_denoised
from erasure_bench.prompt_suites.suite import SchedulerName


class OnTheWay(NamedTuple):
    """n latents x_t at one timestep, on the way to the pictures of `prompts`, by their numbers.

    `latents` and the base model's `unconditional` ε_∅ and `conditional` ε_p are
    [n, channels, height, width].
    """

    latents: Tensor
    timestep: int
    prompts: tuple[int, ...]
    unconditional: Tensor
    conditional: Tensor


@dataclass(frozen=True, kw_only=True)
class WayThere:
    """The settings of such latents.

    x_t is reached by `denoise_steps` steps of `scheduler` with `guidance_scale`, stopped at a step drawn
    uniformly, by the frozen `base` or by the model as it is being `edited`. It is scored at the sampler's own
    timestep there, or at one drawn uniformly from the `interval` of T / `denoise_steps` timesteps that the
    step stands for. With `trajectories` above 0, that many pictures per prompt are sampled once, before
    training, and every lesson draws its latents from along them.
    """

    sampled_by: Literal["base", "edited"] = "edited"
    timestep: Literal["sampler", "interval"] = "interval"
    denoise_steps: PositiveInt = 50
    guidance_scale: float = 3.0
    scheduler: SchedulerName = "ddim"
    trajectories: NonNegativeInt = 0

    def __post_init__(self) -> None:
        if self.trajectories and (self.sampled_by, self.timestep) != ("base", "sampler"):
            raise BenchError(
                "trajectories above 0 need sampled_by=base and timestep=sampler: "
                "latents are computed once, before training"
            )

    def walks_needed(self, prompts: int) -> tuple[Need, ...]:
        """What is sampled before training."""
        count = self.trajectories * prompts
        return (Need(unit="pictures", count=count, passes=2 * self.denoise_steps),) if count else ()

    @property
    def passes(self) -> float:
        """What the latents of one lesson and the base's answers cost each: half of the way on average."""
        return 0.0 if self.trajectories else 2 * (self.denoise_steps / 2 + 1)


class Ways:
    """Draws latents on the way to the pictures of `prompts`.

    `base` is frozen, `edited` the model that is being trained. Walking beforehand draws from `generator` at
    once: a training that goes on from a checkpoint must find it where it was.
    """

    def __init__(
        self,
        settings: WayThere,
        base: Denoiser,
        edited: Denoiser,
        prompts: Sequence[str],
        generator: Generator,
    ) -> None:
        self.settings, self.base = settings, base
        self.sampled_by = base if settings.sampled_by == "base" else edited
        self.prompts = tuple(prompts)
        with torch.no_grad():
            self.embeddings = base.encode_prompts(self.prompts)
        self.owners = [row for row in range(len(prompts)) for _ in range(settings.trajectories)]
        self.visited: list[Visited] = []
        if self.owners:
            self.visited = trajectories(
                base,
                [self.prompts[owner] for owner in self.owners],
                integers(generator, 0, 2**62, len(self.owners)),
                steps=settings.denoise_steps,
                guidance_scale=settings.guidance_scale,
                scheduler=settings.scheduler,
            )

    def draw(self, count: int, generator: Generator) -> OnTheWay:
        """`count` latents at one step of the way, each to a picture of a prompt that is drawn uniformly."""
        if self.visited:
            rows = integers(generator, 0, len(self.owners), count)
            (step,) = integers(generator, 0, self.settings.denoise_steps, 1)
            at = self.visited[step]
            owners = tuple(self.owners[row] for row in rows)
            return OnTheWay(
                at.latents[rows], at.timestep, owners, at.unconditional[rows], at.conditional[rows]
            )
        chosen = tuple(integers(generator, 0, len(self.prompts), count))
        (step,) = integers(generator, 0, self.settings.denoise_steps, 1)
        latents, timestep = partly_denoised(
            self.sampled_by,
            [self.prompts[row] for row in chosen],
            integers(generator, 0, 2**62, count),
            steps=self.settings.denoise_steps,
            stop=step,
            guidance_scale=self.settings.guidance_scale,
            scheduler=self.settings.scheduler,
        )
        if self.settings.timestep == "interval":
            (timestep,) = integers(generator, *self._interval(step), 1)
        with torch.no_grad():
            pair = self.base.predict_noise_pair(latents, timestep, self.embeddings[list(chosen)])
        return OnTheWay(latents, timestep, chosen, *pair)

    def _interval(self, step: int) -> tuple[int, int]:
        """Timesteps [first, last) that sampling step `step` (0 is the noisiest) stands for."""
        steps, every = self.settings.denoise_steps, self.base.num_train_timesteps
        first, last = (round(n / steps * every) for n in (steps - step - 1, steps - step))
        return first, last


def away_from(unconditional: Tensor, conditional: Tensor, eta: float) -> Tensor:
    """ε_∅ − η (ε_c − ε_∅), ESD eq. 7: the prediction guided away from the concept; all of one shape."""
    return unconditional - eta * (conditional - unconditional)
