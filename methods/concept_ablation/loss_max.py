"""Loss maximisation: the baseline of the Concept Ablation paper that unlearns by doing worse.

Kumari et al., ICCV 2023, baseline of section 4. With L the diffusion loss on pictures x* of the
concept, drawn by the base model, and θ* the base weights:

    min_θ  max(1 − L(x*, c*), 0) + λ ‖θ − θ*‖₂               L = ‖ε − ε_θ(x*_t, c*, t)‖², averaged

The norm is not squared: it pulls back with the same force however far the weights have gone.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, NamedTuple

import torch
from pydantic import NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt
from torch import Generator, Tensor
from torch.nn.functional import mse_loss

from erasure_bench.methods.base import EraseContext, MethodCard, Need
from erasure_bench.methods.edit import Edit, check_concepts, new_edit
from erasure_bench.methods.machinery.base_images import as_floats
from erasure_bench.methods.machinery.drawn_pictures import DrawnPictures
from erasure_bench.methods.machinery.examples import (
    Example,
    Noised,
    draw_examples,
    examples_needed,
    noised,
)
from erasure_bench.methods.machinery.lots import integers
from erasure_bench.methods.machinery.parameters import ParameterGroup
from erasure_bench.methods.machinery.prompt_pairs import PromptPair, prompt_pairs
from erasure_bench.methods.machinery.training import FORWARD_AND_BACKWARD, FineTune, OptimiserName
from erasure_bench.models.denoiser import Denoiser
from erasure_bench.models.image_families import DENOISERS
from erasure_bench.models.image_model import wide
from erasure_bench.prompt_suites.concepts import Concept


@dataclass(frozen=True, kw_only=True)
class LossMaximisation(DrawnPictures):
    """Settings of loss maximisation.

    `penalty` is λ: the paper does not say its own, nor is there code, so the default is a guess.
    `ceiling` is the formula's 1, the loss above which nothing more is won: what predicting no noise
    at all costs. What else the paper leaves open is as in Concept Ablation: `parameters`, `steps` of
    `optimiser` at `learning_rate` on `batch_size` pictures, `micro_batch` of them at a time, and
    `images` pictures for each concept, of its anchor prompts with the target in the anchor's place,
    drawn with `denoise_steps` steps of `scheduler`, `eta` and `guidance_scale`.
    What is reported as cost is the training: the pictures are shared with other edits.
    """

    penalty: NonNegativeFloat = 0.01
    ceiling: PositiveFloat = 1.0
    parameters: ParameterGroup = "xattn-strict"
    images: PositiveInt = 200
    denoise_steps: PositiveInt = 200
    eta: NonNegativeFloat = 1.0
    guidance_scale: float = 6.0
    steps: NonNegativeInt = 100
    optimiser: OptimiserName = "adamw"
    learning_rate: PositiveFloat = 1.6e-5
    weight_decay: NonNegativeFloat = 0.0
    batch_size: PositiveInt = 8
    micro_batch: PositiveInt | None = None
    gradient_checkpointing: bool = False

    def erase(self, model: Denoiser, concepts: Sequence[Concept], context: EraseContext) -> Edit:
        """The weights that predict the noise on the concepts' pictures badly."""
        check_concepts(concepts)
        examples = self.examples(model, concepts, context)
        with FineTune(
            model,
            self.parameters,
            learning_rate=self.learning_rate,
            steps=self.steps,
            context=context,
            optimiser=self.optimiser,
            weight_decay=self.weight_decay,
            gradient_checkpointing=self.gradient_checkpointing,
        ) as tuning:
            base = {name: wide(parameter.detach()).clone() for name, parameter in tuning.parameters.items()}
            for _ in tuning:
                lesson = self.lesson(model, examples, tuning.generator)
                parts = losses(model, lesson, self.ceiling, self.micro_batch or self.batch_size)
                tuning.minimise(chain(parts, self._penalties(tuning.parameters, base)))
        return new_edit(
            "loss-max", self, model, concepts, tensors=tuning.tensors, cost=tuning.cost, losses=tuning.losses
        )

    def examples(
        self, model: Denoiser, concepts: Sequence[Concept], context: EraseContext
    ) -> tuple[Example, ...]:
        """Pictures of every concept, each with the prompt that it was drawn by."""
        return tuple(
            example
            for concept in concepts
            for example in draw_examples(
                model, _pairs(model, concept), self.images, "target", self.drawing(), context
            )
        )

    def needs(self, concepts: Sequence[Concept], context: EraseContext) -> tuple[Need, ...]:
        """The pictures of every concept and the steps."""
        pictures = [
            examples_needed(prompt_pairs(concept), self.images, "target", self.drawing(), context)
            for concept in concepts
        ]
        passes = FORWARD_AND_BACKWARD * self.batch_size
        return (*pictures, Need(unit="steps", count=self.steps, passes=passes))

    def _penalties(self, parameters: Mapping[str, Tensor], base: Mapping[str, Tensor]) -> Iterator[Tensor]:
        """The one summand besides the hinge; a generator, so that its graph is not there before."""
        yield self.penalty * distance(parameters, base)

    def lesson(self, model: Denoiser, examples: Sequence[Example], generator: Generator) -> "Lesson":
        """One step's pictures with noise on them."""
        chosen = [examples[row] for row in integers(generator, 0, len(examples), self.batch_size)]
        images = as_floats(torch.stack([example.image for example in chosen]))
        return Lesson(noised(model, images, generator), tuple(example.targets[0] for example in chosen))


def _pairs(model: Denoiser, concept: Concept) -> tuple[PromptPair, ...]:
    """The ways to ask for the concept; a model that is asked by classes' names knows no other."""
    if model.classes:
        return (PromptPair(concept.anchor, (concept.target,)),)
    return prompt_pairs(concept)


class Lesson(NamedTuple):
    """n pictures with noise on them, and their prompts."""

    noised: Noised
    prompts: tuple[str, ...]


def losses(model: Denoiser, lesson: Lesson, ceiling: float, micro_batch: int) -> Iterator[Tensor]:
    """max(ceiling − L, 0) with L the mean over the whole lesson, as one summand for each micro-batch.

    With several micro-batches L is computed beforehand, without a graph, to know on which side of
    the hinge it lies; above the ceiling there is then no summand.
    """
    count = len(lesson.prompts)
    parts = [slice(start, start + micro_batch) for start in range(0, count, micro_batch)]
    if len(parts) == 1:
        yield (ceiling - _mean_error(model, lesson, parts[0])).clamp(min=0.0)
        return
    shares = [len(lesson.prompts[part]) / count for part in parts]
    with torch.no_grad():
        whole = sum(
            share * _mean_error(model, lesson, part).item() for share, part in zip(shares, parts, strict=True)
        )
    if whole < ceiling:
        for share, part in zip(shares, parts, strict=True):
            yield share * (ceiling - _mean_error(model, lesson, part))


def distance(parameters: Mapping[str, Tensor], base: Mapping[str, Tensor]) -> Tensor:
    """‖θ − θ*‖₂ over all `parameters`, in fp32 at least; its gradient where they are equal is 0."""
    return torch.linalg.vector_norm(
        torch.stack(
            [torch.linalg.vector_norm(wide(parameter) - base[name]) for name, parameter in parameters.items()]
        )
    )


def _mean_error(model: Denoiser, lesson: Lesson, part: slice) -> Tensor:
    latents, noise, timesteps = (tensor[part] for tensor in lesson.noised)
    return mse_loss(model.predict_noise(latents, timesteps, lesson.prompts[part]), noise)


OFFICIAL: dict[str, Any] = {"penalty": 0.01}
MICROWORLD: dict[str, Any] = {
    "penalty": 0.001,
    "images": 48,
    "denoise_steps": 20,
    "eta": 0.0,
    "guidance_scale": 4.0,
    "steps": 100,
    "learning_rate": 5e-4,
}

DIGITS_DDPM: dict[str, Any] = {**MICROWORLD, "guidance_scale": 2.0, "parameters": "xattn", "batch_size": 32}

LOSS_MAX = MethodCard(
    name="loss-max",
    title="Loss maximisation",
    paper="Kumari et al., Ablating Concepts in Text-to-Image Diffusion Models, ICCV 2023, arXiv:2303.13516, "
    "its baseline",
    formula="min_θ max(1 − L(x*, c*), 0) + λ ‖θ − θ*‖₂",
    build=LossMaximisation,
    presets={"official": OFFICIAL, "microworld": MICROWORLD, "digits-ddpm": DIGITS_DDPM},
    quick={"images": 4, "denoise_steps": 2, "steps": 2, "batch_size": 2},
    many_concepts=True,
    families=DENOISERS,
    notes="Trains in the model's precision (--dtype). "
    "Not in any released code, and the paper does not give λ (penalty): the official preset's is a "
    "guess, with ca-model's numbers for the rest. On the built-in model's "
    "validation concepts its learning rate keeps 60 % of the neighbours and 1e-3 47 %; both erase all.",
)
