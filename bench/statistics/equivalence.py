"""Whether something stayed the same, within a margin: two one-sided tests, for few and for rare changes."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from erasure_bench.bench.statistics.cells import Values


def equivalence_p(
    mean: Values, error: Values, freedom: Values, prompts: NDArray[Any], margin: float, bound: float = 1.0
) -> Values:
    """P values against the hypothesis that mean changes are as large as `margin`, in either direction.

    The paired TOST (Schuirmann 1987) of arrays of one shape: `mean`, its standard error `error`, that error's
    degrees of `freedom`, and how many independent `prompts` it is of. Where no prompt changed the error is
    zero, which proves little: rare changes may be large (as `bound`) and missed by all prompts. So no p
    value is smaller than the chance of that, (1 − share)^prompts, where `share` of such changes would take
    the mean to the margin.
    """
    from scipy.stats import t

    room = margin - np.abs(mean)
    with np.errstate(divide="ignore", invalid="ignore"):
        score = np.where(error > 0, room / error, np.where(room > 0, np.inf, -np.inf))
        share = np.clip(room / (bound - np.abs(mean)), 0.0, 1.0)
    p: Values = np.maximum(t.sf(score, freedom), (1.0 - share) ** prompts)
    return np.where(np.isfinite(p), p, 1.0)
