"""The distance at which a recogniser is wrong as often about the same face as about others."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class Calibration(NamedTuple):
    """A threshold with the share of both errors there, and how many distances it rests on."""

    threshold: float
    equal_error: float
    same: int
    others: int


def equal_error(same: NDArray[np.float64], others: NDArray[np.float64]) -> Calibration:
    """Distances to one's own face and to others' (both not empty): up to the threshold it is the same.

    It lies where the share of `same` beyond it and the share of `others` up to it are nearest to each other,
    in the middle of all such places; the error is the mean of the two shares there.
    """
    same, others = np.sort(same), np.sort(others)
    steps = np.unique(np.concatenate([same, others]))
    places = np.concatenate([[steps[0] - 1.0], (steps[1:] + steps[:-1]) / 2, [steps[-1] + 1.0]])
    missed = 1.0 - np.searchsorted(same, places, side="right") / len(same)
    taken = np.searchsorted(others, places, side="right") / len(others)
    apart = np.abs(missed - taken)
    nearest = np.flatnonzero(np.isclose(apart, apart.min()))
    threshold = float((places[nearest[0]] + places[nearest[-1]]) / 2)
    error = float((missed[nearest].mean() + taken[nearest].mean()) / 2)
    return Calibration(threshold, error, len(same), len(others))
