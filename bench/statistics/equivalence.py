"""Whether something stayed the same, within a margin: two one-sided tests, for few and for rare changes."""

from collections.abc import Callable

import numpy as np

from erasure_bench.bench.statistics.cells import Codes, Values
from erasure_bench.bench.statistics.intervals import Ends

_LEVELS = np.concatenate([np.linspace(0.49, 0.05, 12), np.geomspace(0.05, 1e-6, 20)[1:]])
"""At these the intervals are looked at; between them the p value is interpolated."""


def equivalence_p(
    ends_at: Callable[[float], Ends],
    mean: Values,
    prompts: Codes,
    margin: float | Values,
    bound: float | Values = 1.0,
) -> Values:
    """P values against the hypothesis that mean changes are as large as `margin`, in either direction.

    Two one-sided tests (Schuirmann 1987) by the changes' own intervals: the smallest p at which that of
    confidence 1 − 2p, `ends_at`, lies within the margin. Student's t in their place calls a true loss of the
    whole margin the same up to .13 of the time at .05, where a share is near 1: rare losses are skewed.
    Where no prompt changed an interval proves little: rare changes may be large (as `bound`) and missed by
    all `prompts`. So no p value is smaller than the chance of that, (1 − share)^prompts, where `share` of
    such changes would take the `mean` to the margin. 1 where there is no interval, and from a half on. Arrays
    are of one shape, [numbers].
    """
    room = np.stack(
        [margin - np.maximum(np.abs(ends.low), np.abs(ends.high)) for ends in map(ends_at, 1 - 2 * _LEVELS)]
    )
    inside = room > 0
    first_out = np.where(inside.all(axis=0), len(_LEVELS), (~inside).argmax(axis=0))
    after = np.clip(first_out, 1, len(_LEVELS) - 1)
    place = np.arange(room.shape[1])
    last_in, out = room[after - 1, place], room[after, place]
    logs = np.log(_LEVELS)
    with np.errstate(divide="ignore", invalid="ignore"):
        part = np.clip(last_in / (last_in - out), 0.0, 1.0)
        between = np.exp(logs[after - 1] + part * (logs[after] - logs[after - 1]))
        share = np.clip((margin - np.abs(mean)) / (bound - np.abs(mean)), 0.0, 1.0)
    told = np.where(first_out == 0, 1.0, np.where(first_out == len(_LEVELS), _LEVELS[-1], between))
    p: Values = np.maximum(told, (1.0 - share) ** prompts)
    return np.where(np.isfinite(p), p, 1.0)
