"""SPEED: erasing in the null space of what must stay.

Li, Wang, Xu, Fan, Liu, Fu: SPEED, ICLR 2026. The cross-attention's values make of the concept's last token k
what they made of an anchor's a, by a change that the embeddings r of retained texts and those of the empty
prompt, K₂, do not see. With T = mean k kᵀ and A = mean a kᵀ, for every matrix W of values

    C = mean r rᵀ,   P = U₀ U₀ᵀ,  U₀: the singular vectors of C below a threshold
    M = (T P + ρ I)⁻¹
    Δ = W (A − T) P [I − M K₂ (K₂ᵀ P M K₂ + λ I)⁻¹ K₂ᵀ P] M                 W ← W + Δ

Δ is the minimiser of mean ‖(W + Δ) k − W a‖² + ρ ‖Δ‖² among the changes within the null space that leave K₂
as it is (λ = 0). Which r count is decided for each W by a first edit of it: those that this would move more
than the mean, ‖E r‖ with E = W (A − T)(I + T)⁻¹, and noisy copies of them along the direction of r that W
sees least.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import torch
from pydantic import NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt
from torch import Generator, Tensor

from erasure_bench.methods.base import EraseContext, MethodCard, Need
from erasure_bench.methods.edit import Edit, check_concepts, new_edit
from erasure_bench.methods.machinery.closed_form import (
    Erased,
    Matrices,
    changed_matrices,
    guide_of,
    last_token,
    text_embeddings,
)
from erasure_bench.methods.machinery.cost import Meter
from erasure_bench.methods.machinery.general_prompts import silent_on
from erasure_bench.models.diffusion_model import DiffusionModel
from erasure_bench.prompt_suites.concepts import Concept

ANCHORS = {"style": "art", "identity": "person"}
"""The official anchors by the concept's kind; of any other it is the empty text."""

NEGLIGIBLE = 1e-12
"""Of the square of K₂: what of it lies in the null space by rounding alone."""


@dataclass(frozen=True, kw_only=True)
class SPEED:
    """Settings of SPEED; the defaults are the official code's.

    `guide` is the text that takes the concept's place: `auto` for the official choice, "art" for a style,
    "person" for an identity and the empty text for anything else, `anchor` for the concept's own, or any
    text. An empty one is represented by the start token. `phrases` says whether a concept's canonical phrase
    is erased or all of its target phrases, `tokens` whether it is their last token alone that is, or all
    after the start token with those of the padding: then T and A are means over these `tokens`, or over
    `phrases` of the sums over each one's (`mean_over`).

    `retain` says whose tokens stay: the concepts' `neighbours`, the `general` prompts of the model, in `both`
    cases without those that name a concept; `none`, or a list of texts (JSON on the command line). Of these
    it is the last token, or with `retained_tokens=all` each after the start token, the padding's too. With
    `empty` it is all tokens of the empty prompt but the start token. With `prior_filter` those count that a
    first edit would move most, and with `copies` above 0 as many noisy ones of each of these besides, which
    are held against their own mean likewise; with `filter_copies` they are without a `prior_filter`, too.

    A direction is free where the singular value of C is below `threshold`. `keep_scale` is ρ, `empty_scale`
    λ, and `empty_centres` the number of centres of the empty prompt's tokens in K₂, the start token apart.
    `matrices` are those that change.
    """

    guide: str = "auto"
    phrases: Literal["canonical", "all"] = "canonical"
    tokens: Literal["last", "all"] = "last"
    mean_over: Literal["tokens", "phrases"] = "tokens"
    retain: Literal["none", "empty", "neighbours", "general", "both"] | tuple[str, ...] = "both"
    retained_tokens: Literal["last", "all"] = "last"
    prior_filter: bool = True
    filter_copies: bool = False
    copies: NonNegativeInt = 10
    threshold: PositiveFloat = 0.1
    keep_scale: PositiveFloat = 1.0
    empty_scale: NonNegativeFloat = 0.0
    empty_centres: PositiveInt = 3
    matrices: Matrices = "v"

    def unused_settings(self) -> Mapping[str, str]:
        """Where nothing is retained, nothing of it is chosen; of one token there is one mean."""
        unused: dict[str, str] = {}
        if self.tokens == "last":
            unused["mean_over"] = "with tokens=last: a phrase has one"
        if self.retain == "empty":
            unused["retained_tokens"] = "with retain=empty, which has all of its tokens"
        if self.retain in ("none", ()):
            why = "with retain=none: nothing is retained"
            unused |= dict.fromkeys(
                ("retained_tokens", "prior_filter", "filter_copies", "copies", "threshold"), why
            )
        elif self.prior_filter or not self.copies:
            unused["filter_copies"] = "with prior_filter=true, which filters them, or copies=0"
        return unused

    def uses_seed(self) -> bool:
        """It decides copies and centres, and nothing where there are none."""
        return self.retain == "empty" or (self.copies > 0 and self.retain not in ("none", ()))

    def needs(self, concepts: Sequence[Concept], context: EraseContext) -> tuple[Need, ...]:
        """Nothing that takes time."""
        return ()

    def erase(self, model: DiffusionModel, concepts: Sequence[Concept], context: EraseContext) -> Edit:
        """New values of the cross-attention, solved in float64; the seed decides copies and centres."""
        check_concepts(concepts)
        generator = Generator().manual_seed(context.seed)
        with Meter(model.device) as meter:
            erased = self.erased(concepts)
            retained = self.retained(concepts, context.general_prompts)
            texts = text_embeddings(model, [text for pair in erased for text in pair] + [*retained, ""])
            targets, anchors = self._pairs(model, texts, erased)
            stay = torch.cat([targets[:0], *self._rows_of(model, texts, retained)])
            empty = empty_tokens(texts[""], self.empty_centres, context.seed)
            seen = moments(targets, anchors, len(erased) if self._over_phrases else len(targets))

            def changed(weight: Tensor) -> Tensor:
                chosen = self._chosen(weight, seen, stay, generator)
                free = null_space(chosen, self.threshold)
                return weight + weight_update(weight, seen, free, empty, self.keep_scale, self.empty_scale)

            tensors = changed_matrices(model, changed, self.matrices)
        return new_edit("speed", self, model, concepts, tensors=tensors, cost=meter.cost(steps=0))

    def erased(self, concepts: Sequence[Concept]) -> tuple[Erased, ...]:
        """What is erased and what takes its place."""
        return tuple(
            Erased(phrase, guide_of(concept, self.guide, ANCHORS.get(concept.kind, "")))
            for concept in concepts
            for phrase in (concept.targets if self.phrases == "all" else (concept.target,))
        )

    def retained(self, concepts: Sequence[Concept], general: Sequence[str]) -> tuple[str, ...]:
        """The texts that stay, each once."""
        if isinstance(self.retain, tuple):
            return tuple(dict.fromkeys(self.retain))
        texts = [name for concept in concepts for name in concept.neighbours]
        texts = texts if self.retain in ("neighbours", "both") else []
        texts += general if self.retain in ("general", "both") else []
        return tuple(dict.fromkeys(texts[place] for place in silent_on(concepts, texts)))

    def _rows_of(
        self, model: DiffusionModel, texts: Mapping[str, Tensor], retained: Sequence[str]
    ) -> list[Tensor]:
        """The tokens r of each text that stays, [n, width]."""
        if self.retain == "empty":
            return [texts[""][1:]]
        if self.retained_tokens == "all":
            return [texts[text][1:] for text in retained]
        return [texts[text][last_token(model.tokenizer, text)][None] for text in retained]

    def _pairs(
        self, model: DiffusionModel, texts: Mapping[str, Tensor], erased: Sequence[Erased]
    ) -> tuple[Tensor, Tensor]:
        """The tokens k and a, each [n, width]."""
        if self.tokens == "all":
            targets, anchors = ([texts[pair[side]][1:] for pair in erased] for side in (0, 1))
            return torch.cat(targets), torch.cat(anchors)
        targets, anchors = (
            [texts[pair[side]][last_token(model.tokenizer, pair[side])] for pair in erased] for side in (0, 1)
        )
        return torch.stack(targets), torch.stack(anchors)

    def _chosen(self, weight: Tensor, seen: "Moments", retained: Tensor, generator: Generator) -> Tensor:
        """The retained embeddings that count for this matrix, with their copies: [m, width]."""
        moved = first_edit(weight, seen)
        chosen = above_the_mean(retained, moved) if self.prior_filter else retained
        if not self.copies or not len(chosen):
            return chosen
        copies = noisy_copies(weight, chosen, self.copies, generator)
        filtered = self.prior_filter or self.filter_copies
        return torch.cat([chosen, above_the_mean(copies, moved) if filtered else copies])

    @property
    def _over_phrases(self) -> bool:
        return self.tokens == "all" and self.mean_over == "phrases"


class Moments(NamedTuple):
    """T = mean k kᵀ and A = mean a kᵀ, each [width, width]."""

    second: Tensor
    mixed: Tensor


def moments(targets: Tensor, anchors: Tensor, count: int) -> Moments:
    """Of the tokens k and a, a row each, their sums divided by `count`."""
    return Moments(targets.T @ targets / count, anchors.T @ targets / count)


def first_edit(weight: Tensor, seen: Moments) -> Tensor:
    """E = W (A − T)(I + T)⁻¹, [out, width]: the change that retains nothing."""
    second, mixed = seen
    return weight @ torch.linalg.solve(torch.eye(len(second)).to(second) + second, mixed - second, left=False)


def above_the_mean(embeddings: Tensor, moved: Tensor) -> Tensor:
    """The rows r with ‖E r‖ above the mean; all where none is, as of a single one or of equal ones."""
    norms = (embeddings @ moved.T).norm(dim=1)
    kept = norms > norms.mean()
    return embeddings[kept] if kept.any() else embeddings


def noisy_copies(weight: Tensor, embeddings: Tensor, copies: int, generator: Generator) -> Tensor:
    """r + P z with z standard normal, P onto the right singular vector of W's last singular value."""
    least = torch.linalg.svd(weight, full_matrices=False).Vh[-1]
    repeated = embeddings.repeat_interleave(copies, 0)
    noise = torch.randn(repeated.shape, generator=generator).to(repeated)
    return repeated + (noise @ least)[:, None] * least


def null_space(embeddings: Tensor, threshold: float) -> Tensor:
    """U₀ [width, free]: the singular vectors of C = mean r rᵀ whose singular value is below `threshold`."""
    second = embeddings.T @ embeddings / max(len(embeddings), 1)
    values, vectors = torch.linalg.eigh(second)
    return vectors[:, values < threshold]


def empty_tokens(embeddings: Tensor, centres: int, seed: int) -> Tensor:
    """K₂ᵀ [1 + centres, width]: the start token and k-means centres of the others of the empty prompt."""
    from scipy.cluster.vq import kmeans2

    others = embeddings[1:].numpy()
    found, _ = kmeans2(others, min(centres, len(others)), minit="++", rng=seed)
    return torch.cat([embeddings[:1], torch.from_numpy(found).to(embeddings)])


def weight_update(
    weight: Tensor,
    seen: Moments,
    free: Tensor,
    empty: Tensor,
    keep_scale: float,
    empty_scale: float,
) -> Tensor:
    """Δ [out, width] of a W of that shape; `free` is U₀ [width, free], `empty` K₂ᵀ [n, width].

    Where the null space does not tell the columns of K₂ apart, the inverse is a pseudo-inverse: Δ K₂ is 0 all
    the same.
    """
    second, mixed = seen
    projector, identity = free @ free.T, torch.eye(len(second)).to(second)
    solved = torch.linalg.inv(second @ projector + keep_scale * identity)
    inner = empty @ projector @ solved @ empty.T + empty_scale * torch.eye(len(empty)).to(empty)
    least = NEGLIGIBLE * float(empty.square().sum()) / keep_scale
    inverse = torch.linalg.pinv(inner, atol=least, hermitian=True)
    held = identity - solved @ empty.T @ inverse @ empty @ projector
    return weight @ (mixed - second) @ projector @ held @ solved


OFFICIAL: dict[str, Any] = {"mean_over": "phrases", "filter_copies": True}
NUDITY: dict[str, Any] = OFFICIAL | {
    "tokens": "all",
    "retain": "empty",
    "keep_scale": 0.7,
    "empty_scale": 0.5,
}
MICROWORLD: dict[str, Any] = {
    "phrases": "all",
    # In the built-in world the padding carries what a prompt asks for, more than its last word.
    "tokens": "all",
    "retain": "neighbours",
    "retained_tokens": "all",
    "matrices": "kv",
}

SPEED_CARD = MethodCard(
    name="speed",
    title="SPEED",
    paper="Li et al., SPEED: Scalable, Precise, and Efficient Concept Erasure for Diffusion Models, ICLR "
    "2026, arXiv:2503.07392",
    formula="Δ = W (A − T) P [I − M K₂ (K₂ᵀ P M K₂)⁻¹ K₂ᵀ P] M,  M = (T P + ρ I)⁻¹",
    build=SPEED,
    presets={"official": OFFICIAL, "official-nudity": NUDITY, "microworld": MICROWORLD},
    many_concepts=True,
    general_prompts=True,
    notes="In closed form: no training; solved in fp64. Preset official is the code (6d3df0c) in its "
    "numbers; of many celebrities it has ρ 0.05 and prior_filter=false, which leaves its noisy copies "
    "filtered, and, in scripts/eval_multi.sh alone, a threshold of 1e-4. The copies stand beside the "
    "embeddings, and are held against the mean of their own, there of each 128 embeddings' copies, here of "
    "all. What is retained there are lists of some thousand words by kind of concept; here it is the "
    "concept's neighbours and the last tokens of the model's general prompts. Preset official-nudity is "
    "scripts/eval_nudity.sh: all tokens of the phrase and of the empty prompt that is retained, ρ 0.7, λ "
    "0.5; T is then the sum for each phrase (mean_over=phrases; in the built-in model's preset it is a "
    "mean). Left out: SDXL and SD3.",
)
