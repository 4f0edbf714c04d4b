"""Least squares for keys and values, in float64 on the CPU."""

from collections import Counter
from collections.abc import Sequence

import torch
from torch import Tensor

from erasure_bench.methods.machinery.closed_form import ENCODED_AT_ONCE, matrices, text_embeddings
from erasure_bench.models.diffusion_model import DiffusionModel


def second_moment(model: DiffusionModel, texts: Sequence[str]) -> Tensor:
    """Σ e eᵀ over all tokens of the texts, [width, width], float64 on the CPU; 0 without a text.

    A text counts as often as it is there: a title of its own has one prompt for every anchor's.
    """
    width = matrices(model).popitem()[1].shape[1]
    found = torch.zeros(width, width, dtype=torch.float64)
    times = Counter(texts)
    each = list(times)
    for start in range(0, len(each), ENCODED_AT_ONCE):
        for text, rows in text_embeddings(model, each[start : start + ENCODED_AT_ONCE]).items():
            found += times[text] * (rows.T @ rows)
    return found


def fitted(weight: Tensor, wanted: Tensor, seen: Tensor, held: Tensor) -> Tensor:
    """argmin_X ‖X E − Y‖² + tr (X − W) H (X − W)ᵀ = (Y Eᵀ + W H)(E Eᵀ + H)⁻¹, [out, width].

    `weight` is W, `wanted` Y Eᵀ [out, width], `seen` E Eᵀ and `held` H, both [width, width] and symmetric.
    """
    return torch.linalg.solve(seen + held, wanted + weight @ held, left=False)
