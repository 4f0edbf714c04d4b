"""The squared maximum mean discrepancy of two sets, and what it is without some of their members.

Gretton et al., A Kernel Two-Sample Test, JMLR 2012, section 3.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

Matrix = NDArray[np.float64]


class Kernels(NamedTuple):
    """Kernel values within the first set [m, m], within the second [n, n], and across [m, n].

    `twins` [m, n] marks the pairs across whose members are not independent, as pictures of one noise. They
    are left out: with them the mean is too large, and an unbiased distance of equal sets falls below 0. With
    each member a twin this is Gretton's U-statistic of m = n pairs, and 0 where every twin is equal. `kin`
    does the same within either set, [m, m] and [n, n], for an unbiased distance: each member is its own kin.
    """

    first: Matrix
    second: Matrix
    across: Matrix
    twins: NDArray[np.bool_] | None = None
    kin: tuple[NDArray[np.bool_], NDArray[np.bool_]] | None = None


def cubic(first: NDArray[np.floating], second: NDArray[np.floating]) -> Matrix:
    """Bińkowski's polynomial kernel (x·y / d + 1)³, [m, n]."""
    x, y = first.astype(np.float64), second.astype(np.float64)
    kernel: Matrix = (x @ y.T / x.shape[1] + 1) ** 3
    return kernel


def gaussian(first: NDArray[np.floating], second: NDArray[np.floating], sigma: float) -> Matrix:
    """exp(−‖x − y‖² / 2σ²), [m, n]."""
    x, y = first.astype(np.float64), second.astype(np.float64)
    squared = np.square(x).sum(1)[:, None] + np.square(y).sum(1)[None] - 2 * x @ y.T
    return np.asarray(np.exp(-np.maximum(squared, 0.0) / (2 * sigma**2)))


def squared_mmd(kernels: Kernels, *, unbiased: bool) -> float:
    """Over all pairs; `unbiased` leaves each picture's kernel with itself out, and may fall below 0."""
    first, second = (np.full(len(kernel), -1) for kernel in kernels[:2])
    return float(without_each(kernels, first, second, [0], unbiased=unbiased)[0])


def without_each(
    kernels: Kernels,
    first: NDArray[np.int64],
    second: NDArray[np.int64],
    left_out: Sequence[int],
    *,
    unbiased: bool,
) -> Matrix:
    """[left_out]: the same without the members whose code, in `first` [m] and `second` [n], is that one.

    NaN where too few are left.
    """
    ones, others = (_chosen(codes, left_out) for codes in (first, second))
    kin = kernels.kin if kernels.kin is not None and unbiased else (None, None)
    within = [
        _mean_of_rest(kernel, chosen, unbiased) if akin is None else _mean_of_strangers(kernel, chosen, akin)
        for kernel, chosen, akin in zip(kernels[:2], (ones, others), kin, strict=True)
    ]
    across, twins = kernels.across, kernels.twins
    counts = (across.shape[0] - ones.sum(axis=1)) * (across.shape[1] - others.sum(axis=1))
    if twins is not None:
        across = np.where(twins, 0.0, across)
        counts = counts - _sum_of_rest(twins, ones, others)
    with np.errstate(divide="ignore", invalid="ignore"):
        found = within[0] + within[1] - 2 * _sum_of_rest(across, ones, others) / counts
    return np.where(np.isfinite(found), found, np.nan)


def _chosen(codes: NDArray[np.int64], left_out: Sequence[int]) -> csr_array:
    """[left_out, members]: 1 where the member is left out."""
    return csr_array((np.asarray(left_out)[:, None] == codes[None]).astype(np.float64))


def _sum_of_rest(matrix: NDArray[Any], ones: csr_array, others: csr_array) -> Matrix:
    """[left_out]: over [m, n] without the rows and columns that are left out."""
    both = others.multiply(ones @ matrix).sum(axis=1)
    rest = matrix.sum() - ones @ matrix.sum(axis=1) - others @ matrix.sum(axis=0) + both
    return np.asarray(rest)


def _mean_of_rest(kernel: Matrix, chosen: csr_array, unbiased: bool) -> Matrix:
    sums = kernel.sum() - 2 * (chosen @ kernel.sum(axis=1)) + chosen.multiply(chosen @ kernel).sum(axis=1)
    rest = len(kernel) - chosen.sum(axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        if unbiased:
            sums = sums - (kernel.trace() - chosen @ kernel.diagonal())
            return np.asarray(sums / (rest * (rest - 1)))
        return np.asarray(sums / rest**2)


def _mean_of_strangers(kernel: Matrix, chosen: csr_array, akin: NDArray[np.bool_]) -> Matrix:
    """[left_out]: over the pairs within a set that are not akin."""
    pairs = _sum_of_rest(~akin, chosen, chosen)
    with np.errstate(divide="ignore", invalid="ignore"):
        return _sum_of_rest(np.where(akin, 0.0, kernel), chosen, chosen) / pairs
