"""What Concept Ablation trains for each kind of concept, and how: by the official codes, and our own."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from erasure_bench.methods.machinery.parameters import ParameterGroup
from erasure_bench.methods.machinery.prompt_pairs import RecipeBook
from erasure_bench.prompt_suites.concepts import ConceptKind

Regularised = Literal["never", "overlap", "always"]
"""Whether the loss on the anchor is added; `overlap`: where a target phrase has the anchor's words in it."""


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How one kind of concept is ablated.

    `learning_rate` is the effective one: the official codes multiply theirs by the whole batch,
    and `learning_rate_regularised`, if given, by two more where the loss on the anchor is added. `batch_size`
    is the whole batch, of both GPUs of the official codes; `batch_size_regularised`, if given, takes its
    place where the loss on the anchor is added, which is on as many pictures again. `regularisation` is λ
    where it is `regularised`. `augment` is about the objective's pictures, `augment_anchors` about those of
    the loss on the anchor, if the others are augmented. Gradients are clipped at the norm `clip_norm`, 0 for
    not at all. With `avoid_target` the anchor's pictures are drawn with the target as negative prompt.
    """

    parameters: ParameterGroup
    learning_rate: float
    learning_rate_regularised: float | None = None
    batch_size: int
    batch_size_regularised: int | None = None
    steps: int
    augment: bool
    augment_anchors: bool = False
    clip_norm: float = 0.0
    regularised: Regularised
    regularisation: float
    avoid_target: bool = False

    def rate(self, regularised: bool) -> float:
        """The learning rate with or without the loss on the anchor."""
        if regularised and self.learning_rate_regularised is not None:
            return self.learning_rate_regularised
        return self.learning_rate

    def lot(self, regularised: bool) -> int:
        """How many pictures a step's objective has, with or without the loss on the anchor."""
        if regularised and self.batch_size_regularised is not None:
            return self.batch_size_regularised
        return self.batch_size


COMPVIS_PRIOR = 0.2
DIFFUSERS_PRIOR = 0.25
"""The diffusers code weighs the loss on the anchor by 1, but sums the masked loss over the latent's 4
channels where it averages the other: by 1/4 when both are averages, as here."""
DIFFUSERS_CLIP = 0.25
"""That code clips at 1 the gradient of a loss that is, for the same reason, 4 times this one."""

_OBJECT = Recipe(
    parameters="xattn-strict",
    learning_rate=2e-6 * 4 * 2,
    batch_size=4 * 2,
    # The compvis code's loader halves each GPU's batch where it loads pictures for both losses, and its
    # learning rate knows nothing of that.
    batch_size_regularised=4 // 2 * 2,
    steps=100,
    augment=True,
    augment_anchors=True,
    regularised="overlap",
    regularisation=COMPVIS_PRIOR,
)
_STYLE = dataclasses.replace(_OBJECT, augment=False, augment_anchors=False, regularised="never")
_MEMORISED = Recipe(
    parameters="full",
    learning_rate=5e-7 * 2 * 2,
    batch_size=2 * 2,
    batch_size_regularised=2 // 2 * 2,
    steps=400,
    augment=False,
    regularised="always",
    regularisation=COMPVIS_PRIOR,
)
_NUDITY = Recipe(
    parameters="attn",
    learning_rate=4e-6 * 4 * 2 * 2,
    batch_size=4 * 2,
    steps=400,
    augment=False,
    regularised="always",
    regularisation=DIFFUSERS_PRIOR,
    clip_norm=DIFFUSERS_CLIP,
    avoid_target=True,
)
_STYLE_DIFFUSERS = dataclasses.replace(_STYLE, batch_size_regularised=None, clip_norm=DIFFUSERS_CLIP)
_OBJECT_DIFFUSERS = dataclasses.replace(
    _OBJECT,
    learning_rate_regularised=2e-6 * 4 * 2 * 2,
    batch_size_regularised=None,
    augment_anchors=False,
    regularisation=DIFFUSERS_PRIOR,
    clip_norm=DIFFUSERS_CLIP,
)
_MEMORISED_DIFFUSERS = dataclasses.replace(
    _MEMORISED,
    learning_rate=5e-7 * 2 * 2 * 2,
    batch_size_regularised=None,
    augment=True,
    regularisation=DIFFUSERS_PRIOR,
    clip_norm=DIFFUSERS_CLIP,
)
_SMALL = Recipe(
    parameters="xattn-strict",
    learning_rate=4e-4,
    batch_size=8,
    steps=70,
    augment=False,
    regularised="always",
    regularisation=COMPVIS_PRIOR,
)


def _book(
    *, object: Recipe, style: Recipe, memorised: Recipe, implicit: Recipe
) -> Mapping[ConceptKind, Recipe]:
    return {
        "instance": object,
        "identity": object,
        "object": object,
        "style": style,
        "memorised": memorised,
        "implicit": implicit,
        "unsafe": implicit,
    }


RECIPES: Mapping[RecipeBook, Mapping[ConceptKind, Recipe]] = {
    # The compvis code has no recipe for nudity, which came later: that of the diffusers code serves both.
    "compvis": _book(object=_OBJECT, style=_STYLE, memorised=_MEMORISED, implicit=_NUDITY),
    "diffusers": _book(
        object=_OBJECT_DIFFUSERS, style=_STYLE_DIFFUSERS, memorised=_MEMORISED_DIFFUSERS, implicit=_NUDITY
    ),
    "microworld": _book(
        object=_SMALL,
        style=dataclasses.replace(_SMALL, regularised="never"),
        memorised=dataclasses.replace(_SMALL, parameters="full", learning_rate=3e-5),
        implicit=dataclasses.replace(_SMALL, parameters="attn", avoid_target=True),
    ),
}
"""Recipes by book and kind of concept; an implicit concept stands in for unsafe ones and is treated alike."""
