"""Pictures to forget, seen as their anchor, and pictures that must remain: data of SalUn and EraseDiff."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from pydantic import NonNegativeInt, PositiveFloat, PositiveInt
from torch import Generator, Tensor

from erasure_bench.errors import BenchError
from erasure_bench.methods.base import EraseContext, Need
from erasure_bench.methods.machinery.base_images import (
    as_floats,
    base_images,
    pictures_needed,
)
from erasure_bench.methods.machinery.drawn_pictures import DrawnPictures
from erasure_bench.methods.machinery.examples import (
    Example,
    Noised,
    clean_latents,
    draw_examples,
    examples_needed,
    noised,
)
from erasure_bench.methods.machinery.general_prompts import silent_on
from erasure_bench.methods.machinery.lots import integers
from erasure_bench.methods.machinery.parameters import UNetGroup
from erasure_bench.methods.machinery.prompt_pairs import prompt_pairs
from erasure_bench.methods.machinery.retargeting import Lesson
from erasure_bench.methods.machinery.training import OptimiserName
from erasure_bench.models.diffusion_model import DiffusionModel
from erasure_bench.prompt_suites.concepts import Concept

Remaining = Literal["anchor", "general"]


class Remembered(NamedTuple):
    """A picture that must remain, RGB uint8 [3, height, width], and its prompt."""

    image: Tensor
    prompt: str


class Material(NamedTuple):
    """What is forgotten and what remains."""

    forgotten: tuple[Example, ...]
    remembered: tuple[Remembered, ...]


@dataclass(frozen=True, kw_only=True)
class ForgetAndRemain(DrawnPictures):
    """The settings that training on two such sets has, whatever its loss.

    `images` of each concept are drawn by the base model, of its anchor prompts with the target in the
    anchor's place, and as many in all must remain: of the concepts' `anchor` prompts, or of the `general`
    prompts that neither name nor evoke a concept. They are drawn with `denoise_steps` steps of `scheduler`,
    `eta` and `guidance_scale`. With `drawn_latents` a picture's latents are drawn from the autoencoder's
    posterior, anew for the prompt to learn and for the one to learn from, as the official codes do by
    encoding it twice; else they are its mean.

    `parameters` take `steps` steps of `optimiser` at `learning_rate` on `batch_size` pictures of either set,
    `micro_batch` of them at a time.
    """

    parameters: UNetGroup
    remain: Remaining = "general"
    images: PositiveInt = 800
    drawn_latents: bool = True
    steps: NonNegativeInt
    optimiser: OptimiserName = "adam"
    learning_rate: PositiveFloat = 1e-5
    batch_size: PositiveInt
    micro_batch: PositiveInt | None = None
    gradient_checkpointing: bool = False

    def material(self, model: DiffusionModel, concepts: Sequence[Concept], context: EraseContext) -> Material:
        """The pictures; the model must hold its base weights. Raises BenchError where nothing can remain."""
        forgotten = [
            example
            for concept in concepts
            for example in draw_examples(
                model, prompt_pairs(concept), self.images, "target", self.drawing(), context
            )
        ]
        prompts = self._remaining(concepts, context)
        images = base_images(model, prompts, context, self.drawing())
        return Material(tuple(forgotten), tuple(map(Remembered, images, prompts)))

    def pictures_needed(self, concepts: Sequence[Concept], context: EraseContext) -> tuple[Need, ...]:
        """What `material` draws."""
        forgotten = [
            examples_needed(prompt_pairs(concept), self.images, "target", self.drawing(), context)
            for concept in concepts
        ]
        remaining = self._remaining(concepts, context)
        return (*forgotten, pictures_needed(remaining, context.seed, self.drawing()))

    def _remaining(self, concepts: Sequence[Concept], context: EraseContext) -> list[str]:
        if self.remain == "anchor":
            prompts = [pair.anchor for concept in concepts for pair in prompt_pairs(concept)]
        else:
            prompts = [context.general_prompts[row] for row in silent_on(concepts, context.general_prompts)]
        if not prompts:
            raise BenchError(
                "no general prompts are known for this model, or all of them name what is erased: nothing is "
                "left that could remain (--method-option remain=anchor)"
            )
        return [prompts[place % len(prompts)] for place in range(self.images)]

    def about_forgotten(self, model: DiffusionModel, material: Material, generator: Generator) -> Lesson:
        """A step's pictures to forget: their prompts should predict what their anchors' do."""
        rows = integers(generator, 0, len(material.forgotten), self.batch_size)
        chosen = [material.forgotten[row] for row in rows]
        images = as_floats(torch.stack([one.image for one in chosen]))
        seen = noised(model, images, generator, self.drawn_latents)
        return Lesson(
            *seen,
            prompts=tuple(one.targets[0] for one in chosen),
            anchors=tuple(one.anchor for one in chosen),
            masks=None,
            weights=torch.ones(len(chosen)),
            anchor_latents=self._again(model, images, seen, generator),
        )

    def about_remembered(self, model: DiffusionModel, material: Material, generator: Generator) -> Lesson:
        """A step's pictures that must remain, with the true noise."""
        rows = integers(generator, 0, len(material.remembered), self.batch_size)
        chosen = [material.remembered[row] for row in rows]
        images = as_floats(torch.stack([one.image for one in chosen]))
        return Lesson(
            *noised(model, images, generator, self.drawn_latents),
            prompts=tuple(one.prompt for one in chosen),
            anchors=None,
            masks=None,
            weights=torch.ones(len(chosen)),
        )

    def _again(
        self, model: DiffusionModel, images: Tensor, seen: Noised, generator: Generator
    ) -> Tensor | None:
        """The same noise at the same time on latents that are drawn once more."""
        if not self.drawn_latents:
            return None
        clean = clean_latents(model, images, generator)
        return model.add_noise(clean, seen.noise, seen.timesteps)
