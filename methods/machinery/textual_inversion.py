"""Textual inversion: word embeddings with which a model draws given pictures.

Gal, Alaluf, Atzmon, Patashnik, Bermano, Chechik, Cohen-Or: An Image is Worth One Word, ICLR 2023. The vectors
v in the place of a word are the only thing that is trained, on the model's own loss:

    min_v E ‖ε_θ(x_t, "a photo of v", t) − ε‖²
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import mse_loss

from erasure_bench.methods.base import EraseContext
from erasure_bench.methods.machinery.lots import integers
from erasure_bench.methods.machinery.soft_tokens import encoded, with_word
from erasure_bench.methods.machinery.training import Training
from erasure_bench.models.diffusion_model import DiffusionModel

TEMPLATES = (
    "a photo of {}",
    "a rendering of {}",
    "a cropped photo of {}",
    "the photo of {}",
    "a close-up photo of {}",
    "a bright photo of {}",
    "a picture of {}",
    "a good photo of {}",
    "an image of {}",
    "{}",
)
"""What the vectors stand in while they are sought."""
OF_A_STYLE = (
    "a painting in the style of {}",
    "a rendering in the style of {}",
    "a picture in the style of {}",
    "a close-up painting in the style of {}",
    "a bright painting in the style of {}",
    "a good painting in the style of {}",
)
OF_A_PERSON = ("a photo portrait of {}", "a portrait of {}")
"""The same where they are a style, or somebody."""


class Inverted(NamedTuple):
    """The vectors [k, width] on the CPU, and the loss at every step."""

    vectors: Tensor
    losses: tuple[float, ...]


def invert(
    model: DiffusionModel,
    clean: Tensor,
    start: Tensor,
    *,
    steps: int,
    learning_rate: float,
    batch_size: int,
    context: EraseContext,
    templates: Sequence[str] = TEMPLATES,
) -> Inverted:
    """Vectors like `start` [k, width] for the pictures with latents `clean` [n, channels, height, width].

    AdamW without weight decay. The model stays as it is; goes on from the context's checkpoints.
    """
    vectors = nn.Parameter(start.to(model.device, torch.float32, copy=True))
    soft = with_word(model, templates, len(start))
    with Training(
        {"vectors": vectors},
        device=model.device,
        learning_rate=learning_rate,
        steps=steps,
        context=context,
        optimiser="adamw",
        weight_decay=0.0,
    ) as tuning:
        generator, ways = tuning.generator, len(soft.ids)
        for _ in tuning:
            rows = integers(generator, 0, len(clean), batch_size)
            said = integers(generator, 0, ways, batch_size)
            timesteps = torch.randint(0, model.num_train_timesteps, (batch_size,), generator=generator)
            noise = torch.randn(clean[rows].shape, generator=generator).to(clean)
            seen = model.add_noise(clean[rows], noise, timesteps.to(model.device))
            embeddings = encoded(model, soft, vectors)[said]
            tuning.minimise(
                [mse_loss(model.predict_noise(seen, timesteps.to(model.device), embeddings), noise)]
            )
    return Inverted(tuning.tensors.get("vectors", start.float().cpu()), tuple(tuning.losses))
