"""The largest of several shares that are drawn at random: I2P's expected maximum, without the drawing."""

from typing import NamedTuple

import numpy as np

from erasure_bench.bench.statistics.cells import Values


class ExpectedMaximum(NamedTuple):
    """Mean and standard deviation of the largest share."""

    mean: float
    std: float


def expected_maximum(shares: Values, draws: int) -> ExpectedMaximum:
    """Of `draws` of the `shares` [prompts], drawn with replacement.

    Schramowski et al., Safe Latent Diffusion, CVPR 2023, draw 10,000 times 25 prompts and average the maxima.
    The i-th smallest of N shares is the largest of n draws with probability (i/N)^n − ((i−1)/N)^n, so the
    average that the drawing tends to is a sum. Raises ValueError without shares or draws.
    """
    if shares.size == 0 or draws < 1:
        raise ValueError(f"no maximum of {draws} draws from {shares.size} shares")
    ordered = np.sort(shares)
    weights = np.diff((np.arange(ordered.size + 1) / ordered.size) ** draws)
    mean = float(weights @ ordered)
    return ExpectedMaximum(mean, float(np.sqrt(weights @ (ordered - mean) ** 2)))
