"""Unified Concept Editing (UCE).

Gandikota, Orgad, Belinkov, Materzyńska, Bau: Unified Concept Editing in Diffusion Models, WACV 2024.
What the cross-attention's keys and values make of the concept's tokens c becomes what they made of a
guide text's tokens c_guide, while retained texts keep theirs: the closed form of `machinery.closed_form`
for every `attn2.to_k` and `attn2.to_v`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import NonNegativeFloat, PositiveFloat

from erasure_bench.methods.base import EraseContext, MethodCard, Need
from erasure_bench.methods.edit import Edit, check_concepts, new_edit
from erasure_bench.methods.machinery.closed_form import (
    Erased,
    changed_matrices,
    embedded_tokens,
    guide_of,
    kept_neighbours,
    old_retain_scale,
    weight_change,
)
from erasure_bench.methods.machinery.cost import Meter
from erasure_bench.models.diffusion_model import DiffusionModel
from erasure_bench.prompt_suites.concepts import Concept

EXPANDED_STYLE = ("painting by {}", "art by {}", "artwork by {}", "picture by {}", "style of {}")
EXPANDED = ("image of {}", "photo of {}", "portrait of {}", "picture of {}", "painting of {}")
"""The texts of the official code's --expand_prompts, for its concept types art and object."""


@dataclass(frozen=True, kw_only=True)
class UCE:
    """Settings of UCE; the defaults are those of the official code as it is now.

    `guide` is the text that takes the concept's place: `auto` for the official choice, "art" for a
    style and the empty text for anything else, `anchor` for the concept's own anchor, or any text.
    `retain` are prompts that keep their keys and values: `none`, the concepts' `neighbours` less what
    is itself erased, or a list of prompts (JSON on the command line); `retain_empty_prompt` adds the
    empty one. `phrases` says whether a concept's canonical phrase is erased or all of its target
    phrases; with `expand_prompts` each also within five further texts ("painting by …" of a style, "photo
    of …" of anything else), the guide within the same.

    `tokens` says where: with `last` at the last token of each text before its end token; with
    `last-to-end` from there through the padding, concept and guide each from its own last token and
    as far as the longer of the two reaches, and at all tokens of the retained prompts. A text
    without tokens of its own, as the empty one, is represented by the start token.

    `erase_scale` α, `retain_scale` β and `keep_scale` λ weigh the three terms of the objective. A
    `retain_scale` of None is the old code's max(0.1, 1 / number of retained prompts).
    """

    guide: str = "auto"
    retain: Literal["none", "neighbours"] | tuple[str, ...] = "none"
    retain_empty_prompt: bool = False
    phrases: Literal["canonical", "all"] = "canonical"
    expand_prompts: bool = False
    tokens: Literal["last", "last-to-end"] = "last"
    erase_scale: PositiveFloat = 1.0
    retain_scale: NonNegativeFloat | None = 1.0
    keep_scale: PositiveFloat = 0.5

    def unused_settings(self) -> Mapping[str, str]:
        """What is not retained has no weight."""
        retains = self.retain not in ("none", ()) or self.retain_empty_prompt
        return {} if retains else {"retain_scale": "with retain=none: nothing is retained"}

    def uses_seed(self) -> bool:
        """The seed changes nothing."""
        return False

    def needs(self, concepts: Sequence[Concept], context: EraseContext) -> tuple[Need, ...]:
        """Nothing that takes time."""
        return ()

    def erase(self, model: DiffusionModel, concepts: Sequence[Concept], context: EraseContext) -> Edit:
        """New keys and values of the cross-attention; the seed changes nothing.

        Solved in float64 on the CPU, where the official codes solve in fp32, and then cast to the
        model's dtype.
        """
        check_concepts(concepts)
        with Meter(model.device) as meter:
            retained = self.retained(concepts)
            tokens = embedded_tokens(model, self.erased(concepts), retained, self.tokens)
            change = weight_change(
                tokens, self.erase_scale, self._retain_scale(len(retained)), self.keep_scale
            )
            tensors = changed_matrices(model, lambda weight: weight + weight @ change)
        return new_edit("uce", self, model, concepts, tensors=tensors, cost=meter.cost(steps=0))

    def erased(self, concepts: Sequence[Concept]) -> tuple[Erased, ...]:
        """What is erased and what takes its place."""
        return tuple(
            Erased(
                text.format(phrase),
                text.format(guide_of(concept, self.guide, "art" if concept.kind == "style" else "")),
            )
            for concept in concepts
            for phrase in (concept.targets if self.phrases == "all" else (concept.target,))
            for text in self._texts(concept)
        )

    def _texts(self, concept: Concept) -> tuple[str, ...]:
        """What a phrase and its guide stand in; `{}` is their place."""
        if not self.expand_prompts:
            return ("{}",)
        return ("{}", *(EXPANDED_STYLE if concept.kind == "style" else EXPANDED))

    def retained(self, concepts: Sequence[Concept]) -> tuple[str, ...]:
        """The prompts that keep their keys and values, each once."""
        if self.retain == "neighbours":
            prompts = kept_neighbours(concepts)
        else:
            prompts = [] if self.retain == "none" else list(self.retain)
        return tuple(dict.fromkeys([*([""] if self.retain_empty_prompt else []), *prompts]))

    def _retain_scale(self, retained: int) -> float:
        if self.retain_scale is None:
            return old_retain_scale(retained)
        return self.retain_scale


OLD: dict[str, Any] = {
    "guide": " ",
    "retain_empty_prompt": True,
    "tokens": "last-to-end",
    "erase_scale": 1.0,
    "retain_scale": None,
    "keep_scale": 0.5,
}
MICROWORLD: dict[str, Any] = {
    "retain": "neighbours",
    "retain_empty_prompt": True,
    "phrases": "all",
    "tokens": "last-to-end",
    # Text embeddings are 128 wide here, not 768: two prompts have more in common, and λ must hold more.
    "keep_scale": 8.0,
}

UCE_CARD = MethodCard(
    name="uce",
    title="Unified Concept Editing",
    paper="Gandikota et al., Unified Concept Editing in Diffusion Models, WACV 2024, arXiv:2308.14761",
    formula="W = (λ W₀ + Σ_e α W₀ c_guide cᵀ + Σ_p β W₀ c cᵀ) (λ I + Σ_e α c cᵀ + Σ_p β c cᵀ)⁻¹",
    build=UCE,
    presets={"official": {}, "old": OLD, "paper": OLD, "microworld": MICROWORLD},
    many_concepts=True,
    notes="In closed form: no training, no seed; solved in fp64, where the official codes solve in fp32. "
    "Preset official is the code as it is now (28c81ed); preset "
    "old, and paper likewise, is the code of the paper's time (35e91e2), which most comparisons use. Here "
    "they retain what --method-option uce.retain asks for, neighbours or a JSON list of prompts, and the old "
    "code the empty prompt besides; for a style it would retain the 1,700 artists of its own list, too. The "
    "present code's --expand_prompts, off as here, is expand_prompts. Left out: the old one's --add_prompts, "
    "which leaves the guide as it is, debiasing and moderation, SDXL and other models.",
)
