"""What closed forms are made of: texts' embeddings, and new keys and values of the cross-attention.

The edit of UCE (Gandikota et al. 2024), from which others start: for every matrix W₀ of keys or values

    min_W  Σ_e α ‖W c − v*‖² + Σ_p β ‖W c − W₀ c‖² + λ ‖W − W₀‖²         v* = W₀ c_guide

has the closed form

    W = (λ W₀ + Σ_e α v* cᵀ + Σ_p β W₀ c cᵀ) (λ I + Σ_e α c cᵀ + Σ_p β c cᵀ)⁻¹

Every term has W₀ on its left, so that W = W₀ (I + D) with one D for all of the matrices:

    D = Σ_e α (c_guide − c) cᵀ (λ I + Σ_e α c cᵀ + Σ_p β c cᵀ)⁻¹
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor

from erasure_bench.methods.machinery.parameters import select
from erasure_bench.models.diffusion_model import DiffusionModel
from erasure_bench.prompt_suites.concepts import Concept

ENCODED_AT_ONCE = 64

Matrices = Literal["kv", "v", "k"]
"""The cross-attention's keys and values, or one of the two."""


class Erased(NamedTuple):
    """A phrase and the text that takes its place."""

    phrase: str
    guide: str


class EmbeddedTokens(NamedTuple):
    """Text embeddings, one a row, float64 on the CPU: row i of `guides` takes the place of that of `erased`.

    `erased` and `guides` are [n, width], `retained` is [m, width].
    """

    erased: Tensor
    guides: Tensor
    retained: Tensor


def guide_of(concept: Concept, guide: str, official: str) -> str:
    """The text that takes a concept's place: `official` for `auto`, its anchor for `anchor`, else `guide`."""
    return {"auto": official, "anchor": concept.anchor}.get(guide, guide)


def kept_neighbours(concepts: Sequence[Concept]) -> list[str]:
    """The neighbours of all that is erased, but for those that are erased themselves."""
    erased = {phrase for concept in concepts for phrase in concept.targets}
    return [name for concept in concepts for name in concept.neighbours if name not in erased]


def old_retain_scale(retained: int) -> float:
    """β of UCE's old code (35e91e2) for so many retained prompts: each of few has more weight."""
    return max(0.1, 1 / max(retained, 1))


def embedded_tokens(
    model: DiffusionModel,
    erased: Sequence[Erased],
    retained: Sequence[str],
    tokens: Literal["last", "last-to-end"],
) -> EmbeddedTokens:
    """The embeddings of the tokens that the edit is about.

    With `last` the last token of each text before its end token; with `last-to-end` from there through the
    padding, concept and guide each from its own last token and as far as the longer of the two reaches, and
    all tokens of the retained texts.
    """
    embeddings = text_embeddings(model, [*(text for pair in erased for text in pair), *retained])
    last = {text: last_token(model.tokenizer, text) for text in embeddings}
    concepts, guides = [], []
    for phrase, guide in erased:
        first, other = last[phrase], last[guide]
        length = 1 if tokens == "last" else len(embeddings[phrase]) - max(first, other)
        concepts.append(embeddings[phrase][first : first + length])
        guides.append(embeddings[guide][other : other + length])
    nothing = torch.zeros_like(concepts[0][:0])
    kept = [
        embeddings[text][last[text] : last[text] + 1] if tokens == "last" else embeddings[text]
        for text in retained
    ]
    return EmbeddedTokens(torch.cat(concepts), torch.cat(guides), torch.cat([nothing, *kept]))


def last_token(tokenizer: Any, text: str) -> int:
    """The position of a text's last token before the end token; 0, the start token's, if it has none."""
    encoded = tokenizer(text, truncation=True, max_length=tokenizer.model_max_length)
    return len(encoded.input_ids) - 2


def weight_change(
    tokens: EmbeddedTokens, erase_scale: float, retain_scale: float, keep_scale: float
) -> Tensor:
    """D [width, width] of W = W₀ (I + D): zero where nothing is erased."""
    erased, guides, retained = tokens
    identity = torch.eye(erased.shape[1], dtype=erased.dtype)
    weighed = keep_scale * identity + erase_scale * erased.T @ erased + retain_scale * retained.T @ retained
    return torch.linalg.solve(weighed, erase_scale * erased.T @ (guides - erased)).T


def text_embeddings(model: DiffusionModel, texts: Sequence[str]) -> Mapping[str, Tensor]:
    """Each text's embeddings [tokens, width], float64 on the CPU."""
    distinct = list(dict.fromkeys(texts))
    with torch.no_grad():
        embeddings = [
            model.encode_prompts(distinct[start : start + ENCODED_AT_ONCE]).cpu().double()
            for start in range(0, len(distinct), ENCODED_AT_ONCE)
        ]
    return dict(zip(distinct, torch.cat(embeddings), strict=True))


def matrices(model: DiffusionModel, which: Matrices = "kv") -> dict[str, Tensor]:
    """W [out, width] of the cross-attention's keys and values, on the CPU in the model's dtype."""
    return {
        name: parameter.detach().cpu()
        for name, parameter in select(model.parts, "xattn-strict").items()
        # a bias is in W c and in v* alike
        if name.endswith(".weight") and any(f"to_{kind}." in name for kind in which)
    }


def changed_matrices(
    model: DiffusionModel, changed: Callable[[Tensor], Tensor], which: Matrices = "kv"
) -> dict[str, Tensor]:
    """`changed` of each matrix, in float64, as the model's dtype holds it: those that are then different."""
    found = {}
    for name, original in matrices(model, which).items():
        new = changed(original.double()).to(original.dtype)
        if not torch.equal(new, original):
            found[name] = new
    return found
