"""How small a change a number of prompts shows."""

import math
from functools import lru_cache

import numpy as np

ALPHA, POWER = 0.05, 0.8


def detectable_change(error: float, freedom: int) -> float | None:
    """The smallest true change that a two-sided test at `ALPHA` finds with probability `POWER`.

    `error` is the standard error of the paired change, `freedom` its degrees of freedom (prompts − 1).
    None where the prompts do not say: fewer than two, or no difference between them.
    """
    if freedom < 1 or not error > 0:
        return None
    # It hardly changes where there are many: to two digits it need not be solved for every number.
    digits = 0 if freedom < 100 else len(str(freedom)) - 2
    return _in_standard_errors(round(freedom, -digits)) * error


def rare_change(prompts: int, width: float) -> float:
    """The smallest mean change that shows on one of the prompts with probability `POWER`, if few carry it.

    At worst a share s of all prompts changes by `width`, the whole range of the scores, and the others not at
    all: 1 − (1 − s)^prompts = `POWER`, and the mean change is s · width. A handful that all scored alike has
    next to no spread, and says nothing of a smaller one.
    """
    return width * -math.expm1(math.log1p(-POWER) / prompts)


def prompts_to_show(change: float, width: float) -> int | None:
    """On how many prompts `rare_change` is no more than `change`; None where no number is enough."""
    if change <= 0:
        return None
    return 1 if change >= POWER * width else math.ceil(math.log1p(-POWER) / math.log1p(-change / width))


@lru_cache(maxsize=1024)
def _in_standard_errors(freedom: int) -> float:
    from statsmodels.stats.power import TTestPower

    nobs = freedom + 1
    effect = TTestPower().solve_power(nobs=nobs, alpha=ALPHA, power=POWER, alternative="two-sided")
    return float(np.squeeze(effect)) * nobs**0.5  # it is an array where the solver took its second way
