"""What the judging networks train on beside the drawings: reconstructions of them, and nothing."""

import numpy as np
import torch
from diffusers import AutoencoderTiny
from torch import Tensor

from erasure_bench.models.microworld.autoencoder import encode_all
from erasure_bench.models.microworld.corruption import normal, uniform
from erasure_bench.models.microworld.dataset import Pictures, to_bytes
from erasure_bench.models.microworld.drawing.backgrounds import draw_background
from erasure_bench.models.microworld.drawing.canvas import finish
from erasure_bench.models.microworld.nothing import Sources
from erasure_bench.prompt_suites.microworld.vocabulary import BACKGROUNDS

_BATCH = 256


@torch.no_grad()
def decode(autoencoder: AutoencoderTiny, latents: Tensor) -> Tensor:
    """Pictures of unscaled latents [n, c, h, w], float [n, 3, height, width] in [0, 1]."""
    made = [
        autoencoder.decoder(part.contiguous(memory_format=torch.channels_last))
        for part in latents.split(_BATCH)
    ]
    return ((torch.cat(made) + 1) / 2).clamp(0, 1)


@torch.no_grad()
def reconstructions(
    pictures: Pictures, autoencoder: AutoencoderTiny, count: int, noise: float, generator: torch.Generator
) -> Tensor:
    """The first `count` pictures from latents with Gaussian error of a deviation up to `noise`.

    uint8 [count, size, size, 3] on the autoencoder's device.
    """
    parts = []
    for part in encode_all(autoencoder, pictures, count).split(_BATCH):
        size = uniform((len(part), 1, 1, 1), 0, noise, generator, part.device)
        parts.append(to_bytes(decode(autoencoder, part + size * normal(part.shape, generator, part.device))))
    return torch.cat(parts)


def empty_backgrounds(count: int, seed: int) -> Tensor:
    """Drawn backgrounds without a subject, uint8 [count, size, size, 3], on the CPU."""
    rng = np.random.default_rng((seed, 0xE))
    drawn = [finish(draw_background(BACKGROUNDS[i % len(BACKGROUNDS)], rng)) for i in range(count)]
    return torch.from_numpy(np.stack(drawn))


@torch.no_grad()
def nothing_sources(
    pictures: Pictures, autoencoder: AutoencoderTiny, count: int, backgrounds: int, seed: int
) -> Sources:
    """What nothing is made from: the first `count` pictures, on the autoencoder's device."""
    device = autoencoder.device
    scaling = float(autoencoder.config.scaling_factor)
    return Sources(
        drawings=torch.from_numpy(np.ascontiguousarray(pictures.pixels[:count])).to(device),
        backgrounds=empty_backgrounds(backgrounds, seed).to(device),
        latents=encode_all(autoencoder, pictures, count) * scaling,
        decode=lambda latents: decode(autoencoder, latents / scaling),
    )
