"""What an interval is made from: each number's value, its variance over prompts and over training seeds."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from erasure_bench.bench.statistics.cells import Cells, Codes, Groups, Values, grouped, sums

FEW_SEEDS = 3.0
"""The seeds' mean square is taken (seeds + 3) / seeds times: three seeds of a skewed population look alike
more often than not. Chosen by simulation (`studies.coverage`)."""


ROUNDING = 1e-12
"""A standard error that is so small a part of the value is what sums of equal numbers leave."""


class Moments(NamedTuple):
    """Arrays [numbers].

    `value` is NaN where a stratum has no cell. `clusters` counts different prompts, `pictures` what was
    scored of them, `strata` the concepts, `seeds` the training seeds (the most that a stratum has).
    `prompt_variance` is the squared standard error of `value` if other prompts had been written, unbiased,
    with `prompt_df` degrees of freedom: NaN where there are none. `seed_variance` is what other training
    seeds add to it, with `seed_df`: 0 and infinite with one seed. `largest` is the most that one prompt
    contributes.
    """

    value: Values
    strata: Codes
    clusters: Codes
    pictures: Values
    seeds: Codes
    prompt_variance: Values
    prompt_df: Values
    seed_variance: Values
    seed_df: Values
    largest: Values

    @property
    def variance(self) -> Values:
        """Of prompts and training seeds together."""
        return self.prompt_variance + self.seed_variance

    @property
    def df(self) -> Values:
        """Satterthwaite's degrees of freedom of `variance`."""
        with np.errstate(divide="ignore", invalid="ignore"):
            shared = self.prompt_variance**2 / self.prompt_df + self.seed_variance**2 / self.seed_df
            return np.where(self.seed_variance > 0, self.variance**2 / shared, self.prompt_df)

    def at(self, chosen: Any) -> "Moments":
        """The same of some numbers: an index or a mask."""
        return Moments(*(column[chosen] for column in self))


def moments(cells: Cells, groups: Groups) -> Moments:
    """The moments of the numbers that `groups` makes of the strata."""
    prompts, count = cells.prompts, groups.count
    own = groups.number[prompts.stratum]
    weight = prompts.weights(groups)
    sizes = prompts.in_stratum
    in_group = np.bincount(groups.number, minlength=count)

    amounts = sums(own, weight[prompts.stratum] * prompts.mean, count)
    lacking = np.bincount(groups.number[sizes == 0], minlength=count) > 0
    value = np.where(lacking | (in_group == 0), np.nan, amounts)

    pairs = grouped(own, prompts.cluster)
    clusters = np.bincount(pairs.first, minlength=count)
    unbiased = np.sqrt(sizes / np.maximum(sizes - 1.0, 1.0))
    residual = prompts.mean - prompts.stratum_mean[prompts.stratum]
    share = weight[prompts.stratum] * residual * unbiased[prompts.stratum]
    by_cluster = sums(pairs.code, share, pairs.size)
    prompt_variance = sums(pairs.first, by_cluster**2, count)
    contribution = sums(pairs.code, weight[prompts.stratum] * prompts.mean, pairs.size)
    largest = np.zeros(count)
    np.maximum.at(largest, pairs.first, contribution)

    single = np.bincount(groups.number[sizes < 2], minlength=count) > 0
    df = (clusters - _components(cells, groups, clusters)).astype(np.float64)
    df[single | (df < 1)] = np.nan
    prompt_variance[np.isnan(df)] = np.nan
    seeds = _seeds(cells, groups)
    rounding = (ROUNDING * np.abs(value)) ** 2
    prompt_variance[prompt_variance <= rounding] = 0.0
    seeds = seeds.without(seeds.variance <= rounding)
    return Moments(
        value=value,
        strata=in_group,
        clusters=clusters,
        pictures=sums(groups.number[cells.stratum], cells.pictures, count),
        seeds=seeds.most,
        prompt_variance=prompt_variance,
        prompt_df=df,
        seed_variance=seeds.variance,
        seed_df=seeds.df,
        largest=largest,
    )


def _components(cells: Cells, groups: Groups, clusters: Codes) -> Codes:
    """How many sets of strata there are in each number that have no prompt in common."""
    prompts, count = cells.prompts, groups.count
    strata = np.bincount(groups.number[prompts.in_stratum > 0], minlength=count)
    members = sums(groups.number, prompts.in_stratum, count)
    largest = np.zeros(count, dtype=np.int64)
    np.maximum.at(largest, groups.number, prompts.in_stratum)
    found = np.where(largest == clusters, 1, strata)
    some = (members != clusters) & (largest != clusters)
    of_some = some[groups.number[prompts.stratum]]
    if of_some.any():
        stratum = prompts.stratum[of_some]
        pairs = grouped(groups.number[stratum], prompts.cluster[of_some])
        nodes = cells.strata + pairs.size
        edges = coo_array(
            (np.ones(len(stratum), dtype=np.int8), (stratum, cells.strata + pairs.code)), shape=(nodes, nodes)
        )
        _, label = connected_components(edges, directed=False)
        different = grouped(groups.number[stratum], label[stratum].astype(np.int64))
        found = np.where(some, np.bincount(different.first, minlength=count), found)
    return found


class _SeedParts(NamedTuple):
    most: Codes
    variance: Values
    df: Values

    def without(self, none: NDArray[np.bool_]) -> "_SeedParts":
        """The same, no variance for some numbers."""
        return _SeedParts(self.most, np.where(none, 0.0, self.variance), np.where(none, np.inf, self.df))


def _seeds(cells: Cells, groups: Groups) -> _SeedParts:
    """The squared standard error of the mean over training seeds, as another draw of seeds would see it.

    The same seed may move several concepts the same way: the larger one of two estimates is taken, of seeds
    within each concept and of seeds that all concepts share. What prompts × seeds add by chance is left in.
    """
    prompts, count = cells.prompts, groups.count
    width = int(cells.seed.max(initial=0)) + 1
    code = cells.stratum * width + cells.seed
    by_seed = np.bincount(code, minlength=cells.strata * width)
    seeds = np.count_nonzero(by_seed.reshape(cells.strata, width), axis=1)
    most = np.zeros(count, dtype=np.int64)
    np.maximum.at(most, groups.number, seeds)
    place = np.repeat(np.arange(len(prompts.mean)), prompts.seeds)
    within = sums(code, cells.value - prompts.mean[place], cells.strata * width)
    weight = (prompts.weights(groups) * prompts.in_stratum)[:, None]
    with np.errstate(divide="ignore", invalid="ignore"):
        effect = np.nan_to_num(weight * (within / by_seed).reshape(cells.strata, width))
        of_stratum = (effect**2).sum(axis=1) / (seeds * (seeds - 1.0))
        nested = sums(groups.number, np.where(seeds > 1, of_stratum, 0.0), count)
        common = np.zeros((count, width))
        np.add.at(common, groups.number, effect)
        shared = np.where(most > 1, (common**2).sum(axis=1) / (most * (most - 1.0)), 0.0)
        strata = np.bincount(groups.number[seeds > 1], minlength=count)
        df = np.where(shared > nested, 1.0, strata) * (most - 1.0)
        variance = np.nan_to_num(np.maximum(nested, shared) * (most + FEW_SEEDS) / most)
    return _SeedParts(most, variance, df)
