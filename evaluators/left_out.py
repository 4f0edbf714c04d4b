"""The Fréchet distance, precision and recall of two sets without each of their prompts, for intervals.

The distance by the identity tr √(ΣΣ') = ‖A Bᵀ‖ (nuclear norm), with Σ = AᵀA and Σ' = BᵀB: it costs what the
smaller of pictures and features asks for.
"""

from collections.abc import Sequence

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
    if min(len(x), len(y)) <= neighbours:
        return np.full((2, len(prompts)), np.nan)
    import torch
    from torch_fidelity.metric_prc import calc_cdist_full

    first, second = (torch.from_numpy(np.ascontiguousarray(each)) for each in (x, y))
    pairs = ((first, first), (second, second), (first, second))
    within, other, across = (calc_cdist_full(*pair).numpy() for pair in pairs)
    precision = _Covered(across.T, _Reach(other, of_y, neighbours), of_x)
    recall = _Covered(across, _Reach(within, of_x, neighbours), of_y)
    return np.array([[covered.without(prompt) for prompt in prompts] for covered in (precision, recall)])


class _Reach:
    """How far each picture of a set reaches: to its nearest neighbour but `neighbours`, itself not counted.

    `distances` [n, n] are those within the set, `codes` [n] the pictures' prompts.
    """

    def __init__(self, distances: Matrix, codes: Codes, neighbours: int) -> None:
        self.codes, self.place = codes, neighbours  # the nearest is the picture itself
        most = np.unique(codes, return_counts=True)[1].max()
        enough = min(len(codes), neighbours + 1 + most)
        nearest = np.argpartition(distances, enough - 1, axis=1)[:, :enough]
        near = np.take_along_axis(distances, nearest, axis=1)
        order = np.argsort(near, axis=1)
        self._near = np.take_along_axis(near, order, axis=1)
        self._of = codes[np.take_along_axis(nearest, order, axis=1)]
        self.whole = self._near[:, neighbours]

    def changed(self, prompt: int) -> tuple[Codes, Matrix]:
        """The pictures of other prompts that reach further without it, by their places, and how far."""
        hit = (self._of[:, : self.place + 1] == prompt).any(axis=1) & (self.codes != prompt)
        places = np.flatnonzero(hit)
        left = np.cumsum(self._of[places] != prompt, axis=1) == self.place + 1
        return places, self._near[places, left.argmax(axis=1)]


class _Covered:
    """Which share of a set's pictures lies within reach of any of another set's.

    `across` [n, m] are the distances from the n that reach to the m, `codes` [m] the prompts of the m. By
    how many each is reached is counted once; a prompt takes its own away, and moves a few others' reach.
    """

    def __init__(self, across: Matrix, reach: _Reach, codes: Codes) -> None:
        self._across, self._reach, self._codes = across, reach, codes
        self._by = (across <= reach.whole[:, None]).sum(axis=0)

    def without(self, prompt: int) -> float:
        """The share, both sets without the prompt's pictures; NaN where too few are left in one."""
        gone, kept = np.flatnonzero(self._reach.codes == prompt), self._codes != prompt
        if min(len(self._reach.codes) - len(gone), kept.sum()) <= self._reach.place:
            return np.nan
        places, further = self._reach.changed(prompt)
        by = self._by - (self._across[gone] <= self._reach.whole[gone, None]).sum(axis=0)
        moved = self._across[places]
        by += ((moved <= further[:, None]) & (moved > self._reach.whole[places, None])).sum(axis=0)
        return float((by[kept] > 0).mean())
