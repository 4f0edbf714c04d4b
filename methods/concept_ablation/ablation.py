"""Concept Ablation (CA).

Kumari, Zhang, Wang, Shechtman, Zhang, Zhu: Ablating Concepts in Text-to-Image Diffusion Models, ICCV
2023. The denoiser is fine-tuned until the target concept's prompt c* draws what the anchor's prompt c draws
("grumpy cat" what "cat" draws):

    ca-model    ‖ε_θ(x_t, c*, t) − sg ε_θ(x_t, c, t)‖²        x_t from a picture of the anchor
    ca-noise    ‖ε_θ(x_t, c*, t) − ε‖²                        x_t from a picture of the anchor
    ca-reverse  ‖ε_θ(x_t, c*, t) − sg ε_θ(x_t, c, t)‖²        x_t from a picture of the target

    + λ ‖ε_θ(x_t, c, t) − ε‖²                                 where regularised, x_t from the anchor

with t ~ U{0 … T−1}, sg the stop-gradient, and all pictures drawn by the base model.
"""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, TypeVar

import torch
from pydantic import NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt
from torch import Generator, Tensor

from erasure_bench.errors import BenchError
from erasure_bench.methods.base import EraseContext, MethodCard, Need
from erasure_bench.methods.concept_ablation.augmentation import augment, mirrored
from erasure_bench.methods.concept_ablation.recipes import RECIPES, Recipe
from erasure_bench.methods.edit import Edit, check_concepts, new_edit
from erasure_bench.methods.machinery.base_images import Drawing, as_floats
from erasure_bench.methods.machinery.drawn_pictures import DrawnPictures
from erasure_bench.methods.machinery.examples import (
    Example,
    Shows,
    draw_examples,
    examples_needed,
    noised,
)
from erasure_bench.methods.machinery.gradient_limits import first_token_detached, only_rows_of
from erasure_bench.methods.machinery.lots import integers
from erasure_bench.methods.machinery.parameters import ParameterGroup
from erasure_bench.methods.machinery.prompt_pairs import RecipeBook, overlaps, prompt_pairs
from erasure_bench.methods.machinery.retargeting import Lesson, losses
from erasure_bench.methods.machinery.training import FORWARD_AND_BACKWARD, FineTune, OptimiserName
from erasure_bench.models.diffusion_model import DiffusionModel
from erasure_bench.prompt_suites.concepts import Concept

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class ConceptAblation(DrawnPictures):
    """Settings of Concept Ablation; the defaults are the official compvis code's for SD 1.4.

    Settings that are None follow the concept's kind, by the `recipe` book of `RECIPES`: `parameters`,
    `learning_rate`, `batch_size`, `steps`, `augment`, `regularisation` and `clip_norm`, the largest norm of a
    step's gradient, 0 for any. An edit records what they were.

    What is learnt: `objective` as above; the target of `model` and `reverse` is the prediction of the
    model as it is being trained (`target` current), as in the official codes, or of the frozen base.
    `regularisation` is λ, 0 for none; by a recipe it may depend on whether a target phrase has the
    anchor's words in it. With `detach_bos` no gradient goes through the keys and values that the
    cross-attention makes of a prompt's first token, which is the same in every prompt. In the
    group `embedding` only the target phrases' own tokens are trained: `all` of them, or, as the official
    codes have it, `all-but-last` (of a phrase with a single token that one).

    On which pictures: `images` for each concept, of its anchor prompts in turn, drawn with `denoise_steps`
    steps of `scheduler`, `eta` and `guidance_scale`. `anchor` takes the place of the concept's own;
    write it as that is written, with its article where that has one. `flip` mirrors half of the
    pictures; `augment` shows them small or from close by and says so before the target's prompt.

    How: `steps` (times the number of concepts, if left to the recipe) of `optimiser` at `learning_rate`
    on `batch_size` pictures, and as many of the anchor where regularised, `micro_batch` of them at a time.
    What is reported as cost is the training: the pictures are shared with other edits.
    """

    objective: Literal["model", "noise", "reverse"]
    recipe: RecipeBook = "compvis"
    anchor: str | None = None
    target: Literal["current", "base"] = "current"
    regularisation: NonNegativeFloat | None = None
    detach_bos: bool = True
    parameters: ParameterGroup | None = None
    trained_tokens: Literal["all", "all-but-last"] = "all-but-last"
    images: PositiveInt = 200
    denoise_steps: PositiveInt = 200
    eta: NonNegativeFloat = 1.0
    guidance_scale: float = 6.0
    flip: bool = True
    augment: bool | None = None
    steps: NonNegativeInt | None = None
    optimiser: OptimiserName = "adamw"
    learning_rate: PositiveFloat | None = None
    weight_decay: NonNegativeFloat = 0.01
    clip_norm: NonNegativeFloat | None = None
    batch_size: PositiveInt | None = None
    micro_batch: PositiveInt | None = None
    gradient_checkpointing: bool = False

    def __post_init__(self) -> None:
        if self.anchor is not None and not self.anchor.strip():
            raise BenchError("anchor is empty: give a phrase, or none for the concept's own")
        super().__post_init__()

    def unused_settings(self) -> Mapping[str, str]:
        """The target of a model's prediction, where it is noise; the tokens, where the UNet is trained."""
        unused = {}
        if self.objective == "noise":
            unused["target"] = "with objective=noise, whose target is no prediction"
        if self.parameters != "embedding":
            unused["trained_tokens"] = "without parameters=embedding"
        return unused

    def erase(self, model: DiffusionModel, concepts: Sequence[Concept], context: EraseContext) -> Edit:
        """The weights for which the targets' prompts mean their anchors; pictures are drawn of every concept.

        Raises BenchError for concepts whose recipes contradict each other where the settings leave a choice.
        """
        check_concepts(concepts)
        plan = self.plan(concepts)
        material = self.material(model, concepts, context)
        teacher = model if self.target == "current" else model.frozen_copy()
        with FineTune(
            model,
            plan.parameters,
            learning_rate=plan.learning_rate,
            steps=plan.steps,
            context=context,
            optimiser=self.optimiser,
            weight_decay=self.weight_decay,
            clip_norm=plan.clip_norm or None,
            gradient_checkpointing=self.gradient_checkpointing,
        ) as tuning:
            phrases = [phrase for concept in concepts for phrase in concept.targets]
            rows = only_rows_of(model, phrases, last=self.trained_tokens == "all")
            with first_token_detached(model.unet, self.detach_bos), rows:
                for _ in tuning:
                    lessons = self.lessons(model, material, plan.batch_size, tuning.generator)
                    tuning.minimise(losses(model, teacher, lessons, self.micro_batch or plan.batch_size))
        return new_edit(
            "concept-ablation",
            dataclasses.replace(self, **plan._asdict(), **self._agreed(concepts)),
            model,
            concepts,
            tensors=tuning.tensors,
            cost=tuning.cost,
            losses=tuning.losses,
        )

    def plan(self, concepts: Sequence[Concept]) -> "Plan":
        """The settings that one training has one of."""
        recipes = [self._recipe(concept) for concept in concepts]
        regularised = any(self.weight_on_anchor(concept) > 0 for concept in concepts)

        def one(name: str, chosen: T | None, of_recipes: Iterable[T]) -> T:
            values = [chosen] if chosen is not None else list(dict.fromkeys(of_recipes))
            if len(values) > 1:
                kinds = ", ".join(dict.fromkeys(concept.kind for concept in concepts))
                valid = " or ".join(str(value) for value in values)
                raise BenchError(
                    f"concepts of the kinds {kinds} have different recipes: choose {name}={valid} "
                    f"(--method-option {name}=…)"
                )
            return values[0]

        return Plan(
            one("parameters", self.parameters, (recipe.parameters for recipe in recipes)),
            one("learning_rate", self.learning_rate, (recipe.rate(regularised) for recipe in recipes)),
            one("batch_size", self.batch_size, (recipe.lot(regularised) for recipe in recipes)),
            one("steps", self.steps, (recipe.steps * len(concepts) for recipe in recipes)),
            one("clip_norm", self.clip_norm, (recipe.clip_norm for recipe in recipes)),
        )

    def weight_on_anchor(self, concept: Concept) -> float:
        """λ for a concept; 0 where it is not regularised."""
        if self.regularisation is not None:
            return self.regularisation
        recipe = self._recipe(concept)
        match recipe.regularised:
            case "always":
                return recipe.regularisation
            case "overlap":
                return recipe.regularisation if overlaps(concept, self.anchor) else 0.0
            case "never":
                return 0.0

    def augments(self, concept: Concept) -> bool:
        """Whether a concept's pictures are augmented."""
        return self._recipe(concept).augment if self.augment is None else self.augment

    def material(
        self, model: DiffusionModel, concepts: Sequence[Concept], context: EraseContext
    ) -> "Material":
        """The pictures of every concept with their prompts; the model must hold its base weights."""
        shown: list[Shown] = []
        anchors: list[Shown] = []
        for concept in concepts:
            reverse, weight = self.objective == "reverse", self.weight_on_anchor(concept)
            of_anchor: tuple[Example, ...] = ()
            if "anchor" in self._shown(concept):
                of_anchor = self._pictures(model, concept, "anchor", context)
            if weight > 0:
                augmented = self.augments(concept) and self._recipe(concept).augment_anchors
                anchors += [Shown(example, augmented, weight) for example in of_anchor]
            learnt_on = self._pictures(model, concept, "target", context) if reverse else of_anchor
            shown += [Shown(example, self.augments(concept), 1.0) for example in learnt_on]
        return Material(tuple(shown), tuple(anchors))

    def needs(self, concepts: Sequence[Concept], context: EraseContext) -> tuple[Need, ...]:
        """The pictures of every concept and the steps; a step's target is one more pass without gradient."""
        pictures = []
        for concept in concepts:
            for shows in self._shown(concept):
                pairs = prompt_pairs(concept, self.anchor, self.recipe)
                drawing = self._drawing_of(concept, shows)
                pictures.append(examples_needed(pairs, self.images, shows, drawing, context))
        plan = self.plan(concepts)
        regularised = any(self.weight_on_anchor(concept) > 0 for concept in concepts)
        each = FORWARD_AND_BACKWARD * (2 if regularised else 1) + (self.objective != "noise")
        return (*pictures, Need(unit="steps", count=plan.steps, passes=each * plan.batch_size))

    def _shown(self, concept: Concept) -> tuple[Shows, ...]:
        """What pictures a concept needs: `material` says what of."""
        if self.objective != "reverse":
            return ("anchor",)
        return ("anchor", "target") if self.weight_on_anchor(concept) > 0 else ("target",)

    def lessons(
        self, model: DiffusionModel, material: "Material", count: int, generator: Generator
    ) -> list[Lesson]:
        """A step's lessons of `count` pictures each: the objective's, and where regularised the anchors'."""
        drawn = [material.shown[row] for row in integers(generator, 0, len(material.shown), count)]
        found = [self._about_targets(model, drawn, generator)]
        if material.anchors:
            drawn = [material.anchors[row] for row in integers(generator, 0, len(material.anchors), count)]
            found.append(self._about_anchors(model, drawn, generator))
        return found

    def _about_targets(self, model: DiffusionModel, drawn: Sequence["Shown"], generator: Generator) -> Lesson:
        images = self._images(drawn, generator)
        prompts = [
            one.example.targets[integers(generator, 0, len(one.example.targets), 1)[0]] for one in drawn
        ]
        masks = _augment(model, drawn, images, prompts, generator)
        anchors = None if self.objective == "noise" else tuple(one.example.anchor for one in drawn)
        return Lesson(
            *noised(model, images, generator), tuple(prompts), anchors, masks, torch.ones(len(drawn))
        )

    def _about_anchors(self, model: DiffusionModel, drawn: Sequence["Shown"], generator: Generator) -> Lesson:
        images = self._images(drawn, generator)
        prompts = [one.example.anchor for one in drawn]
        masks = _augment(model, drawn, images, prompts, generator)
        weights = torch.tensor([one.weight for one in drawn])
        return Lesson(*noised(model, images, generator), tuple(prompts), None, masks, weights)

    def _images(self, drawn: Sequence["Shown"], generator: Generator) -> Tensor:
        images = as_floats(torch.stack([one.example.image for one in drawn]))
        return mirrored(images, generator) if self.flip else images

    def _pictures(
        self,
        model: DiffusionModel,
        concept: Concept,
        shows: Shows,
        context: EraseContext,
    ) -> tuple[Example, ...]:
        pairs = prompt_pairs(concept, self.anchor, self.recipe)
        return draw_examples(model, pairs, self.images, shows, self._drawing_of(concept, shows), context)

    def _drawing_of(self, concept: Concept, shows: Shows) -> Drawing:
        avoided = shows == "anchor" and self._recipe(concept).avoid_target
        return self.drawing(concept.steer_away_from if avoided else "")

    def _recipe(self, concept: Concept) -> Recipe:
        return RECIPES[self.recipe][concept.kind]

    def _agreed(self, concepts: Sequence[Concept]) -> dict[str, Any]:
        """What the recipes chose for each concept, where they chose the same for all."""
        chosen: dict[str, set[Any]] = {
            "augment": {self.augments(concept) for concept in concepts},
            "regularisation": {self.weight_on_anchor(concept) for concept in concepts},
        }
        return {name: values.pop() for name, values in chosen.items() if len(values) == 1}


class Plan(NamedTuple):
    """What the recipes of all concepts came to."""

    parameters: ParameterGroup
    learning_rate: float
    batch_size: int
    steps: int
    clip_norm: float


class Shown(NamedTuple):
    """An example, whether it is augmented, and what its loss weighs."""

    example: Example
    augmented: bool
    weight: float


class Material(NamedTuple):
    """The pictures of the objective, and those of the anchors that it is regularised with."""

    shown: tuple[Shown, ...]
    anchors: tuple[Shown, ...]


def _augment(
    model: DiffusionModel, drawn: Sequence[Shown], images: Tensor, prompts: list[str], generator: Generator
) -> Tensor | None:
    """Augments in place what is to be augmented; the masks [n, 1, height, width], None where nothing is."""
    chosen = [row for row, one in enumerate(drawn) if one.augmented]
    if not chosen:
        return None
    made = augment(images[chosen], model.latent_factor, generator)
    images[chosen] = made.images
    masks = torch.ones(len(drawn), *made.masks.shape[1:])
    masks[chosen] = made.masks
    for row, prefix in zip(chosen, made.prefixes, strict=True):
        prompts[row] = prefix + prompts[row]
    return masks


OFFICIAL: dict[str, Any] = {
    "recipe": "compvis",
    "images": 200,
    "scheduler": "ddim",
    "denoise_steps": 200,
    "eta": 1.0,
    "guidance_scale": 6.0,
}
PAPER: dict[str, Any] = OFFICIAL | {"images": 1000}
DIFFUSERS: dict[str, Any] = {
    "recipe": "diffusers",
    "images": 1000,
    "scheduler": "dpm-solver++",
    "denoise_steps": 25,
    "eta": 0.0,
    "guidance_scale": 6.0,
}
MICROWORLD: dict[str, Any] = {
    "recipe": "microworld",
    "images": 48,
    "denoise_steps": 20,
    "eta": 0.0,
    "guidance_scale": 4.0,
}


def _card(
    name: str, objective: str, formula: str, notes: str, microworld: Mapping[str, Any] | None = None
) -> MethodCard:
    return MethodCard(
        name=name,
        title=f"Concept Ablation, {name}",
        paper="Kumari et al., Ablating Concepts in Text-to-Image Diffusion Models, ICCV 2023, "
        "arXiv:2303.13516",
        formula=formula,
        build=ConceptAblation,
        settings={"objective": objective},
        presets={
            "official": OFFICIAL,
            "paper": PAPER,
            "diffusers": DIFFUSERS,
            "microworld": {**MICROWORLD, **(microworld or {})},
        },
        quick={"images": 4, "denoise_steps": 2, "steps": 2},
        many_concepts=True,
        notes=f"{notes} {NOTES}",
    )


NOTES = (
    "What is trained, learning rate, batch, steps, regularisation, augmentation and clipping follow the "
    "concept's kind (recipes.py). Preset official is the compvis code (c11fb1b) with the 200 pictures of its "
    "commands, paper the same with 1000, diffusers the diffusers code; unsafe content has a recipe in the "
    "diffusers code alone, which serves all three, its clipping included. Learning rates and batches are the "
    "effective ones of two GPUs: where the loss on the anchor is added, the compvis code takes half of the "
    "pictures for each of the two losses, and augments those of the anchor, too. Both codes train in fp32 "
    "(the diffusers code in what accelerate is told besides); here it is the model's precision (--dtype). "
    "With parameters=embedding both leave out the last token of a phrase, as trained_tokens=all-but-last "
    "does here. For a memorised picture the paper adds three paraphrases of its title that still bring it "
    "back, takes of all anchors the ten that bring it back least, and leaves out pictures of them whose SSCD "
    "similarity to it is above 0.5; here target phrases and anchors are the suite's, and all pictures are "
    "used: the SSCD filter is left out. So are an augmentation of the compvis code's own (it shows pictures "
    "shrunk to 0.6 or more without a canvas; the diffusers code's is used, with masks that differ in 4.8 % "
    "of their cells: the codes leave out cells at the canvas's own edges), its pairing of the two "
    "losses on the same picture, and pictures drawn without replacement. Latents are the mean of the "
    "autoencoder's posterior instead of a draw from it. The codes come with 200 prompts for an anchor, which "
    "the suites instances and styles hand on; elsewhere they are 20 templates of our own, if the suite has "
    "none. Of those that are there the ones that name the anchor count, and its words are replaced as words, "
    "with their article, not wherever their letters stand."
)

CA_MODEL = _card(
    "ca-model",
    "model",
    "min_θ ‖ε_θ(x_t, c*, t) − sg ε_θ(x_t, c, t)‖²",
    "The target's prompt learns what the anchor's predicts, on pictures of the anchor.",
    microworld={"steps": 50},
)
CA_NOISE = _card(
    "ca-noise",
    "noise",
    "min_θ ‖ε_θ(x_t, c*, t) − ε‖²",
    "The target's prompt learns the true noise on pictures of the anchor.",
)
CA_REVERSE = _card(
    "ca-reverse",
    "reverse",
    "min_θ ‖ε_θ(x*_t, c*, t) − sg ε_θ(x*_t, c, t)‖²",
    "The target's prompt learns what the anchor's predicts, on pictures of the target itself.",
)
