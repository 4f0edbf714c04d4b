"""RECE: reliable and efficient concept erasure.

Gong, Chen, Wei, Chen, Jiang: Reliable and Efficient Concept Erasure of Text-to-Image Diffusion Models, ECCV
2024. UCE's edit, and then, round after round, that of the embeddings that still bring the concept back: for
every token's embedding e of the concept

    e' = argmin Σ_l ‖W_l e' − W_l⁰ e‖² + λ ‖e'‖² = (λ I + Σ_l W_lᵀ W_l)⁻¹ (Σ_l W_lᵀ W_l⁰) e

over all matrices of the cross-attention's keys and values, as edited so far (W) and as they were (W⁰). Then
e' is erased as UCE erases e. All edits multiply from the right, W_l = W_l⁰ R, so that Σ_l W_l⁰ᵀ W_l⁰ is all
that need be known of the matrices.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import torch
from pydantic import NonNegativeFloat, NonNegativeInt, PositiveFloat
from torch import Tensor

from erasure_bench.methods.base import EraseContext, MethodCard, Need
from erasure_bench.methods.edit import Edit, check_concepts, new_edit
from erasure_bench.methods.machinery.closed_form import (
    EmbeddedTokens,
    Erased,
    changed_matrices,
    embedded_tokens,
    guide_of,
    kept_neighbours,
    matrices,
    old_retain_scale,
    text_embeddings,
    weight_change,
)
from erasure_bench.methods.machinery.cost import Meter
from erasure_bench.models.diffusion_model import DiffusionModel
from erasure_bench.prompt_suites.concepts import Concept

NOTHING = " "
UCE_ERASE, UCE_KEEP = 1.0, 0.5
"""UCE's old numbers."""


class Rounds(NamedTuple):
    """How many rounds, and λ."""

    number: int
    closeness: float


BY_KIND = {"unsafe": Rounds(3, 0.1), "implicit": Rounds(2, 0.1)}
"""The official numbers for nudity, and for unsafe concepts at large."""
OTHERWISE = Rounds(1, 1e-3)
"""Those for artists, and for objects that UCE does not erase by itself."""


@dataclass(frozen=True, kw_only=True)
class RECE:
    """Settings of RECE; preset official has the official code's.

    `guide` is the text that takes the concept's place, a blank by default, `anchor` for the concept's own, or
    `auto` for the official choice: "art" for a style, the blank for anything else. `retain` are prompts that
    keep their keys and values, the blank always among them: `none` else, the concepts' `neighbours`, or a
    list (JSON on the command line). `phrases` says whether a concept's canonical phrase is erased or all of
    its target phrases.

    `erase_scale`, `retain_scale` and `keep_scale` are UCE's, of every round's edit and, where `first_edit` is
    `own`, of the first one's. With `old-uce` that has the numbers of UCE's old code, from whose checkpoints
    the official code starts: 1, the larger of 0.1 and 1 by the number of what is retained, the blank
    included, and 0.5.

    `rounds` follow the first edit, each with the `closeness` λ: the larger, the nearer to 0 are the
    embeddings that it finds. None is the official number for the kind of the concept, the larger where
    several differ.
    """

    guide: str = NOTHING
    retain: Literal["none", "neighbours"] | tuple[str, ...] = "none"
    phrases: Literal["canonical", "all"] = "canonical"
    erase_scale: PositiveFloat = 1.0
    retain_scale: NonNegativeFloat = 0.1
    keep_scale: PositiveFloat = 0.1
    first_edit: Literal["own", "old-uce"] = "own"
    rounds: NonNegativeInt | None = None
    closeness: PositiveFloat | None = None

    def unused_settings(self) -> Mapping[str, str]:
        """Without a round nothing is looked for, nor has it scales."""
        if self.rounds != 0:
            return {}
        scales = ("erase_scale", "retain_scale", "keep_scale") if self.first_edit == "old-uce" else ()
        why = "with rounds=0 and first_edit=old-uce"
        return {"closeness": "with rounds=0"} | dict.fromkeys(scales, why)

    def uses_seed(self) -> bool:
        """The seed changes nothing."""
        return False

    def needs(self, concepts: Sequence[Concept], context: EraseContext) -> tuple[Need, ...]:
        """Nothing that takes time."""
        return ()

    def erase(self, model: DiffusionModel, concepts: Sequence[Concept], context: EraseContext) -> Edit:
        """New keys and values of the cross-attention, solved in float64; the seed changes nothing."""
        check_concepts(concepts)
        with Meter(model.device) as meter:
            erased = self.erased(concepts)
            retained = self.retained(concepts)
            tokens = embedded_tokens(model, erased, retained, "last-to-end")
            start = weight_change(tokens, *self._scales)
            if self.first_edit == "old-uce":
                start = self._as_uce(model, erased, retained)
            whole = text_embeddings(model, [text for pair in erased for text in pair])
            change = self.change(
                gram(matrices(model).values()),
                start,
                tokens.retained,
                torch.cat([whole[pair.phrase] for pair in erased]),
                torch.cat([whole[pair.guide] for pair in erased]),
                self.schedule(concepts),
            )
            tensors = changed_matrices(model, lambda weight: weight @ change)
        return new_edit("rece", self, model, concepts, tensors=tensors, cost=meter.cost(steps=0))

    def erased(self, concepts: Sequence[Concept]) -> tuple[Erased, ...]:
        """What is erased and what takes its place."""
        return tuple(
            Erased(phrase, guide_of(concept, self.guide, "art" if concept.kind == "style" else NOTHING))
            for concept in concepts
            for phrase in (concept.targets if self.phrases == "all" else (concept.target,))
        )

    def retained(self, concepts: Sequence[Concept]) -> tuple[str, ...]:
        """The prompts that keep their keys and values, each once; the blank is the first."""
        texts = self.retain if isinstance(self.retain, tuple) else ()
        if self.retain == "neighbours":
            texts = tuple(kept_neighbours(concepts))
        return tuple(dict.fromkeys((NOTHING, *texts)))

    def schedule(self, concepts: Sequence[Concept]) -> Rounds:
        """How many rounds, and with which λ."""
        official = [BY_KIND.get(concept.kind, OTHERWISE) for concept in concepts]
        return Rounds(
            max(one.number for one in official) if self.rounds is None else self.rounds,
            max(one.closeness for one in official) if self.closeness is None else self.closeness,
        )

    def change(
        self,
        second: Tensor,
        start: Tensor,
        retained: Tensor,
        concept: Tensor,
        guide: Tensor,
        schedule: Rounds,
    ) -> Tensor:
        """R [width, width] of W = W⁰ R, which begins as I + `start`.

        `second` is Σ_l W_l⁰ᵀ W_l⁰, the others [tokens, width].
        """
        identity = torch.eye(len(second)).to(second)
        change = identity + start
        for _ in range(schedule.number):
            found = recalled(second, change, concept, schedule.closeness)
            again = EmbeddedTokens(found, guide, retained)
            change = change @ (identity + weight_change(again, *self._scales))
        return change

    @property
    def _scales(self) -> tuple[float, float, float]:
        return self.erase_scale, self.retain_scale, self.keep_scale

    def _as_uce(self, model: DiffusionModel, erased: Sequence[Erased], retained: Sequence[str]) -> Tensor:
        """The first edit's D as UCE's old code has it."""
        tokens = embedded_tokens(model, erased, retained, "last-to-end")
        return weight_change(tokens, UCE_ERASE, old_retain_scale(len(retained)), UCE_KEEP)


def gram(weights: Any) -> Tensor:
    """Σ_l W_lᵀ W_l [width, width], float64."""
    wide = [weight.double() for weight in weights]
    return torch.stack([weight.T @ weight for weight in wide]).sum(0)


def recalled(second: Tensor, change: Tensor, embeddings: Tensor, closeness: float) -> Tensor:
    """e' for each row e [n, width]: of what the edit R = `change` makes most nearly what e was before it."""
    seen = change.T @ second
    identity = torch.eye(len(second)).to(second)
    return torch.linalg.solve(closeness * identity + seen @ change, seen @ embeddings.T).T


OFFICIAL: dict[str, Any] = {"guide": "auto", "first_edit": "old-uce"}
MICROWORLD: dict[str, Any] = {
    "phrases": "all",
    "retain": "neighbours",
    # UCE's there, so that the first edit is that method's (but for a style, which UCE leads to "art" and
    # this to nothing said) and the rounds are all that is added.
    "retain_scale": 1.0,
    "keep_scale": 8.0,
}

RECE_CARD = MethodCard(
    name="rece",
    title="Reliable and Efficient Concept Erasure",
    paper="Gong et al., Reliable and Efficient Concept Erasure of Text-to-Image Diffusion Models, ECCV 2024, "
    "arXiv:2407.12383",
    formula="e' = (λ I + Σ W_lᵀ W_l)⁻¹ (Σ W_lᵀ W_l⁰) e,  then UCE of e', again and again",
    version="2",
    build=RECE,
    presets={"official": OFFICIAL, "microworld": MICROWORLD},
    many_concepts=True,
    notes="In closed form: no training, no seed; solved in fp64. Preset official is the code (403a67f) in "
    "its numbers by kind of concept: three rounds with λ = 0.1 for nudity (kind unsafe), two for what is "
    "evoked, one with 1e-3 for anything else, from a checkpoint that UCE's old code made with numbers of "
    "its own (first_edit=old-uce); easy objects, which have λ = 0.1 there, are not told apart, and objects "
    "that UCE erases by itself are not left out. For an artist it retains the empty text and 1,700 others in "
    "every round, for an object the empty text and a list that is given, for nudity one blank for each "
    "concept; here the blank, or in its place what --method-option retain= asks for. That "
    "script keeps the round with the fewest detections on a validation set, and none that has more than the "
    "one before it: here the last round is the result, as no evaluator may choose an edit. Left out: its "
    "other two regularisers, towards a text's embedding (close_standardreg, close_surrogatereg), which none "
    "of its commands takes.",
)
