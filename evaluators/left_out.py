"""The Fréchet distance, precision and recall of two sets without each of their prompts, for intervals.

The distance by the identity tr √(ΣΣ') = ‖A Bᵀ‖ (nuclear norm), with Σ = AᵀA and Σ' = BᵀB: it costs what the
smaller of pictures and features asks for.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from erasure_bench.evaluators.sets import Codes, Vectors

Matrix = NDArray[np.float64]


def frechet_without_each(
    x: Vectors, y: Vectors, of_x: Codes, of_y: Codes, prompts: Sequence[int]
) -> NDArray[np.float64]:
    """[prompts] of features [m, d] and [n, d] with prompts [m] and [n]; NaN where too few are left."""
    found = []
    known: Matrix | None = None
    other = y.astype(np.float64)
    for prompt in prompts:
        kept, rest = of_x != prompt, of_y != prompt
        if min(kept.sum(), rest.sum()) < 2:
            found.append(np.nan)
            continue
        mine, theirs = x[kept].astype(np.float64), other[rest]
        if rest.all():  # a folder's, always whole
            known = _factor(theirs) if known is None else known
            b = known
        else:
            b = _factor(theirs)
        a = _factor(mine)
        apart = np.square(mine.mean(axis=0) - theirs.mean(axis=0)).sum()
        together = _nuclear_norm(a @ b.T)
        found.append(max(float(apart + np.square(a).sum() + np.square(b).sum() - 2 * together), 0.0))
    return np.array(found)


def _factor(values: Matrix) -> Matrix:
    """A with AᵀA the unbiased covariance of the rows: [at most d, d]."""
    centred = (values - values.mean(axis=0)) / np.sqrt(len(values) - 1)
    return centred if len(values) <= values.shape[1] else np.asarray(np.linalg.qr(centred, mode="r"))


def _nuclear_norm(matrix: Matrix) -> float:
    """By the eigenvalues of the smaller product: faster than singular values, and exact enough."""
    product = matrix @ matrix.T if len(matrix) <= matrix.shape[1] else matrix.T @ matrix
    return float(np.sqrt(np.maximum(np.linalg.eigvalsh(product), 0.0)).sum())


def coverage_without_each(
    x: Vectors, y: Vectors, of_x: Codes, of_y: Codes, prompts: Sequence[int], neighbours: int
) -> NDArray[np.float64]:
    """[2, prompts]: precision and recall; NaN where no more than `neighbours` are left in a set."""
    import torch
    from torch_fidelity.metric_prc import calc_cdist_full

    first, second = (torch.from_numpy(np.ascontiguousarray(each)) for each in (x, y))
    pairs = ((first, first), (second, second), (first, second))
    within, other, across = (calc_cdist_full(*pair).numpy() for pair in pairs)
    return np.array(list(_coverages(within, other, across, of_x, of_y, prompts, neighbours))).T.reshape(2, -1)


def _coverages(
    within: Any, other: Any, across: Any, of_x: Codes, of_y: Codes, prompts: Sequence[int], neighbours: int
) -> Iterator[tuple[float, float]]:
    for prompt in prompts:
        mine, theirs = np.flatnonzero(of_x != prompt), np.flatnonzero(of_y != prompt)
        if min(len(mine), len(theirs)) <= neighbours:
            yield np.nan, np.nan
            continue
        # the nearest is the picture itself
        reach, others_reach = (
            np.partition(distances[np.ix_(kept, kept)], neighbours, axis=1)[:, neighbours]
            for distances, kept in ((within, mine), (other, theirs))
        )
        between = across[np.ix_(mine, theirs)]
        yield (between <= others_reach).any(axis=1).mean(), (between <= reach[:, None]).any(axis=0).mean()
