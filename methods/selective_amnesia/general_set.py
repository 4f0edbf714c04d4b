"""Pictures of a base model's general prompts and the Fisher information on them: one for all of its edits.

They depend on no concept, and their seed is a setting of its own, so that edits with different
seeds share them, too.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Generator, Tensor

from erasure_bench.methods.base import EraseContext, Need, Preparation
from erasure_bench.methods.machinery.base_images import Drawing, base_images, pictures_needed
from erasure_bench.methods.machinery.parameters import select
from erasure_bench.methods.machinery.training import FORWARD_AND_BACKWARD
from erasure_bench.methods.selective_amnesia.fisher import Fisher, exact_fisher, fast_fisher
from erasure_bench.methods.selective_amnesia.label_dropout import LabelDropout
from erasure_bench.models.generative import Draw, PictureModel
from erasure_bench.models.image_model import ImageModel

VERSION = "1"
"""Names what this makes: another one is due where that changes (`bench.identity`)."""


def pictures(model: ImageModel, drawing: Drawing, context: EraseContext, stretch: bool = False) -> Draw:
    """Draws one picture of each prompt for a seed, or takes it from the context's cache.

    With `stretch` each is `stretched` besides.
    """

    def draw(prompts: Sequence[str], seed: int) -> Tensor:
        images = base_images(model, prompts, replace(context, seed=seed), drawing)
        return stretched(images) if stretch else images

    return draw


def stretched(images: Tensor) -> Tensor:
    """uint8 pictures [n, 3, height, width] from 0 to 255, each for itself; one of a single value stays."""
    values = images.flatten(1).float()
    low, high = values.amin(1, keepdim=True), values.amax(1, keepdim=True)
    spread = ((values - low) / (high - low).clamp(min=1) * 255).round()
    return spread.where(high > low, values).to(torch.uint8).reshape(images.shape)


@dataclass(frozen=True, kw_only=True)
class Quirks:
    """What the official DDPM code does with the pictures that it takes the Fisher information on.

    `unit_range`: they are in [0, 1] where the model was trained on [−1, 1]; `label_dropout` is how often a
    class is ∅; `stretched` pictures span all of the range, each for itself.
    """

    unit_range: bool = False
    label_dropout: float = 0.0
    stretched: bool = False

    @property
    def key(self) -> dict[str, Any]:
        """What tells a Fisher with quirks from one without, nothing where there are none."""
        return {} if self == Quirks() else {"quirks": asdict(self)}


NO_QUIRKS = Quirks()


@dataclass(frozen=True, kw_only=True)
class GeneralSet:
    """General prompts, one picture each, drawn by the base model with `seed`."""

    prompts: tuple[str, ...]
    seed: int
    drawing: Drawing
    quirks: Quirks = NO_QUIRKS

    def latents(self, generative: PictureModel) -> Tensor:
        """What the model's loss compares with, [n, …], on the CPU: the pictures' latents."""
        return generative.draw(self.prompts, self.seed)

    def fisher(
        self,
        generative: PictureModel,
        context: EraseContext,
        *,
        terms: int | None,
        samples: int | None,
        batch_size: int,
    ) -> Fisher:
        """F of all of the UNet's parameters, by full name, on the pictures: made once for a base model.

        `terms` are those of `fast_fisher`, None for the exact one; `samples` of the pictures are
        used, the first ones, None for all. `batch_size` of them go through the model at once.
        """
        prompts = self.prompts[:samples]
        key = self._fisher_key(terms, samples)

        def make() -> dict[str, Tensor]:
            parameters = select(generative.model.parts, "full")
            examples = self.latents(generative)[: len(prompts)]
            if self.quirks.unit_range:
                examples = (examples + 1) / 2
            estimate = exact_fisher if terms is None else partial(fast_fisher, terms=terms)
            dropout = self.quirks.label_dropout
            return estimate(
                LabelDropout(generative, dropout) if dropout else generative,
                parameters,
                examples,
                prompts,
                generator=Generator().manual_seed(self.seed),
                batch_size=batch_size,
                on_sample=lambda done: context.prepared(Preparation(done, len(prompts), "Fisher samples")),
                checkpoints=context.cache.checkpoints(__name__, key),
            )

        return context.cache.fetch(__name__, key, make)

    def pictures_needed(self) -> Need:
        """What `latents` draws."""
        return pictures_needed(self.prompts, self.seed, self.drawing)

    def fisher_needed(self, *, terms: int | None, samples: int | None, of: int) -> Need:
        """What `fisher` computes; the exact one takes all `of` terms of the model's lower bound."""
        return Need(
            unit="Fisher samples",
            count=len(self.prompts[:samples]),
            passes=FORWARD_AND_BACKWARD * (of if terms is None else terms),
            maker=__name__,
            key=self._fisher_key(terms, samples),
        )

    def _fisher_key(self, terms: int | None, samples: int | None) -> dict[str, Any]:
        return {
            "prompts": list(self.prompts[:samples]),
            "seed": self.seed,
            "drawing": asdict(self.drawing),
            "terms": terms,
            **self.quirks.key,
        }
