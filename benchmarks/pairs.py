"""Two ways of doing the same, timed in turns: what else a machine does meanwhile hits both."""

import math
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from scipy import stats


class Ratio(NamedTuple):
    """How many times as long the other way takes: the geometric mean over pairs, and its 95 % t interval."""

    ratio: float
    low: float
    high: float
    pairs: int

    def record(self) -> dict[str, Any]:
        """JSON's types."""
        return {
            name: round(value, 3) if isinstance(value, float) else value
            for name, value in self._asdict().items()
        }


def in_turns(
    ours: Callable[[], object],
    other: Callable[[], object],
    pairs: int,
    *,
    wait: Callable[[], object] = lambda: None,
    clock: Callable[[], float] = time.perf_counter,
) -> tuple[list[float], list[float]]:
    """Seconds of each, pair by pair, after one of each that is not counted.

    Which of them is first changes from pair to pair. `wait` returns when a device has done all that it was
    given. `clock` may be `time.process_time`, which holds where others have the machine as well.
    """
    ours(), other(), wait()
    taken: tuple[list[float], list[float]] = ([], [])
    for pair in range(pairs):
        for place in (0, 1) if pair % 2 else (1, 0):
            started = clock()
            (ours, other)[place]()
            wait()
            taken[place].append(clock() - started)
    return taken


def ratio_of(ours: list[float], other: list[float]) -> Ratio:
    """Of times that were taken in pairs; with one pair the interval is without end."""
    logs = np.log(np.asarray(other) / np.asarray(ours))
    count, mean = len(logs), float(logs.mean())
    half = (
        float(stats.t.ppf(0.975, count - 1) * logs.std(ddof=1) / math.sqrt(count)) if count > 1 else math.inf
    )
    return Ratio(math.exp(mean), math.exp(mean - half), math.exp(mean + half), count)
