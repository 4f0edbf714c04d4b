"""How alike two sets of pictures are, in a feature space: kernel distance, precision and recall.

KID: Bińkowski et al., Demystifying MMD GANs, ICLR 2018, section 4. Precision and recall: Kynkäänniemi et
al., Improved Precision and Recall Metric for Assessing Generative Models, NeurIPS 2019, section 2.
"""

import math
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

NEIGHBOURS = 3


class KernelDistance(NamedTuple):
    """An unbiased estimate of the squared distance (so it may fall below 0) with its standard error."""

    value: float
    standard_error: float


class Coverage(NamedTuple):
    """Share of made pictures that lie among the true ones, and of true ones that lie among the made."""

    precision: float
    recall: float


def _kernel(first: NDArray[np.float64], second: NDArray[np.float64]) -> NDArray[np.float64]:
    """Bińkowski's cubic polynomial kernel (x·y / d + 1)³, [n, m]."""
    kernel: NDArray[np.float64] = (first @ second.T / first.shape[1] + 1) ** 3
    return kernel


def kernel_distance(made: NDArray[np.floating], true: NDArray[np.floating]) -> KernelDistance:
    """KID of features [n, d] and [m, d]: the unbiased squared MMD, over all pairs of pictures.

    The standard error is the jackknife's, over both sets. Raises ValueError for fewer than three pictures
    in a set.
    """
    x, y = np.asarray(made, dtype=np.float64), np.asarray(true, dtype=np.float64)
    if min(len(x), len(y)) < 3:
        raise ValueError(f"the kernel distance needs three pictures in each set, got {len(x)} and {len(y)}")
    within_x, within_y, across = (_kernel(*pair) for pair in ((x, x), (y, y), (x, y)))
    others_x, others_y = (_without_diagonal(within) for within in (within_x, within_y))
    m, n = len(x), len(y)
    alike_x, alike_y = others_x.sum() / (m * (m - 1)), others_y.sum() / (n * (n - 1))
    value = alike_x + alike_y - 2 * across.mean()
    left_x = _left_one_out(others_x, across.sum(axis=1), n) + alike_y
    left_y = _left_one_out(others_y, across.sum(axis=0), m) + alike_x
    variance = sum((len(left) - 1) * left.var() for left in (left_x, left_y))
    return KernelDistance(float(value), math.sqrt(variance))


def _without_diagonal(within: NDArray[np.float64]) -> NDArray[np.float64]:
    """Sum over the others of each picture's set, [n]."""
    sums: NDArray[np.float64] = within.sum(axis=1) - within.diagonal()
    return sums


def _left_one_out(others: NDArray[np.float64], across: NDArray[np.float64], size: int) -> NDArray[np.float64]:
    """The estimate's terms of this set without each of its pictures, from sums of kernels, [n]."""
    kept = len(others) - 1
    alike = (others.sum() - 2 * others) / (kept * (kept - 1))
    apart: NDArray[np.float64] = alike - 2 * (across.sum() - across) / (kept * size)
    return apart


def precision_and_recall(
    made: NDArray[np.floating], true: NDArray[np.floating], neighbours: int = NEIGHBOURS
) -> Coverage:
    """Shares of pictures that lie in a ball of the other set, for features [n, d] and [m, d].

    A ball lies around each picture and reaches to its `neighbours`-th nearest of its own set. Raises
    ValueError where a set has no more than `neighbours` pictures.
    """
    x, y = torch.as_tensor(made).double(), torch.as_tensor(true).double()
    if min(len(x), len(y)) <= neighbours:
        raise ValueError(f"needs more than {neighbours} pictures in each set, got {len(x)} and {len(y)}")
    exact = "donot_use_mm_for_euclid_dist"
    across = torch.cdist(x, y, compute_mode=exact)

    def reach(points: torch.Tensor) -> torch.Tensor:
        # the nearest is the picture itself
        return torch.cdist(points, points, compute_mode=exact).kthvalue(neighbours + 1, dim=1).values

    precision = (across <= reach(y)[None, :]).any(dim=1)
    recall = (across <= reach(x)[:, None]).any(dim=0)
    return Coverage(float(precision.double().mean()), float(recall.double().mean()))
