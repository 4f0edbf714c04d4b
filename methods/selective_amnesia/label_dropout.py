"""A generative model whose condition is ∅ now and then: Selective Amnesia's DDPM code takes its Fisher so.

Its model drops a class with the probability of the base's training, in evaluation mode as well.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from erasure_bench.models.generative import PictureModel
from erasure_bench.models.image_model import ImageModel


@dataclass(frozen=True)
class LabelDropout:
    """`PictureModel` with a class that each term of the bound drops for itself, with `probability`.

    Whether it does is drawn with the term's noise: `noise_for` gives [n, k + 1], the last for that.
    """

    generative: PictureModel
    probability: float

    @property
    def model(self) -> ImageModel:
        """The generator itself."""
        return self.generative.model

    @property
    def terms(self) -> int:
        """As many as without."""
        return self.generative.terms

    def encode_conditions(self, conditions: Sequence[str]) -> Tensor:
        """As without."""
        return self.generative.encode_conditions(conditions)

    def noise_for(self, examples: Tensor, generator: Generator) -> Tensor:
        """The bound's noise, flat, and a number of [0, 1) beside it."""
        noise = self.generative.noise_for(examples, generator).flatten(1)
        return torch.cat([noise, torch.rand(len(noise), 1, generator=generator)], dim=1)

    def elbo_loss(self, examples: Tensor, encoded: Tensor, terms: Tensor, noise: Tensor) -> Tensor:
        """ℓ_k(x, c or ∅, ε), [n]."""
        dropped = (noise[:, -1] < self.probability).to(encoded.device)
        none = self.generative.encode_conditions([""])
        mixed = encoded.where(~dropped[:, None, None], none)
        return self.generative.elbo_loss(examples, mixed, terms, noise[:, :-1].reshape(examples.shape))

    def draw(self, conditions: Sequence[str], seed: int) -> Tensor:
        """As without."""
        return self.generative.draw(conditions, seed)

    def draw_noise_examples(self, count: int, generator: Generator) -> Tensor:
        """As without."""
        return self.generative.draw_noise_examples(count, generator)
