"""What a likelihood-based method asks of a generative model: an evidence lower bound and a sampler.

Selective Amnesia and its Fisher information are written against `GenerativeModel` alone, so that
they serve latent diffusion, a class-conditional denoiser and a conditional autoencoder alike.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

import torch
from torch import Generator, Tensor

from erasure_bench.models.denoiser import Denoiser
from erasure_bench.models.image_model import ImageModel

Condition = TypeVar("Condition")
Condition_contra = TypeVar("Condition_contra", contravariant=True)


class GenerativeModel(Protocol[Condition_contra]):
    """p_θ(x | c) with an evidence lower bound that is a sum of `terms` terms.

    A condition c is what the model is asked for: a prompt, a class. An example x is what the loss
    compares with: an image, or the latent of one; tensors of n examples are [n, …]. The negative
    lower bound is E_ε Σ_k ℓ_k(x, c, ε): the terms are the timesteps of a diffusion model, and an
    autoencoder has a single one.
    """

    @property
    def terms(self) -> int:
        """The number of terms; they are numbered from 0."""
        ...

    def encode_conditions(self, conditions: Sequence[Condition_contra]) -> Tensor:
        """What `elbo_loss` takes for n conditions: [n, …], without a graph."""
        ...

    def noise_for(self, examples: Tensor, generator: Generator) -> Tensor:
        """The ε that `elbo_loss` needs for `examples`: [n, …], drawn from `generator`."""
        ...

    def elbo_loss(self, examples: Tensor, encoded: Tensor, terms: Tensor, noise: Tensor) -> Tensor:
        """ℓ_k(x, c, ε) for n examples, n encoded conditions, terms k [n] and noise [n, …]: [n].

        Differentiable in whatever parameters require gradients.
        """
        ...

    def draw(self, conditions: Sequence[Condition_contra], seed: int) -> Tensor:
        """One example x ~ p_θ(x | c) for each condition, [n, …] on the CPU, without a graph.

        The same conditions and seed give the same examples.
        """
        ...

    def draw_noise_examples(self, count: int, generator: Generator) -> Tensor:
        """Examples that show nothing, pixels uniform over their range: [count, …] on the CPU."""
        ...


class PictureModel(GenerativeModel[str], Protocol):
    """A `GenerativeModel` of pictures, with the generator whose weights it takes the bound of."""

    @property
    def model(self) -> ImageModel: ...


Draw = Callable[[Sequence[str], int], Tensor]
"""Draws RGB uint8 pictures [n, 3, height, width] of n prompts for a seed."""


def generative_of(model: ImageModel, pictures: Draw) -> PictureModel:
    """The model as a `GenerativeModel[str]`: conditions are prompts or classes' names."""
    if isinstance(model, Denoiser):
        return DiffusionGenerative(model, pictures)
    from erasure_bench.models.conditional.vae import ConditionalVAE, VAEGenerative

    assert isinstance(model, ConditionalVAE), "there is no other kind"
    return VAEGenerative(model, pictures)


@dataclass(frozen=True)
class DiffusionGenerative:
    """A diffusion model as a `GenerativeModel[str]`: conditions are prompts or classes' names.

    Examples are scaled latents [n, channels, height, width]; of a model of pixels, the pixels in [−1, 1].
    Its terms are the simplified lower bound's (Ho et al. 2020, equation 14), as every Stable Diffusion
    method uses it:

        ℓ_t(x, c, ε) = mean over channels and places of (ε − ε_θ(√ᾱ_t x + √(1−ᾱ_t) ε, c, t))²

    or, for a model of pixels, the sum over them (`Denoiser.SUMMED_ELBO`), as the papers on those have it.
    `pictures` draws RGB uint8 pictures [n, 3, height, width] of n prompts for a seed; `draw` gives
    their latents. `batch_size` pictures are encoded at once.
    """

    model: Denoiser
    pictures: Draw
    batch_size: int = 32

    @property
    def terms(self) -> int:
        """T, the number of timesteps."""
        return self.model.num_train_timesteps

    @torch.no_grad()
    def encode_conditions(self, conditions: Sequence[str]) -> Tensor:
        """The prompts' text embeddings, [n, tokens, width]."""
        return self.model.encode_prompts(conditions)

    def noise_for(self, examples: Tensor, generator: Generator) -> Tensor:
        """Standard normal noise of the shape of `examples`, fp32 on the CPU."""
        return torch.randn(examples.shape, generator=generator)

    def elbo_loss(self, examples: Tensor, encoded: Tensor, terms: Tensor, noise: Tensor) -> Tensor:
        """ℓ_t(x, c, ε), [n]; `terms` are timesteps."""
        examples, noise = examples.to(self.model.device), noise.to(self.model.device)
        noisy = self.model.add_noise(examples, noise, terms)
        errors = (self.model.predict_noise(noisy, terms, encoded) - noise).square()
        return errors.sum((1, 2, 3)) if self.model.SUMMED_ELBO else errors.mean((1, 2, 3))

    def draw(self, conditions: Sequence[str], seed: int) -> Tensor:
        """Latents of one picture for each prompt."""
        return self._encoded(self.pictures(conditions, seed))

    def draw_noise_examples(self, count: int, generator: Generator) -> Tensor:
        """Latents of pictures whose pixels are drawn uniformly from 0 … 255, each for itself."""
        return self._encoded(noise_pictures(self.model, count, generator))

    def _encoded(self, pictures: Tensor) -> Tensor:
        return encoded_pictures(self.model, pictures, self.batch_size)


def noise_pictures(model: ImageModel, count: int, generator: Generator) -> Tensor:
    """Pictures that show nothing, uint8 [count, 3, side, side]: each value drawn from 0 … 255 for itself."""
    side = model.resolution
    return torch.randint(0, 256, (count, 3, side, side), generator=generator, dtype=torch.uint8)


@torch.no_grad()
def encoded_pictures(model: ImageModel, pictures: Tensor, batch_size: int) -> Tensor:
    """What the model's loss compares with, [n, …] on the CPU, of uint8 pictures [n, 3, height, width]."""
    batches = pictures.split(batch_size)
    return torch.cat([model.encode_images(batch.float() / 255).cpu() for batch in batches])
