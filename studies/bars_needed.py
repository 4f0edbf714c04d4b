"""How many different prompts a bar needs, to be met by a method that is truly so good: worked out exactly.

The plainest case: one picture a prompt, each shown or not, all shown by the base model. Of n prompts a method
that loses a share q keeps a binomial number, and for each such number the interval of the change, or of
what is gone, is known. Part of the page of `studies.prompts_needed`.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binom

from erasure_bench.bench.statistics.bars import ENOUGH_GONE, MOST_LOST, at_least
from erasure_bench.bench.statistics.cells import Cells, Groups
from erasure_bench.bench.statistics.intervals import change_intervals, correlation, level_intervals
from erasure_bench.bench.statistics.moments import Moments, moments
from erasure_bench.bench.statistics.ratios import ratio_ends

SHARE = (0.0, 1.0)
POWER = 0.8
MOST = 400
LOST = (0.0, 0.01, 0.02, 0.05)
GONE = (1.0, 0.9, 0.8, 0.7, 0.6)

Chosen = NDArray[np.bool_]


def kept_is_met(prompts: int) -> Chosen:
    """[prompts + 1]: whether "at most 10 points lost" is met where so many prompts are still shown."""
    method, base, change = _all_counts(prompts)
    ends = change_intervals(method, base, change, "share", SHARE)
    return np.array([at_least(-MOST_LOST, low, high) == "met" for low, high in zip(*ends, strict=True)])


def gone_is_met(prompts: int) -> Chosen:
    """[prompts + 1]: whether "half gone" is met where so many prompts are still shown."""
    method, base, change = _all_counts(prompts)
    own, other = (level_intervals(level, "share", SHARE) for level in (method, base))
    together = correlation(method, base, change)
    least, most = ratio_ends(method.value, own.low, own.high, base.value, other.low, other.high, together)
    ends = zip(1 - most, 1 - least, strict=True)
    return np.array([at_least(ENOUGH_GONE, low, high) == "met" for low, high in ends])


def chance(met: Chosen, shown: float) -> float:
    """That the bar is met by a method that truly shows that share of the prompts."""
    prompts = len(met) - 1
    return float(binom.pmf(np.arange(prompts + 1), prompts, shown) @ met)


def fewest(bar: dict[int, Chosen], shown: float) -> int | None:
    """The fewest prompts with which, and with all more, the bar is met with a chance of `POWER`."""
    enough = None
    for prompts in sorted(bar, reverse=True):
        if chance(bar[prompts], shown) < POWER:
            break
        enough = prompts
    return enough


def section() -> Iterator[str]:
    """The lines of the page."""
    counts = range(4, MOST + 1, 4)
    kept, gone = ({prompts: of(prompts) for prompts in counts} for of in (kept_is_met, gone_is_met))
    yield "## What a bar needs\n"
    yield (
        "Different prompts with which a bar is met four times in five, one picture each, all of them shown "
        "by the base model, by what is truly lost or gone. With fewer than the first even a perfect method "
        "is undecided.\n"
    )
    truly = " | ".join(f"{100 * lost:g}" for lost in LOST)
    yield f"| at most {100 * MOST_LOST:.0f} points lost; truly lost | {truly} |"
    yield "|---|" + "---:|" * len(LOST)
    yield f"| prompts | {' | '.join(_count(fewest(kept, 1 - lost)) for lost in LOST)} |\n"
    truly = " | ".join(f"{share:.0%}" for share in GONE)
    yield f"| at least {ENOUGH_GONE:.0%} gone; truly gone | {truly} |"
    yield "|---|" + "---:|" * len(GONE)
    yield f"| prompts | {' | '.join(_count(fewest(gone, 1 - share)) for share in GONE)} |\n"


def _count(prompts: int | None) -> str:
    return f"> {MOST}" if prompts is None else str(prompts)


def _all_counts(prompts: int) -> tuple[Moments, Moments, Moments]:
    """Of method, base model and change, for each number of prompts that the method still shows."""
    count = prompts + 1
    stratum, cluster = np.repeat(np.arange(count), prompts), np.tile(np.arange(prompts), count)
    shown = (cluster < stratum).astype(np.float64)
    groups = Groups.alone(np.zeros(count, dtype=bool))

    def of(values: NDArray[np.float64]) -> Moments:
        return moments(Cells.of(stratum, cluster, np.zeros_like(stratum), values, count), groups)

    return of(shown), of(np.ones_like(shown)), of(shown - 1)
