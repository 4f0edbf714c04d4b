"""Probabilities that mean what they say: temperature scaling, and how far off they are.

Guo et al., On Calibration of Modern Neural Networks, ICML 2017, sections 2 and 4.2.
"""

import math

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import logsumexp

BINS = 15
TEMPERATURES = (0.1, 10.0)
"""Where a temperature is looked for."""


def fitted_temperature(logits: NDArray[np.floating], labels: NDArray[np.integer]) -> float:
    """The T that makes softmax(logits / T) most likely, for logits [n, k] and true classes [n]."""
    values = np.asarray(logits, dtype=np.float64)
    own = values[np.arange(len(values)), labels]

    def surprise(log_temperature: float) -> float:
        temperature = math.exp(log_temperature)
        return float((logsumexp(values / temperature, axis=1) - own / temperature).mean())

    found = minimize_scalar(surprise, bounds=tuple(map(math.log, TEMPERATURES)), method="bounded")
    return math.exp(float(found.x))


def expected_calibration_error(
    confidence: NDArray[np.floating], right: NDArray[np.bool_], bins: int = BINS
) -> float:
    """Mean over equally full bins of |share right − mean confidence|, weighted by the bins' sizes.

    `confidence` [n] is the probability of the predicted class, `right` [n] whether it is the true one.
    Bins hold equally many pictures (to within one), sorted by confidence; n < `bins` gives n bins.
    """
    if len(confidence) == 0:
        raise ValueError("no predictions to measure the calibration of")
    order = np.argsort(confidence, kind="stable")
    parts = np.array_split(order, min(bins, len(order)))
    gaps = [len(part) * abs(float(right[part].mean()) - float(confidence[part].mean())) for part in parts]
    return sum(gaps) / len(confidence)
