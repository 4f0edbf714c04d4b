"""Which methods may lie on the front of two or more columns: all that no other is surely better than."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from erasure_bench.bench.statistics.best import ALPHA, holm, paired_p
from erasure_bench.bench.statistics.cells import Values

_ROUNDING = 1e-9
"""Means that differ by less than this differ by rounding."""
PAIRS_AT_ONCE = 1024
"""Of two methods: there are as many as the square of the methods, and their prompts are held together."""


class Axis(NamedTuple):
    """One column: `values` [methods, prompts], and whether the lower are the better ones."""

    values: Values
    lower: bool


def beaten_by(axes: Sequence[Axis]) -> list[list[int]]:
    """Of each method the others that surely beat it; whom nobody does may lie on the Pareto front.

    Another method can only beat one if its means are at least as good on every axis. Whether it does is a
    paired test (`paired_p`) on each axis on which its mean is better: the smallest of the p values, times
    the number of axes (Bonferroni), after Holm over all that can beat the same method. So a method that lies
    on the front is taken from it in at most a share `ALPHA` of tables.
    """
    oriented = [axis.values if axis.lower else -axis.values for axis in axes]
    means = np.stack([values.mean(axis=1) for values in oriented])
    ahead = means[:, :, None] - means[:, None, :]  # [axes, method, other]: by how much the other is better
    beaten, rivals = np.nonzero((ahead >= -_ROUNDING).all(axis=0) & (ahead > _ROUNDING).any(axis=0))
    p = np.ones(len(rivals))
    for values, by in zip(oriented, ahead[:, beaten, rivals], strict=True):
        better = np.flatnonzero(by > _ROUNDING)
        for lot in np.array_split(better, 1 + len(better) // PAIRS_AT_ONCE):
            p[lot] = np.minimum(p[lot], paired_p(values[rivals[lot]] - values[beaten[lot]]))
    p = np.minimum(p * len(axes), 1.0)
    found: list[list[int]] = []
    for method in range(means.shape[1]):
        own = beaten == method
        found.append(rivals[own][holm(p[own]) <= ALPHA].tolist())
    return found
