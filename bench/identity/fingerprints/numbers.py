"""Many values as four numbers, and when two such sketches are the same.

A sketch is the Euclidean norm of the values and three projections of them onto fixed random
directions. A projection's own size is about the norm, so that all four are compared in units of the
norm: what moves the values by more than the tolerance shows in one of them, almost surely.
"""

import hashlib
from collections.abc import Mapping

import torch
from torch import Generator, Tensor

PROJECTIONS = 3
DIGITS = 7
TOLERANCE = 2e-3
"""In fp32. Another processor sums in another order, an error of 1e-7; Adam divides a gradient by its own
size, which turns that error in a gradient of about zero into a whole step. Such weights are few: with
SSE4 instead of AVX-512 the trained methods' numbers move by up to 3e-4 of the norm. On one with AVX2
alone ESD's move by 1e-2: there `accepting --before` compares with the code before."""
WIDE_TOLERANCE = 0.05
"""In bf16, whose own rounding is 4e-3 a value; there they move by up to 1e-2."""


def sketch(values: Mapping[str, Tensor]) -> list[float]:
    """The norm and the projections of all values together; a tensor's name is part of its direction."""
    square, projections = 0.0, [0.0] * PROJECTIONS
    for name in sorted(values):
        flat = values[name].detach().cpu().double().flatten()
        square += float(flat @ flat)
        seed = int.from_bytes(hashlib.sha256(name.encode()).digest()[:7], "big")
        generator = Generator().manual_seed(seed)
        for place in range(PROJECTIONS):
            direction = torch.randn(len(flat), generator=generator).double()
            projections[place] += float(flat @ direction)
    return [_rounded(number) for number in (square**0.5, *projections)]


def same(left: list[float] | str, right: list[float] | str, tolerance: float) -> bool:
    """Whether two sketches are equal within `tolerance` times the norm; texts are equal or not."""
    if isinstance(left, str) or isinstance(right, str):
        return left == right
    most = tolerance * max(left[0], right[0])
    return all(abs(one - other) <= most for one, other in zip(left, right, strict=True))


def by_how_much(left: list[float] | str, right: list[float] | str) -> str:
    """The largest difference of two sketches beside the norm, in words; nothing of texts."""
    if isinstance(left, str) or isinstance(right, str):
        return ""
    most = max(abs(one - other) for one, other in zip(left, right, strict=True))
    return f" by {most:.2g} of {left[0]:.4g}"


def tolerance_of(what: str) -> float:
    """How exactly a number holds, by what was measured: a name with its dtype in it."""
    return WIDE_TOLERANCE if "bfloat16" in what else TOLERANCE


def _rounded(number: float) -> float:
    return float(f"{number:.{DIGITS - 1}e}")
