"""A run's scores as the numbers of its leaderboard: which scores make which number, and how they are paired.

Here names become codes; what is computed from them is in `bench.statistics`. Which metric is tabled for which
role, in which direction and how it is aggregated is the metric's own to say: no metric is named here.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pandas import DataFrame

from erasure_bench.bench.statistics.cells import Cells, Codes, Contributions, Groups, Values, grouped, sums
from erasure_bench.bench.statistics.intervals import (
    CONFIDENCE,
    Ends,
    change_intervals,
    level_intervals,
    within,
)
from erasure_bench.bench.statistics.moments import Moments, moments
from erasure_bench.evaluators.base import Metric
from erasure_bench.prompt_suites.suite import ROLES, Role

OVERALL = "overall"


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What was to be measured: methods with the baseline, concepts with their roles, metrics, seeds.

    `pictures` is how many different ones were planned, by method, concept and role. `models` names the
    edited model that a method, concept and seed have: where several have the same one, it is not trained
    anew. Without a name each has its own, but for the baseline, which is never edited. `references` are
    the rows that are other base models. `rewrites` gives the id of the prompt that another one rewrites.
    """

    methods: Sequence[str]
    baseline: str
    roles: Mapping[str, Sequence[Role]]
    metrics: Sequence[tuple[str, Metric]]
    seeds: Sequence[int]
    pictures: Mapping[tuple[str, str, Role], int]
    models: Mapping[tuple[str, str, int], str] = field(default_factory=dict)
    references: frozenset[str] = frozenset()
    rewrites: Mapping[str, str] = field(default_factory=dict)

    def model(self, method: str, concept: str, seed: int) -> str:
        """The name of an edited model."""
        own = self.baseline if method == self.baseline else f"{method}\0{concept}\0{seed}"
        return self.models.get((method, concept, seed), own)


class Stratum(NamedTuple):
    """One concept of a number; `metric` is the metric's place in `Measured.metrics`."""

    method: str
    concept: str
    role: Role
    metric: int


class Whole(NamedTuple):
    """An overall number: the mean over concepts."""

    method: str
    role: Role
    metric: int


class Counts(NamedTuple):
    """Arrays [numbers]: different pictures that were scored, that have no score, and that make a pair."""

    scored: Codes
    missing: Codes
    pairs: Codes


class Paired(NamedTuple):
    """Scores of the pictures that both of two have, and their difference: a method and the baseline, or a
    method's own on a prompt and on the one that it rewrites."""

    method: Cells
    base: Cells
    change: Cells


class PairedMoments(NamedTuple):
    """The moments of `Paired`."""

    method: Moments
    base: Moments
    change: Moments


@dataclass(frozen=True)
class Tabled:
    """All numbers of a leaderboard; build it by `tabled`.

    `strata` and `wholes` give names to the numbers of concepts and to the overall ones, in the table's
    order. `scored_sum` is the sum of a stratum's scores, `seeds_seen` of how many seeds it has pictures;
    `prompt_ids` are what the cluster codes stand for: a prompt, with those that rewrite it. `reasons` say why
    most of a stratum's missing scores are missing. `own` are the cells of the methods' own scores, `by_seed`
    the same with all seeds apart, also where nothing is trained. `rewritten` pairs the prompts that rewrite
    another with that one, in the strata of the former; None where none does. Groups, moments and intervals
    are those of concepts or of the overall numbers, as `overall` says.
    """

    measured: Measured
    strata: tuple[Stratum, ...]
    wholes: tuple[Whole, ...]
    whole_of: Codes
    own: Cells
    by_seed: Cells
    paired: Paired
    rewritten: "Rewritings | None"
    counts: Counts
    whole_counts: Counts
    scored_sum: Values
    seeds_seen: Codes
    prompt_ids: tuple[str, ...]
    reasons: Mapping[int, str]

    def names(self, overall: bool) -> Sequence[Stratum | Whole]:
        """The numbers, in their order."""
        return self.wholes if overall else self.strata

    def groups(self, overall: bool) -> Groups:
        """Which strata make which number."""
        total = np.array([self._metric(name).aggregate == "sum" for name in self.names(overall)], dtype=bool)
        return Groups(self.whole_of, total) if overall else Groups.alone(total)

    def levels(self, overall: bool) -> Moments:
        """Of the methods' own values."""
        return moments(self.own, self.groups(overall))

    def changes(self, overall: bool) -> PairedMoments:
        """Of the methods' values, the baseline's and their difference, on the same pictures."""
        return self._whole_changes if overall else self._own_changes

    @cached_property
    def _whole_changes(self) -> PairedMoments:
        return self._paired_moments(overall=True)

    @cached_property
    def _own_changes(self) -> PairedMoments:
        return self._paired_moments(overall=False)

    def _paired_moments(self, overall: bool) -> PairedMoments:
        return self._moments_of(self.paired, overall)

    def _moments_of(self, paired: Paired, overall: bool) -> PairedMoments:
        groups = self.groups(overall)
        return PairedMoments(*(moments(cells, groups) for cells in paired))

    def gaps(self, rewritten: "Rewritings", overall: bool) -> PairedMoments:
        """Of the values on prompts that rewrite another, on those others, and their difference."""
        return self._moments_of(rewritten.paired, overall)

    def level_ends(self, found: Moments, overall: bool, confidence: float = CONFIDENCE) -> Ends:
        """Intervals of `levels(overall)`."""
        ends = Ends(np.full(len(found.value), np.nan), np.full(len(found.value), np.nan))
        for place, chosen in self._by_metric(overall):
            metric = self.measured.metrics[place][1]
            part = level_intervals(found.at(chosen), metric.scale, metric.ends, confidence)
            ends.low[chosen], ends.high[chosen] = (
                within(part, metric.bounds) if metric.scale == "free" else part
            )
        return ends

    def change_ends(
        self,
        found: PairedMoments,
        overall: bool,
        confidence: float = CONFIDENCE,
        wanted: NDArray[np.bool_] | None = None,
    ) -> Ends:
        """Intervals of `changes(overall)`, or of those `wanted` [numbers] alone: the others' are NaN."""
        count = len(found.change.value)
        ends = Ends(np.full(count, np.nan), np.full(count, np.nan))
        for place, of_metric in self._by_metric(overall):
            metric = self.measured.metrics[place][1]
            chosen = of_metric if wanted is None else of_metric[wanted[of_metric]]
            own, base, change = (one.at(chosen) for one in found)
            part = change_intervals(own, base, change, metric.scale, metric.ends, confidence)
            ends.low[chosen], ends.high[chosen] = part
        return ends

    def contributions(self, overall: bool) -> Contributions:
        """What each prompt adds to each method's own number: its cluster codes are places in `prompt_ids`."""
        return self.own.contributions(self.groups(overall))

    def _metric(self, name: Stratum | Whole) -> Metric:
        return self.measured.metrics[name.metric][1]

    def _by_metric(self, overall: bool) -> list[tuple[int, Codes]]:
        names: Sequence[Stratum | Whole] = self.wholes if overall else self.strata
        place = np.array([name.metric for name in names], dtype=np.int64)
        return [(metric, np.flatnonzero(place == metric)) for metric in np.unique(place).tolist()]


def width_of(metric: Metric) -> float:
    """Of the range that a number of the metric may lie in; infinite where it has no ends."""
    return math.inf if metric.aggregate == "sum" else metric.bounds[1] - metric.bounds[0]


class Rewritings(NamedTuple):
    """Pictures of prompts that rewrite another, beside those of that one: of the same method, seed and noise.

    `role` [strata] is that of the other prompts, as its place in `ROLES` (−1 where there is no pair), `pairs`
    counts the different pictures of concepts' numbers, `whole_pairs` those of the overall ones.
    """

    paired: Paired
    role: Codes
    pairs: Codes
    whole_pairs: Codes


def tabled(scores: DataFrame, measured: Measured) -> Tabled:
    """The numbers that `measured` asks for; `scores` has the columns `bench.reporting.scores.RUN_COLUMNS`.

    A picture that several seeds share (`repeated`) counts once.
    """
    strata = tuple(_strata(measured))
    names = {Whole(stratum.method, stratum.role, stratum.metric) for stratum in strata}
    order = {name: place for place, name in enumerate(measured.methods)}
    wholes = tuple(sorted(names, key=lambda name: (order[name.method], ROLES.index(name.role), name.metric)))
    place_of = {name: place for place, name in enumerate(wholes)}
    whole_of = np.array(
        [place_of[Whole(stratum.method, stratum.role, stratum.metric)] for stratum in strata], dtype=np.int64
    )
    stratum = _strata_of(scores, measured, strata)
    pictures, prompt_ids = _pictures(scores, stratum, measured.rewrites)
    trained = np.array(
        [
            len({measured.model(one.method, one.concept, seed) for seed in measured.seeds}) > 1
            for one in strata
        ],
        dtype=bool,
    )
    total = np.array([measured.metrics[one.metric][1].aggregate == "sum" for one in strata], dtype=bool)
    is_base = np.array([one.method == measured.baseline for one in strata], dtype=bool)

    def by_seed(of: _Pictures, value: Values) -> Cells:
        return Cells.of(of.stratum, of.cluster, of.seed, value, len(strata)).summed(total)

    def cells(of: _Pictures, value: Values) -> Cells:
        return by_seed(of, value).untrained(~trained)

    own = pictures.only(~pictures.repeated)
    own_by_seed = by_seed(own, own.value)
    known = np.isfinite(own.value)
    both, base_value = _pairs(own.only(known & ~is_base[own.stratum]), pictures, measured, strata)
    shared = _shared_models(measured, strata, wholes)

    def count(of: _Pictures) -> tuple[Codes, Codes]:
        single = np.bincount(of.stratum, minlength=len(strata))
        return single, _different(of, single, whole_of, shared, len(wholes))

    def rewritten() -> Rewritings:
        new, old = _rewritings(own.only(known), strata)
        values = (new.value, old.value, new.value - old.value)
        role = np.full(len(strata), -1)
        role[new.stratum] = np.array([ROLES.index(one.role) for one in strata])[old.stratum]
        return Rewritings(Paired(*(cells(new, value) for value in values)), role, *count(new))

    numbers = [count(part) for part in (own.only(known), own.only(~known), both)]
    return Tabled(
        measured=measured,
        strata=strata,
        wholes=wholes,
        whole_of=whole_of,
        own=own_by_seed.untrained(~trained),
        by_seed=own_by_seed,
        paired=Paired(cells(both, both.value), cells(both, base_value), cells(both, both.value - base_value)),
        rewritten=rewritten() if measured.rewrites else None,
        counts=Counts(*(single for single, _ in numbers)),
        whole_counts=Counts(*(whole for _, whole in numbers)),
        scored_sum=sums(own.stratum[known], own.value[known], len(strata)),
        seeds_seen=_seeds_seen(own, len(strata)),
        prompt_ids=prompt_ids,
        reasons=_reasons(scores, stratum),
    )


def _seeds_seen(pictures: "_Pictures", strata: int) -> Codes:
    """[strata]: of how many seeds there are pictures."""
    seen = np.zeros((strata, int(pictures.seed.max(initial=0)) + 1), dtype=bool)
    seen[pictures.stratum, pictures.seed] = True
    return np.count_nonzero(seen, axis=1)


def _reasons(scores: DataFrame, stratum: Codes) -> dict[int, str]:
    """The commonest reason of each stratum's missing scores."""
    chosen = np.flatnonzero((stratum >= 0) & np.isnan(scores["value"].to_numpy(np.float64)))
    if len(chosen) == 0:
        return {}
    reasons = scores["reason"].iloc[chosen].to_numpy(dtype=object)
    rows = DataFrame({"stratum": stratum[chosen], "reason": reasons})
    commonest = rows.groupby("stratum")["reason"].agg(lambda reasons: reasons.mode().iloc[0])
    return dict(zip(map(int, commonest.index.to_numpy()), map(str, commonest), strict=True))


def _strata(measured: Measured) -> list[Stratum]:
    return [
        Stratum(method, concept, role, place)
        for method in measured.methods
        for concept, roles in measured.roles.items()
        for role in roles
        for place, (_, metric) in enumerate(measured.metrics)
        if role in metric.better
    ]


class _Pictures(NamedTuple):
    """Columns of codes [scores]: `seed` and `prompt` are ranks, `image` the picture's index.

    `cluster` is the prompt, or the one that it rewrites.
    """

    stratum: Codes
    seed: Codes
    prompt: Codes
    cluster: Codes
    image: Codes
    value: Values
    repeated: NDArray[np.bool_]

    def only(self, chosen: NDArray[np.bool_]) -> "_Pictures":
        if chosen.all():
            return self
        return self.at(np.flatnonzero(chosen))

    def at(self, places: Codes) -> "_Pictures":
        prompt = self.prompt[places]
        return _Pictures(
            self.stratum[places],
            self.seed[places],
            prompt,
            prompt if self.cluster is self.prompt else self.cluster[places],
            self.image[places],
            self.value[places],
            self.repeated[places],
        )


def _pictures(
    scores: DataFrame, stratum: Codes, rewrites: Mapping[str, str]
) -> tuple[_Pictures, tuple[str, ...]]:
    """Of the scores that belong to a stratum, and what the prompt codes stand for."""
    seeds, _ = pd.factorize(scores["seed"], sort=True)
    codes, ids = pd.factorize(scores["prompt_id"], sort=True)
    prompts = codes.astype(np.int64, copy=False)
    whole = _Pictures(
        stratum,
        seeds.astype(np.int64, copy=False),
        prompts,
        _sources(ids, rewrites)[prompts] if rewrites else prompts,
        scores["image_index"].to_numpy(np.int64),
        scores["value"].to_numpy(np.float64),
        scores["repeated"].to_numpy(bool),
    )
    return whole.only(stratum >= 0), tuple(map(str, ids))


def _strata_of(scores: DataFrame, measured: Measured, strata: Sequence[Stratum]) -> Codes:
    """[scores]: the stratum that each belongs to, −1 for none."""
    concepts = list(measured.roles)
    places = np.full((len(measured.methods), len(concepts), len(ROLES), len(measured.metrics)), -1)
    method_of = {name: place for place, name in enumerate(measured.methods)}
    concept_of = {name: place for place, name in enumerate(concepts)}
    for number, one in enumerate(strata):
        places[method_of[one.method], concept_of[one.concept], ROLES.index(one.role), one.metric] = number
    evaluators = list(dict.fromkeys(name for name, _ in measured.metrics))
    names = list(dict.fromkeys(metric.name for _, metric in measured.metrics))
    metric_of = np.full((len(evaluators) + 1, len(names) + 1), -1)
    for number, (evaluator, metric) in enumerate(measured.metrics):
        metric_of[evaluators.index(evaluator), names.index(metric.name)] = number

    def codes() -> Iterator[Codes]:  # one after the other: together they would be most of the memory
        yield _codes(scores["method"], measured.methods)
        yield _codes(scores["concept"], concepts)
        yield _codes(scores["role"], ROLES)
        yield metric_of[_codes(scores["evaluator"], evaluators), _codes(scores["metric"], names)]

    found = np.zeros(len(scores), dtype=np.int64)
    unknown = np.zeros(len(scores), dtype=bool)
    for size, code in zip(places.shape, codes(), strict=True):
        unknown |= code < 0
        found *= size
        found += code
    found[unknown] = 0
    return np.where(unknown, -1, places.ravel()[found])


def _sources(prompt_ids: pd.Index, rewrites: Mapping[str, str]) -> Codes:
    """[prompts]: the code of the prompt that each one rewrites; its own where that was not drawn."""
    own = np.arange(len(prompt_ids))
    found = prompt_ids.get_indexer(pd.Index([rewrites.get(name, name) for name in prompt_ids]))
    return np.where(found < 0, own, found)


def _rewritings(own: _Pictures, strata: Sequence[Stratum]) -> tuple[_Pictures, _Pictures]:
    """The pictures of prompts that rewrite another, and that one's beside each."""
    lines: dict[tuple[str, str, int], int] = {}
    line = np.array(
        [lines.setdefault((one.method, one.concept, one.metric), len(lines)) for one in strata],
        dtype=np.int64,
    )
    new, old = own.only(own.prompt != own.cluster), own.only(own.prompt == own.cluster)
    images = int(own.image.max(initial=0)) + 1
    prompts, seeds = int(own.prompt.max(initial=0)) + 1, int(own.seed.max(initial=0)) + 1

    def key(of: _Pictures) -> pd.Index:
        return pd.Index(((line[of.stratum] * seeds + of.seed) * prompts + of.cluster) * images + of.image)

    found = key(old).get_indexer(key(new))
    return new.only(found >= 0), old.at(found[found >= 0])


def _codes(column: pd.Series, known: Sequence[str]) -> Codes:
    """Places in `known`; −1 for what is not there."""
    codes, names = pd.factorize(column)
    places = pd.Index(list(known), dtype=object).get_indexer(pd.Index(names).astype(object))
    return np.asarray(np.r_[places, -1][codes])


def _pairs(
    own: _Pictures, everything: _Pictures, measured: Measured, strata: Sequence[Stratum]
) -> tuple[_Pictures, Values]:
    """The pictures that the baseline has a score of, and its scores."""
    base_of = {one[1:]: number for number, one in enumerate(strata) if one.method == measured.baseline}
    base_stratum = np.array([base_of[one[1:]] for one in strata], dtype=np.int64)
    is_base = np.array([one.method == measured.baseline for one in strata], dtype=bool)
    base = everything.only(is_base[everything.stratum] & np.isfinite(everything.value))
    images = int(everything.image.max(initial=0)) + 1
    prompts, seeds = int(everything.prompt.max(initial=0)) + 1, int(everything.seed.max(initial=0)) + 1

    def key(of: _Pictures, stratum: Codes) -> Codes:
        return ((stratum * seeds + of.seed) * prompts + of.prompt) * images + of.image

    found = pd.Index(key(base, base.stratum)).get_indexer(pd.Index(key(own, base_stratum[own.stratum])))
    return own.only(found >= 0), base.value[found[found >= 0]]


def _shared_models(
    measured: Measured, strata: Sequence[Stratum], wholes: Sequence[Whole]
) -> dict[int, NDArray[np.int64]]:
    """Overall numbers of which several concepts have the same edited model: a code of the model [strata]."""
    shared = {
        method
        for method in measured.methods
        if len(
            {measured.model(method, concept, seed) for concept in measured.roles for seed in measured.seeds}
        )
        < len(measured.roles) * len(measured.seeds)
    }
    names: dict[tuple[str, ...], int] = {}
    code = np.array(
        [
            names.setdefault(
                tuple(measured.model(one.method, one.concept, seed) for seed in measured.seeds), len(names)
            )
            for one in strata
        ],
        dtype=np.int64,
    )
    return {place: code for place, whole in enumerate(wholes) if whole.method in shared}


def _different(
    pictures: _Pictures, single: Codes, whole_of: Codes, shared: Mapping[int, Codes], wholes: int
) -> Codes:
    """How many different pictures each overall number has."""
    counts = np.bincount(whole_of, weights=single, minlength=wholes).astype(np.int64)
    if shared:
        code = next(iter(shared.values()))
        again = np.zeros(wholes, dtype=bool)
        again[list(shared)] = True
        some = pictures.only(again[whole_of[pictures.stratum]])
        prompts, seeds = int(some.prompt.max(initial=0)) + 1, int(some.seed.max(initial=0)) + 1
        images = int(some.image.max(initial=0)) + 1
        name = ((code[some.stratum] * prompts + some.prompt) * seeds + some.seed) * images + some.image
        different = grouped(whole_of[some.stratum], name)
        counts = np.where(again, np.bincount(different.first, minlength=wholes), counts)
    return counts
