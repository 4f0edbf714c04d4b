"""How well an edited model denoises a given picture when asked in a given way: the attacks' own loss."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Generator, Tensor

from erasure_bench.attacks.base import Target
from erasure_bench.attacks.telling import telling
from erasure_bench.models.diffusion_model import DiffusionModel
from erasure_bench.models.seeds import image_seed

CHOOSE_AT = 10
"""Timesteps at which tries are compared, the same noise for all of them."""


def timesteps(count: int, total: int) -> list[int]:
    """`count` timesteps in the middles of equal parts of 0 … `total` − 1: 10, 30, …, 990 for 50 of 1,000."""
    return [int((place + 0.5) / count * total) for place in range(count)]


@torch.no_grad()
def latents_of(model: DiffusionModel, targets: Sequence[Target]) -> Tensor:
    """x₀ [n, channels, height, width] of the base model's pictures of the targets, on the model's device."""
    pictures = torch.from_numpy(np.stack([target.picture for target in targets])).movedim(-1, 1)
    return model.encode_images(pictures.float() / 255)


def generators(name: str, targets: Sequence[Target], seed: int) -> list[Generator]:
    """One CPU generator for each target, that hangs on no other target."""
    return [
        Generator("cpu").manual_seed(image_seed(name, target.prompt, target.seed, seed)) for target in targets
    ]


def noise_for(latents: Tensor, generators: Sequence[Generator]) -> Tensor:
    """Standard normal noise of the shape of `latents`, row i from generator i."""
    shape = latents.shape[1:]
    rows = [torch.randn(shape, generator=generator) for generator in generators]
    return torch.stack(rows).to(latents)


def noise_losses(
    model: DiffusionModel,
    latents: Tensor,
    timestep: int,
    noise: Tensor,
    embeddings: Tensor,
    texts: Sequence[str],
) -> Tensor:
    """Of each row the mean of (ε − ε_θ(√ᾱ_t x₀ + √(1−ᾱ_t) ε, c, t))² over channels and places: [n].

    Differentiable in the embeddings [n, tokens, width]; `texts` is what an edit that reads prompts is told.
    """
    noisy = model.add_noise(latents, noise, timestep)
    with telling(texts):
        predicted = model.predict_noise(noisy, timestep, embeddings)
    return (predicted - noise).square().mean((1, 2, 3))


@dataclass(frozen=True, eq=False)
class Choice:
    """Compares what was found, on the same noise: a lower loss is nearer to the base model's picture."""

    model: DiffusionModel
    latents: Tensor
    noise: Tensor

    @classmethod
    def of(cls, model: DiffusionModel, targets: Sequence[Target], seed: int) -> "Choice":
        """With noise of its own, which no search has seen."""
        latents = latents_of(model, targets)
        own = generators("choice", targets, seed)
        noise = torch.stack([noise_for(latents, own) for _ in range(CHOOSE_AT)])
        return cls(model, latents, noise)

    @torch.no_grad()
    def losses(self, embeddings: Tensor, texts: Sequence[str]) -> list[float]:
        """Of the embeddings [n, tokens, width], one for each target, told as its text."""
        places = timesteps(CHOOSE_AT, self.model.num_train_timesteps)
        total = sum(
            noise_losses(self.model, self.latents, place, noise, embeddings, texts)
            for place, noise in zip(places, self.noise, strict=True)
        )
        assert isinstance(total, Tensor)
        return [float(value) for value in total / CHOOSE_AT]
