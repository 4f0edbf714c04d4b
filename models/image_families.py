"""Kinds of generators, by name. Imports no torch."""

from typing import Literal, get_args

Family = Literal["text-to-image", "class-ddpm", "class-vae"]
"""Kinds of generators. A method's card says which of them it knows:

- `text-to-image`: latent diffusion asked by a prompt (`models.diffusion_model.DiffusionModel`);
- `class-ddpm`: diffusion of pixels asked by a class's name (`models.conditional.ddpm.ConditionalDDPM`);
- `class-vae`: a variational autoencoder asked by a class's name (`models.conditional.vae.ConditionalVAE`).
"""

FAMILIES: tuple[Family, ...] = get_args(Family)
DENOISERS: tuple[Family, ...] = ("text-to-image", "class-ddpm")
"""The families that are a `models.denoiser.Denoiser`."""
