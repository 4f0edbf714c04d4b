"""How the class-conditional bases are made: data, sizes and training, each by its name. Imports no torch.

The MNIST, CIFAR-10 and STL-10 ones are Selective Amnesia's (Heng and Soh, NeurIPS 2023, b736571), the small
ones for digits of 8 × 8 pixels our own, made to train in minutes on two cores.
"""

from typing import NamedTuple

from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt, PositiveFloat, PositiveInt

from erasure_bench.models.conditional.description import DDPMSizes, Sizes, VAESizes


class Recipe(BaseModel):
    """How a class-conditional model is trained: Adam on `batch_size` pictures a step.

    `ema_decay` is that of the moving average that the base's weights are, 0 for none. `label_dropout` is how
    often a picture's class is ∅ (denoisers), `mirrored` how often a picture is. `antithetic` timesteps
    come in pairs t and T − 1 − t. `everything` trains on the held-out pictures as well.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    steps: PositiveInt
    batch_size: PositiveInt
    learning_rate: PositiveFloat
    ema_decay: float = Field(default=0.0, ge=0.0, lt=1.0)
    clip_norm: PositiveFloat | None = None
    label_dropout: float = Field(default=0.0, ge=0.0, lt=1.0)
    mirrored: float = Field(default=0.0, ge=0.0, le=1.0)
    antithetic: bool = False
    everything: bool = False
    seed: NonNegativeInt = 0


class BaseRecipe(NamedTuple):
    """A base by its name: its data set, its pictures' side in pixels, its network's sizes, its training."""

    name: str
    title: str
    data: str
    side: int
    sizes: Sizes
    training: Recipe


OFFICIAL_VAE = VAESizes(hidden=(512, 256), latent=8)
OFFICIAL_VAE_TRAINING = Recipe(steps=100_000, batch_size=256, learning_rate=1e-4)
OFFICIAL_DDPM_TRAINING = Recipe(
    steps=800_000,
    batch_size=128,
    learning_rate=2e-4,
    ema_decay=0.9999,
    clip_norm=1.0,
    label_dropout=0.1,
    mirrored=0.5,
    antithetic=True,
)

BASES: dict[str, BaseRecipe] = {
    base.name: base
    for base in (
        BaseRecipe(
            "digits-vae",
            "Conditional VAE of handwritten digits, 8 pixels",
            "digits",
            8,
            VAESizes(hidden=(256, 128), latent=8),
            Recipe(steps=8_000, batch_size=64, learning_rate=1e-3, ema_decay=0.999),
        ),
        BaseRecipe(
            "digits-ddpm",
            "Conditional DDPM of handwritten digits, 8 pixels",
            "digits",
            8,
            DDPMSizes(channels=16, multipliers=(1, 2), blocks=1, attention=(4,), dropout=0.0, norm_groups=8),
            Recipe(
                steps=3_000,
                batch_size=64,
                learning_rate=1e-3,
                ema_decay=0.999,
                clip_norm=1.0,
                label_dropout=0.1,
                antithetic=True,
            ),
        ),
        BaseRecipe(
            "mnist-vae",
            "Conditional VAE of MNIST, 28 pixels (Selective Amnesia's)",
            "mnist",
            28,
            OFFICIAL_VAE,
            OFFICIAL_VAE_TRAINING,
        ),
        BaseRecipe(
            "fashion-mnist-vae",
            "Conditional VAE of Fashion-MNIST, 28 pixels (Selective Amnesia's sizes)",
            "fashion-mnist",
            28,
            OFFICIAL_VAE,
            OFFICIAL_VAE_TRAINING,
        ),
        BaseRecipe(
            "cifar10-ddpm",
            "Conditional DDPM of CIFAR-10, 32 pixels (Selective Amnesia's)",
            "cifar10",
            32,
            DDPMSizes(channels=128, multipliers=(1, 2, 2, 2), attention=(16,)),
            OFFICIAL_DDPM_TRAINING,
        ),
        BaseRecipe(
            "stl10-ddpm",
            "Conditional DDPM of STL-10, 64 pixels (Selective Amnesia's)",
            "stl10",
            64,
            DDPMSizes(channels=128, multipliers=(1, 2, 2, 2, 4), attention=(16,)),
            OFFICIAL_DDPM_TRAINING.model_copy(update={"steps": 250_000, "everything": True}),
        ),
    )
}
