"""A class-conditional variational autoencoder (Sohn et al. 2015), as Selective Amnesia has it for MNIST.

    −ELBO(x, c) = BCE(x, p_θ(x | z, c)) + KL(q_φ(z | x, c) ‖ N(0, I)),    z = μ + σ ⊙ ε

BCE is the sum over pixels, x in [0, 1]; c enters encoder and decoder as a one-hot row beside their input.
"""

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar, NamedTuple, Self, cast

import torch
from torch import Generator, Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from erasure_bench.models.conditional.classes import as_grey_or_rgb, as_rgb, one_hot
from erasure_bench.models.conditional.ddpm import native_size
from erasure_bench.models.conditional.description import Description, VAESizes
from erasure_bench.models.generative import Draw, encoded_pictures, noise_pictures
from erasure_bench.models.image_families import Family
from erasure_bench.models.image_model import settle, wide

PART = "vae"


class Posterior(NamedTuple):
    """μ and log σ² of q(z | x, c), each [n, latent]."""

    mean: Tensor
    log_variance: Tensor


class ClassVAE(nn.Module):
    """Two perceptrons with ReLU: (x, c) → (μ, log σ²) and (z, c) → the pixels' logits."""

    def __init__(self, sizes: VAESizes, *, classes: int, pixels: int) -> None:
        super().__init__()
        self.encoder = _perceptron((pixels + classes, *sizes.hidden, 2 * sizes.latent))
        self.decoder = _perceptron((sizes.latent + classes, *reversed(sizes.hidden), pixels))

    def encode(self, pixels: Tensor, classes: Tensor) -> Posterior:
        """q(z | x, c) of pixels [n, k] in [0, 1] and one-hot classes [n, classes]."""
        return Posterior(*self.encoder(torch.cat([pixels, classes], dim=1)).chunk(2, dim=1))

    def decode(self, latents: Tensor, classes: Tensor) -> Tensor:
        """Logits of the pixels, [n, k], of latents [n, latent]."""
        return cast(Tensor, self.decoder(torch.cat([latents, classes], dim=1)))


def _perceptron(widths: Sequence[int]) -> nn.Sequential:
    layers: list[nn.Module] = []
    for narrow, broad in pairwise(widths):
        layers += [nn.Linear(narrow, broad), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


class ConditionalVAE:
    """`ClassVAE` with its classes' names, as an `ImageModel` that draws the decoder's mean in one pass."""

    FAMILY: ClassVar[Family] = "class-vae"

    def __init__(
        self,
        network: ClassVAE,
        description: Description,
        *,
        name: str,
        digest: str,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> None:
        self.name = name
        self.digest = digest
        self.description = description
        self.preset = description.preset
        self.device = torch.device(device)
        self.dtype = dtype
        self.parts: dict[str, nn.Module] = {PART: network}
        settle(self.parts, self.device, dtype)

    @property
    def family(self) -> Family:
        """What kind of generator it is."""
        return self.FAMILY

    @property
    def network(self) -> ClassVAE:
        """Encoder and decoder."""
        return cast(ClassVAE, self.parts[PART])

    @property
    def classes(self) -> tuple[str, ...]:
        """The names that it can be asked by."""
        return self.description.classes

    @property
    def resolution(self) -> int:
        """The side of a picture in pixels."""
        return self.description.side

    def latent_shape(self, height: int | None = None, width: int | None = None) -> tuple[int, ...]:
        """(latent,): the shape of z. Raises BenchError for another size of picture than the model's own."""
        native_size(self.description, self.name, height, width)
        assert isinstance(self.description.sizes, VAESizes)
        return (self.description.sizes.latent,)

    def encode_prompts(self, prompts: Sequence[str]) -> Tensor:
        """One-hot rows [n, 1, classes] of classes' names; raises UnknownName for any other."""
        rows = one_hot(prompts, self.description.classes, self.name, none=False)
        return rows.to(self.device, self.dtype)

    def encode_images(self, images: Tensor) -> Tensor:
        """Pixels [n, channels · side²] in [0, 1] of RGB `images` [n, 3, side, side] in [0, 1]."""
        return wide(as_grey_or_rgb(images, self.description.channels).to(self.device)).flatten(1)

    @torch.no_grad()
    def decode(self, noise: Tensor, embeddings: Tensor) -> Tensor:
        """RGB images [n, 3, side, side] in [0, 1]: the decoder's mean for z = `noise` [n, latent].

        `embeddings` are one-hot rows [n, 1, classes].
        """
        logits = self.network.decode(noise.to(self.device, self.dtype), embeddings[:, 0])
        shape = self.description.channels, self.description.side, self.description.side
        return as_rgb(wide(logits).sigmoid().unflatten(1, shape))

    def negative_elbo(self, pixels: Tensor, classes: Tensor, noise: Tensor) -> Tensor:
        """−ELBO [n] in nats of pixels [n, k] in [0, 1], one-hot classes [n, classes] and ε [n, latent]."""
        pixels, noise = pixels.to(self.device, self.dtype), noise.to(self.device, self.dtype)
        mean, log_variance = self.network.encode(pixels, classes)
        latents = mean + (log_variance / 2).exp() * noise
        logits = self.network.decode(latents, classes)
        reconstruction = binary_cross_entropy_with_logits(wide(logits), wide(pixels), reduction="none").sum(1)
        return reconstruction + kl_to_standard_normal(wide(mean), wide(log_variance))

    def named_tensors(self) -> dict[str, Tensor]:
        """The parameters that an edit may change, as "vae.<name>"."""
        return {f"{PART}.{name}": parameter for name, parameter in self.network.named_parameters()}

    def frozen_copy(self, dtype: torch.dtype | None = None) -> Self:
        """The model as it is now, with a network of its own, in another `dtype` if one is given."""
        frozen = copy.copy(self)
        frozen.dtype = dtype or self.dtype
        frozen.parts = {PART: copy.deepcopy(self.network)}
        settle(frozen.parts, frozen.device, frozen.dtype)
        return frozen

    def probe(self, prompt: str | None = None) -> Tensor:
        """A picture of fixed z, and what the encoder makes of it: [k], on the CPU."""
        asked = self.encode_prompts([self.description.classes[0] if prompt is None else prompt])
        noise = torch.randn(1, *self.latent_shape(), generator=Generator().manual_seed(0))
        with torch.no_grad():
            picture = self.decode(noise, asked)
            posterior = self.network.encode(self.encode_images(picture).to(self.dtype), asked[:, 0])
        return torch.cat([wide(each).flatten() for each in (picture, *posterior)]).cpu()


def kl_to_standard_normal(mean: Tensor, log_variance: Tensor) -> Tensor:
    """KL(N(μ, σ²) ‖ N(0, I)) [n] in nats: ½ Σ (μ² + σ² − 1 − log σ²)."""
    return (mean.square() + log_variance.exp() - 1 - log_variance).sum(1) / 2


@dataclass(frozen=True)
class VAEGenerative:
    """A conditional VAE as a `GenerativeModel[str]`: one term, examples are pixels [n, k] in [0, 1].

    `pictures` draws RGB uint8 pictures [n, 3, height, width] of n classes' names for a seed.
    """

    model: ConditionalVAE
    pictures: Draw
    batch_size: int = 1024

    @property
    def terms(self) -> int:
        """One."""
        return 1

    @torch.no_grad()
    def encode_conditions(self, conditions: Sequence[str]) -> Tensor:
        """One-hot rows [n, 1, classes]."""
        return self.model.encode_prompts(conditions)

    def noise_for(self, examples: Tensor, generator: Generator) -> Tensor:
        """The reparameterisation's ε, standard normal [n, latent], fp32 on the CPU."""
        return torch.randn(len(examples), *self.model.latent_shape(), generator=generator)

    def elbo_loss(self, examples: Tensor, encoded: Tensor, terms: Tensor, noise: Tensor) -> Tensor:
        """−ELBO(x, c), [n]; `terms` are all 0."""
        return self.model.negative_elbo(examples, encoded[:, 0], noise)

    def draw(self, conditions: Sequence[str], seed: int) -> Tensor:
        """Pixels of one picture for each class's name."""
        return encoded_pictures(self.model, self.pictures(conditions, seed), self.batch_size)

    def draw_noise_examples(self, count: int, generator: Generator) -> Tensor:
        """Pixels drawn uniformly from 0 … 255 over 255, each for itself."""
        return encoded_pictures(self.model, noise_pictures(self.model, count, generator), self.batch_size)


def build_vae(description: Description) -> ClassVAE:
    """The network that a description asks for, with fresh weights."""
    assert isinstance(description.sizes, VAESizes)
    pixels = description.channels * description.side**2
    return ClassVAE(description.sizes, classes=len(description.classes), pixels=pixels)
