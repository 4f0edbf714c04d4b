"""A statistic of a whole set as shares of its prompts, so that it is treated as a mean of them.

Left out one by one, prompts show what each moves (Efron and Stein 1981; Miller, The Jackknife, Biometrika
1974). A share is the statistic plus that: the shares' mean is the statistic, and their spread its standard
error if other prompts had been written. So a prompt that several concepts have in common, several training
seeds, and the difference to another method are allowed for as they are for every other number.
"""

import numpy as np

from erasure_bench.bench.statistics.cells import Codes, Values

MOST_LEFT_OUT = 50
"""More prompts than this are left out group by group: each time the statistic is computed anew."""


def in_groups(prompts: int) -> Codes:
    """[prompts]: the group that each is left out with, from 0; every prompt is one where there are few."""
    return np.arange(prompts) % min(max(prompts, 1), MOST_LEFT_OUT)


def shares(value: float, without: Values, group: Codes) -> Values:
    """[prompts]: shares of the statistic `value`, which is `without[g]` without the prompts of group g.

    A group's share stands for each of its prompts, as far off the mean as makes the variance of the mean
    over prompts that of the jackknife over groups. Where a set without a group has no statistic, all shares
    are equal: there is no interval.
    """
    groups = len(without)
    if groups < 2 or not np.isfinite(without).all():
        return np.full(len(group), value)
    moved = (groups - 1) * (without.mean() - without)
    of_prompt = moved[group] * np.sqrt(len(group) / groups)
    return np.asarray(value + of_prompt - of_prompt.mean())
