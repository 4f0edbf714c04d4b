"""Scores as clusters: which of them are of the same prompt, of the same concept, of the same training seed.

A leaderboard's number is a mean over concepts (strata: fixed) of means over prompts (clusters: drawn from
the prompts that could have been written). A prompt that several concepts share is one cluster. Where an edit
is trained, its training seeds are a second factor, crossed with the prompts.
"""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]
Codes = NDArray[np.int64]


class Contributions(NamedTuple):
    """What each prompt adds to each number: three arrays of one length, sorted by number, then prompt.

    The amounts of one number add up to it; `cluster` is the prompt's code, the same in all numbers.
    """

    number: Codes
    cluster: Codes
    amount: Values


@dataclass(frozen=True)
class Groups:
    """Which strata make which number: `number` [strata] is each stratum's, from 0 to `count` − 1.

    `total` [count] is true where the number is a sum over prompts, averaged over the strata, and false
    where it is a mean.
    """

    number: Codes
    total: NDArray[np.bool_]

    @property
    def count(self) -> int:
        """How many numbers there are."""
        return len(self.total)

    @classmethod
    def alone(cls, total: NDArray[np.bool_]) -> Self:
        """Every stratum is a number of its own."""
        return cls(np.arange(len(total)), total)


@dataclass(frozen=True)
class Cells:
    """One value for each stratum, cluster and seed that has one, the mean over its pictures: arrays [cells].

    Codes are whole numbers from 0. `stratum` is one concept of one method, role and metric; `strata` says
    how many there are, with those that have no cell. A cluster's code means the same prompt in every
    stratum. `seed` is the training seed, 0 throughout a stratum whose weights are the same whatever the
    seed. Sorted by stratum, cluster, seed: see `Cells.of`.
    """

    stratum: Codes
    cluster: Codes
    seed: Codes
    value: Values
    pictures: Codes
    strata: int

    @classmethod
    def of(cls, stratum: Codes, cluster: Codes, seed: Codes, value: Values, strata: int) -> Self:
        """From the pictures' values in any order; NaN are left out, a cell has the mean of its own."""
        known = np.isfinite(value)
        if not known.all():
            stratum, cluster, seed, value = stratum[known], cluster[known], seed[known], value[known]
        widest = int(seed.max(initial=0)) + 1
        key = (stratum * (int(cluster.max(initial=0)) + 1) + cluster) * widest + seed
        pictures = np.ones(len(key), dtype=np.int64)
        if not np.all(key[1:] > key[:-1]):
            order = np.argsort(key, kind="stable")
            key = key[order]
            starts = np.flatnonzero(np.r_[True, key[1:] != key[:-1]][: len(key)])
            pictures = np.diff(np.r_[starts, len(key)])
            value = _reduced(value[order], starts) / pictures
            first = order[starts]
            stratum, cluster, seed = stratum[first], cluster[first], seed[first]
        return cls(stratum, cluster, seed, value.astype(np.float64, copy=False), pictures, strata)

    def __len__(self) -> int:
        return len(self.value)

    def summed(self, total: NDArray[np.bool_]) -> "Cells":
        """Where `total` [strata] says so, a cell's value is the sum over its pictures."""
        value = np.where(total[self.stratum], self.value * self.pictures, self.value)
        return replace(self, value=value)

    def untrained(self, same: NDArray[np.bool_]) -> "Cells":
        """Where the weights of a stratum are the `same` [strata] whatever the seed, seeds make one cell."""
        if len(self) == 0 or not (same[self.stratum] & (self.seed > 0)).any():
            return self
        seed = np.where(same[self.stratum], 0, self.seed)
        starts = np.flatnonzero(np.r_[True, np.diff(self.stratum) | np.diff(self.cluster) | np.diff(seed)])
        sizes = np.diff(np.r_[starts, len(self)])
        return Cells(
            self.stratum[starts],
            self.cluster[starts],
            seed[starts],
            _reduced(self.value, starts) / sizes,
            np.add.reduceat(self.pictures, starts),
            self.strata,
        )

    @cached_property
    def prompts(self) -> "Prompts":
        """The cells by stratum and cluster."""
        starts = np.flatnonzero(
            np.r_[True, (np.diff(self.stratum) != 0) | (np.diff(self.cluster) != 0)][: len(self)]
        )
        sizes = np.diff(np.r_[starts, len(self)])
        means = _reduced(self.value, starts) / sizes
        stratum = self.stratum[starts]
        in_stratum = np.bincount(stratum, minlength=self.strata)
        with np.errstate(invalid="ignore"):
            mean = sums(stratum, means, self.strata) / in_stratum
        return Prompts(stratum, self.cluster[starts], means, sizes, in_stratum, mean)

    def contributions(self, groups: Groups) -> Contributions:
        """What each prompt adds to each number of `groups`."""
        prompts = self.prompts
        weight = prompts.weights(groups)
        codes = grouped(groups.number[prompts.stratum], prompts.cluster)
        amount = sums(codes.code, weight[prompts.stratum] * prompts.mean, codes.size)
        return Contributions(codes.first, codes.second, amount)


class Prompts(NamedTuple):
    """Means over seeds: `stratum`, `cluster`, `mean` and `seeds` [pairs of stratum and cluster].

    `in_stratum` counts the clusters of each stratum, `stratum_mean` is NaN where there are none.
    """

    stratum: Codes
    cluster: Codes
    mean: Values
    seeds: Codes
    in_stratum: Codes
    stratum_mean: Values

    def weights(self, groups: Groups) -> Values:
        """[strata]: what one cluster's mean weighs in the number of its stratum."""
        strata = np.bincount(groups.number, minlength=groups.count)
        whole = np.where(groups.total[groups.number], self.in_stratum, 1.0)
        return np.asarray(whole / strata[groups.number] / np.maximum(self.in_stratum, 1))


class Grouped(NamedTuple):
    """Pairs of codes, each once: `code` [as given] is the place of each in `first`, `second` [count]."""

    code: Codes
    first: Codes
    second: Codes

    @property
    def size(self) -> int:
        """How many different pairs there are."""
        return len(self.first)


def grouped(first: Codes, second: Codes) -> Grouped:
    """The different pairs, sorted by first, then second."""
    widest = int(second.max(initial=0)) + 1
    key = first * widest + second
    if np.all(key[1:] > key[:-1]):
        return Grouped(np.arange(len(key)), first, second)
    found, code = np.unique(key, return_inverse=True)
    return Grouped(code, found // widest, found % widest)


def sums(codes: Codes, amounts: Values | Codes, size: int) -> Values:
    """[size]: the sum of the amounts of each code."""
    return np.bincount(codes, weights=amounts, minlength=size).astype(np.float64)


def _reduced(values: Values, starts: Codes) -> Values:
    return np.add.reduceat(values, starts) if len(starts) else np.empty(0)
