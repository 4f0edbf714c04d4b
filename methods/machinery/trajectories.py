"""Sampling trajectories: the latents that sampling passes through, and what the model said of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor

from erasure_bench.models.denoiser import Denoiser, Prompts
from erasure_bench.models.sampling import sample_latents
from erasure_bench.prompt_suites.suite import SchedulerName


class Visited(NamedTuple):
    """One step of n images: x_t, ε_∅ and ε_p, each [n, channels, height, width], and the timestep t."""

    latents: Tensor
    unconditional: Tensor
    conditional: Tensor
    timestep: int


def trajectories(
    model: Denoiser,
    prompts: Sequence[str],
    seeds: Sequence[int],
    *,
    steps: int,
    guidance_scale: float,
    scheduler: SchedulerName = "ddim",
    height: int | None = None,
    width: int | None = None,
) -> list[Visited]:
    """Every step of sampling one image for each prompt and seed with classifier-free guidance.

    Step i is where `partly_denoised` stops with `stop` i: one pass gives all of its answers. The
    tensors are ordinary ones without a graph.
    """
    recorder = _Recorder(model)
    sample_latents(
        cast(Denoiser, recorder),
        prompts,
        seeds,
        scheduler=scheduler,
        steps=steps,
        guidance_scale=guidance_scale,
        height=height,
        width=width,
    )
    # Tensors made in inference mode cannot take part in training; copies made outside it can.
    return [
        Visited(at.latents.clone(), at.unconditional.clone(), at.conditional.clone(), at.timestep)
        for at in recorder.visited
    ]


@dataclass
class _Recorder:
    """A model that remembers what the sampling loop asked it: the loop itself stays the one we have."""

    model: Denoiser

    def __post_init__(self) -> None:
        self.visited: list[Visited] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self.model, name)

    def predict_noise(self, latents: Tensor, timesteps: Tensor | int, prompts: Prompts) -> Tensor:
        noise = self.model.predict_noise(latents, timesteps, prompts)
        self._note(latents, noise, timesteps)
        return noise

    def predict_output(self, latents: Tensor, timesteps: Tensor | int, prompts: Prompts) -> Tensor:
        # The loop asks for it where x_t is pure noise: every ε there is x_t itself.
        output = self.model.predict_output(latents, timesteps, prompts)
        self._note(latents, latents, timesteps)
        return output

    def _note(self, latents: Tensor, noise: Tensor, timesteps: Tensor | int) -> None:
        half = len(latents) // 2
        timestep = int(torch.as_tensor(timesteps).reshape(-1)[0])
        self.visited.append(Visited(latents[:half], noise[:half], noise[half:], timestep))
