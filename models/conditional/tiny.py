"""Class-conditional models small enough for fast tests, with random weights."""

from typing import Literal

import numpy as np
import torch
from torch import Generator

from erasure_bench.models.conditional.description import DDPMSizes, Description, VAESizes
from erasure_bench.models.conditional.folder import ClassModel, build, with_network
from erasure_bench.models.conditional.recipes import Recipe
from erasure_bench.models.datasets.base import Labelled, LabelledParts

Kind = Literal["ddpm", "vae"]
CLASSES = ("ring", "bar", "dot")
SIDE = 8
SIZES: dict[Kind, VAESizes | DDPMSizes] = {
    "ddpm": DDPMSizes(
        channels=8, multipliers=(1, 2), blocks=1, attention=(4,), dropout=0.1, norm_groups=4, timesteps=20
    ),
    "vae": VAESizes(hidden=(16, 12), latent=4),
}
RECIPES: dict[Kind, Recipe] = {
    "ddpm": Recipe(
        steps=4,
        batch_size=6,
        learning_rate=1e-3,
        ema_decay=0.9,
        clip_norm=1.0,
        label_dropout=0.3,
        mirrored=0.5,
        antithetic=True,
    ),
    "vae": Recipe(steps=4, batch_size=6, learning_rate=1e-3),
}


def tiny_description(kind: Kind) -> Description:
    """Grey pictures of three classes."""
    recipe = RECIPES[kind].model_dump(mode="json")
    return Description(classes=CLASSES, side=SIDE, channels=1, sizes=SIZES[kind], recipe=recipe)


def tiny_class_model(kind: Kind, dtype: torch.dtype = torch.float32) -> ClassModel:
    """The model with fresh weights; a denoiser's last layer, which starts at zero, says something."""
    description = tiny_description(kind)
    model = with_network(
        build(description, 0), description, name=f"tiny-{kind}", digest=f"tiny {kind}", dtype=dtype
    )
    generator = Generator().manual_seed(1)
    with torch.no_grad():
        for tensor in model.named_tensors().values():
            tensor.add_(0.1 * torch.randn(tensor.shape, generator=generator).to(dtype))
    return model


def tiny_pictures() -> LabelledParts:
    """Rings, bars and dots at random places: 30 to train on, 9 held out."""
    drawn = np.random.default_rng(0)
    pixels = np.zeros((39, 1, SIDE, SIDE), np.uint8)
    labels = np.arange(39, dtype=np.int64) % len(CLASSES)
    for picture, label in zip(pixels[:, 0], labels, strict=True):
        top, left = drawn.integers(0, SIDE - 3, 2)
        picture[top : top + 3, left : left + 3] = (255, 255, 0)[label]
        picture[top + 1, left + 1] = (0, 255, 255)[label]
        if label == 1:
            picture[:, left] = 0
    return LabelledParts(Labelled(pixels[:30], labels[:30]), Labelled(pixels[30:], labels[30:]), "drawn here")
