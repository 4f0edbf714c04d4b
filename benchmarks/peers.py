"""The same pictures as others draw them: a diffusers pipeline, or the plain loop where diffusers has none."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from benchmarks.shapes import pipeline_of
from erasure_bench.models.conditional.ddpm import ConditionalDDPM
from erasure_bench.models.denoiser import Denoiser
from erasure_bench.models.diffusion_model import DiffusionModel

Peer = Callable[[Sequence[str], Sequence[int], int, float], list[Any]]
"""Draws a prompt for each seed, in so many steps with a guidance scale, as PIL images."""


def peer_of(model: Denoiser) -> Peer:
    """Around the same networks."""
    if isinstance(model, DiffusionModel):
        return _by_pipeline(model)
    assert isinstance(model, ConditionalDDPM)
    return _by_loop(model)


def _by_pipeline(model: DiffusionModel) -> Peer:
    pipeline = pipeline_of(model)

    def draw(prompts: Sequence[str], seeds: Sequence[int], steps: int, guidance_scale: float) -> list[Any]:
        images: list[Any] = pipeline(
            list(prompts),
            height=model.resolution,
            width=model.resolution,
            num_inference_steps=steps,
            guidance_scale=guidance_scale,
            generator=[torch.Generator("cpu").manual_seed(seed) for seed in seeds],
        ).images
        return images

    return draw


def _by_loop(model: ConditionalDDPM) -> Peer:
    """Diffusers' network and scheduler in the loop of its own examples, asked by classes."""
    from diffusers import DDIMScheduler
    from diffusers.image_processor import VaeImageProcessor

    network = model.parts["unet"]
    scheduler = DDIMScheduler(**model.scheduler_config)

    @torch.inference_mode()
    def draw(prompts: Sequence[str], seeds: Sequence[int], steps: int, guidance_scale: float) -> list[Any]:
        scheduler.set_timesteps(steps)
        noise = [
            torch.randn(model.latent_shape(), generator=torch.Generator("cpu").manual_seed(seed))
            for seed in seeds
        ]
        pixels: Tensor = torch.stack(noise).to(model.device, model.dtype)
        asked = model.encode_prompts([""] * len(prompts) + list(prompts))[:, 0]
        for timestep in scheduler.timesteps:
            both = network(pixels.repeat(2, 1, 1, 1), timestep.to(model.device).expand(len(asked)), asked)
            without, with_class = both.chunk(2)
            predicted = without + guidance_scale * (with_class - without)
            pixels = scheduler.step(predicted, timestep, pixels).prev_sample
        images = (pixels / 2 + 0.5).clamp(0, 1).float().expand(-1, 3, -1, -1)
        drawn: list[Any] = VaeImageProcessor.numpy_to_pil(VaeImageProcessor.pt_to_numpy(images))
        return drawn

    return draw
