"""How far pictures lie from a set of reference pictures, and where that set's own range ends.

Statistics are scaled by the reference's median and spread, whitened by its shrunk covariance, and a picture's
distance is the mean one to its nearest reference pictures: what a model draws falls into several kinds
(photographs, sketches, faces), and one Gaussian over all would have noise in its middle.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.float64]

FEWEST = 20
"""A smaller reference has no range to speak of."""
DIFFERENT = 10
"""Nor has one with fewer different pictures among them: a picture's own copies are no range."""
NEAREST = 3
SHRINKAGE = 0.3
"""Of the covariance towards a multiple of the identity: references are not many more than statistics."""
FENCE = 3.0
"""Tukey's outer fence: in interquartile ranges above the upper quartile of the reference's own distances."""
_CUT = 8.0
"""Scaled statistics are cut here, so that none alone decides everything."""
_SAME = 0.2
"""In units of the whitened statistics: pictures that are nearer than this to each other are the same."""


class TooFew(ValueError):
    """The reference has fewer pictures than `FEWEST`, or fewer different ones than `DIFFERENT`."""


@dataclass(frozen=True, eq=False)
class ReferenceRange:
    """A fitted reference of n pictures: `whitened` [n, statistics], and what became of its own distances.

    `usual` is the median distance of a reference picture to the others, `fence` the distance at which a
    picture has left their range. A picture that the reference repeats, as a memorised one, counts once:
    `distinct` [n] is true for one of each.
    """

    centre: Numbers
    scale: Numbers
    mean: Numbers
    whitening: Numbers
    whitened: Numbers
    distinct: NDArray[np.bool_]
    usual: float
    fence: float

    @classmethod
    def of(cls, statistics: Numbers) -> "ReferenceRange":
        """Of the reference's statistics [n, statistics]. Raises TooFew."""
        if len(statistics) < FEWEST:
            raise TooFew(f"{len(statistics)} pictures, at least {FEWEST} are needed")
        centre = np.median(statistics, axis=0)
        spread = 1.4826 * np.median(np.abs(statistics - centre), axis=0)
        scale = np.maximum(spread, 0.35 * statistics.std(axis=0) + 1e-3)
        scaled = np.clip((statistics - centre) / scale, -_CUT, _CUT)
        mean = scaled.mean(axis=0)
        covariance = np.cov(scaled.T, bias=True)
        level = max(float(np.trace(covariance)) / len(covariance), 1e-6)
        shrunk = (1 - SHRINKAGE) * covariance + SHRINKAGE * level * np.eye(len(covariance))
        variances, directions = np.linalg.eigh(shrunk)
        whitening = directions / np.sqrt(variances * len(variances))
        whitened = (scaled - mean) @ whitening
        distinct = _one_of_each(whitened)
        kept = whitened[distinct]
        if len(kept) < DIFFERENT:
            raise TooFew(f"{len(kept)} different pictures, at least {DIFFERENT} are needed")
        own = [_to_nearest(row, np.delete(kept, place, axis=0)) for place, row in enumerate(kept)]
        lower, usual, upper = np.quantile(own, (0.25, 0.5, 0.75))
        fence = upper + FENCE * (upper - lower)
        return cls(centre, scale, mean, whitening, whitened, distinct, float(usual), float(fence))

    def distance(self, statistics: Numbers, without: int | None = None) -> float:
        """Mean distance of a picture with these statistics to the nearest reference pictures but `without`.

        Who leaves out the reference picture of the same prompt and noise measures the reference's own
        pictures, and those of a model that draws the same ones, alike.
        """
        scaled = np.clip((statistics - self.centre) / self.scale, -_CUT, _CUT)
        others = self.distinct.copy()
        if without is not None:
            others[without] = False
        return max(_SAME, _to_nearest((scaled - self.mean) @ self.whitening, self.whitened[others]))


def _one_of_each(rows: Numbers) -> NDArray[np.bool_]:
    """Which rows [n, statistics] repeat no earlier one."""
    distinct = np.zeros(len(rows), dtype=bool)
    for place, row in enumerate(rows):
        distances = np.sqrt(((rows[distinct] - row) ** 2).sum(axis=1))
        distinct[place] = not (distances < _SAME).any()
    return distinct


def _to_nearest(row: Numbers, others: Numbers) -> float:
    distances = np.sqrt(((others - row) ** 2).sum(axis=1))
    return float(np.partition(distances, NEAREST - 1)[:NEAREST].mean())
