"""What each prompt and each training seed makes of each number, so that both can be drawn anew."""

from typing import NamedTuple

import numpy as np

from erasure_bench.bench.statistics.cells import Cells, Codes, Groups, Values, grouped, sums


class Effects(NamedTuple):
    """Of each number [numbers] a block of rows, one for each of its clusters: `start` [numbers + 1].

    `value` [rows, seeds] has the number as its mean over the block. It differs from it by what the prompt
    does under its own concepts, not by what these concepts are: concepts are never drawn anew. Where nothing
    was trained anew for other seeds, all seeds have the same.
    """

    start: Codes
    cluster: Codes
    value: Values

    def of(self, number: int) -> tuple[Codes, Values]:
        """The clusters of a number and its values [clusters, seeds]."""
        block = slice(self.start[number], self.start[number + 1])
        return self.cluster[block], self.value[block]


def effects(cells: Cells, groups: Groups) -> Effects:
    """The effects of the numbers that `groups` makes of the strata."""
    prompts, count = cells.prompts, groups.count
    weight = prompts.weights(groups)
    pairs = grouped(groups.number[prompts.stratum], prompts.cluster)
    of_cell = np.repeat(np.arange(len(prompts.mean)), prompts.seeds)
    code = pairs.code[of_cell]
    amount = weight[cells.stratum] * (cells.value - prompts.stratum_mean[cells.stratum])
    seeds = int(cells.seed.max(initial=0)) + 1
    single = prompts.seeds[of_cell] == 1
    several = ~single
    rows = len(pairs.first)
    by_seed = sums(code[several] * seeds + cells.seed[several], amount[several], rows * seeds)
    deviation = by_seed.reshape(rows, seeds) + sums(code[single], amount[single], rows)[:, None]
    value = sums(groups.number[prompts.stratum], weight[prompts.stratum] * prompts.mean, count)
    clusters = np.bincount(pairs.first, minlength=count)
    start = np.concatenate([[0], np.cumsum(clusters)])
    return Effects(start, pairs.second, value[pairs.first, None] + clusters[pairs.first, None] * deviation)
