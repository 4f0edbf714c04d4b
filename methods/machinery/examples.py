"""Pictures that the base model draws of an anchor or a target, with their prompts, and noise on them."""

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import torch
from torch import Generator, Tensor

from erasure_bench.methods.base import EraseContext, Need
from erasure_bench.methods.machinery.base_images import Drawing, base_images, pictures_needed
from erasure_bench.methods.machinery.prompt_pairs import PromptPair
from erasure_bench.models.denoiser import Denoiser

Shows = Literal["anchor", "target"]


class Example(NamedTuple):
    """A picture, RGB uint8 [3, height, width], the anchor's prompt for it and those for the target."""

    image: Tensor
    anchor: str
    targets: tuple[str, ...]


class Noised(NamedTuple):
    """x_t and its noise ε, both [n, channels, height, width], and its timesteps t [n]."""

    latents: Tensor
    noise: Tensor
    timesteps: Tensor


def draw_examples(
    model: Denoiser,
    pairs: Sequence[PromptPair],
    count: int,
    shows: Shows,
    drawing: Drawing,
    context: EraseContext,
) -> tuple[Example, ...]:
    """`count` pictures drawn by the model, which must hold its base weights, as the pairs say in turn.

    A picture of the anchor goes with all of its pair's ways to ask for the target; a picture of the
    target only with the one that it was drawn by, which changes from round to round.
    """
    chosen = in_turn(pairs, count, shows)
    images = base_images(model, _prompts(chosen, shows), context, drawing)
    return tuple(
        Example(image, pair.anchor, pair.targets) for image, pair in zip(images, chosen, strict=True)
    )


def examples_needed(
    pairs: Sequence[PromptPair], count: int, shows: Shows, drawing: Drawing, context: EraseContext
) -> Need:
    """What `draw_examples` draws."""
    return pictures_needed(_prompts(in_turn(pairs, count, shows), shows), context.seed, drawing)


def in_turn(pairs: Sequence[PromptPair], count: int, shows: Shows) -> list[PromptPair]:
    """The pairs of `count` pictures; those of the target with the one prompt that each is drawn by."""
    chosen = []
    for number in range(count):
        turn, place = divmod(number, len(pairs))
        pair = pairs[place]
        if shows == "target":
            pair = pair._replace(targets=(pair.targets[(place + turn) % len(pair.targets)],))
        chosen.append(pair)
    return chosen


def _prompts(chosen: Sequence[PromptPair], shows: Shows) -> list[str]:
    return [pair.anchor if shows == "anchor" else pair.targets[0] for pair in chosen]


@torch.no_grad()
def noised(model: Denoiser, images: Tensor, generator: Generator, drawn: bool = False) -> Noised:
    """Latents of float `images` [n, 3, height, width] in [0, 1], each at its own timestep t ~ U{0 … T−1}.

    The latents are the mean of the autoencoder's posterior, or `drawn` from it, as the official codes do.
    """
    clean = clean_latents(model, images, generator if drawn else None)
    timesteps = torch.randint(0, model.num_train_timesteps, (len(clean),), generator=generator)
    noise = torch.randn(clean.shape, generator=generator).to(clean)
    timesteps = timesteps.to(model.device)
    return Noised(model.add_noise(clean, noise, timesteps), noise, timesteps)


@torch.no_grad()
def clean_latents(model: Denoiser, images: Tensor, generator: Generator | None = None) -> Tensor:
    """x_0 [n, channels, height, width] of float `images` [n, 3, height, width] in [0, 1].

    The mean of the autoencoder's posterior, or with a `generator` drawn from it, where there is one.
    """
    # One at a time: a GPU on which all weights are trained has no room for a batch in the autoencoder.
    clean = torch.cat([model.encode_images(image[None]) for image in images])
    if generator is None:
        return clean
    deviation = torch.cat([_deviation(model, image[None]) for image in images])
    return clean + deviation.to(clean) * torch.randn(clean.shape, generator=generator).to(clean)


def _deviation(model: Denoiser, image: Tensor) -> Tensor:
    """The posterior's standard deviation in units of the latents; 0 where there is no posterior."""
    vae: Any = model.parts.get("vae")
    encoded = vae and vae.encode((2 * image - 1).to(model.device, model.dtype))
    if not hasattr(encoded, "latent_dist"):
        return torch.zeros(1, 1, 1, 1)
    deviation: Tensor = encoded.latent_dist.std * vae.config.scaling_factor
    return deviation
