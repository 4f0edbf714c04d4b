"""How alike two sets of pictures are, in a feature space: kernel distance, precision and recall.

KID: Bińkowski et al., Demystifying MMD GANs, ICLR 2018, section 4. Precision and recall: Kynkäänniemi et
al., Improved Precision and Recall Metric for Assessing Generative Models, NeurIPS 2019, section 2.
"""

import math
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from erasure_bench.models.mmd import Kernels, cubic, squared_mmd, without_each

NEIGHBOURS = 3


class KernelDistance(NamedTuple):
    """An unbiased estimate of the squared distance (so it may fall below 0) with its standard error."""

    value: float
    standard_error: float


class Coverage(NamedTuple):
    """Share of made pictures that lie among the true ones, and of true ones that lie among the made."""

    precision: float
    recall: float


def kernel_distance(made: NDArray[np.floating], true: NDArray[np.floating]) -> KernelDistance:
    """KID of features [n, d] and [m, d]: the unbiased squared MMD, over all pairs of pictures.

    The standard error is the jackknife's, over both sets. Raises ValueError for fewer than three pictures
    in a set.
    """
    m, n = len(made), len(true)
    if min(m, n) < 3:
        raise ValueError(f"the kernel distance needs three pictures in each set, got {m} and {n}")
    kernels = Kernels(cubic(made, made), cubic(true, true), cubic(made, true))
    value = squared_mmd(kernels, unbiased=True)
    left = without_each(kernels, np.arange(m), np.arange(m, m + n), range(m + n), unbiased=True)
    variance = sum((len(each) - 1) * each.var() for each in (left[:m], left[m:]))
    return KernelDistance(value, math.sqrt(variance))


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
