"""What may be said of a leaderboard's numbers: which bars are met, what may be the best, in which place.

All of it from the prompts behind the numbers, as `bench.statistics` says how: a point value decides nothing.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from erasure_bench.bench.reporting.collapsed import with_collapse
from erasure_bench.bench.reporting.leaderboard import Row
from erasure_bench.bench.reporting.rivals import (
    Amounts,
    Key,
    key_of,
    keys_of,
    only,
    rival_columns,
)
from erasure_bench.bench.reporting.tabled import Stratum, Tabled, Whole, width_of
from erasure_bench.bench.statistics.bars import ENOUGH_GONE, MOST_LOST, at_least
from erasure_bench.bench.statistics.best import find_best, second_best
from erasure_bench.bench.statistics.detectable import detectable_change, rare_change
from erasure_bench.bench.statistics.effects import effects
from erasure_bench.bench.statistics.equivalence import equivalence_p
from erasure_bench.bench.statistics.intervals import correlation
from erasure_bench.bench.statistics.ranks import rank_intervals, retest
from erasure_bench.bench.statistics.ratios import ratio_ends
from erasure_bench.evaluators.base import Metric
from erasure_bench.prompt_suites.suite import ERASED_ROLES

SHARE = (0.0, 1.0)
"""The bounds of the metrics that have bars: shares and probabilities."""


class Retest(NamedTuple):
    """How well the training and drawing seeds agree on the order of the methods in an overall column."""

    role: str
    evaluator: str
    metric: str
    title: str
    methods: int
    tau: float


def judged(table: Tabled, rows: Sequence[Row]) -> list[Row]:
    """The rows of the table's numbers with their verdicts."""
    rows = with_collapse(rows, table.measured)
    by_key = {key_of(row): row for row in rows}
    found: dict[Key, dict[str, Any]] = {key: {} for key in by_key}
    for overall in (True, False):
        for key, of_bars in _bars(table, overall, by_key):
            found[key] |= of_bars
            if by_key[key].collapsed and of_bars.get("verdict") == "met":
                found[key]["verdict"] = None
        for key, of_rivals in _rivals(table, overall, by_key):
            found[key] |= of_rivals
    return [replace(row, **found[key_of(row)]) for row in rows]


def retests(table: Tabled, rows: Sequence[Row]) -> list[Retest]:
    """The overall headline columns' agreement between seeds, where there are several."""
    if len(table.measured.seeds) < 2:
        return []
    by_key = {key_of(row): row for row in rows}
    by_seed = effects(table.by_seed, table.groups(overall=True))
    agreements = []
    for rivals in rival_columns(table, True, by_key):
        if table.measured.metrics[table.wholes[rivals.places[0]].metric][1].scale == "statistic":
            continue  # seeds that one model draws with make one set
        tau = retest(np.stack([by_seed.of(place)[1].mean(axis=0) for place in rivals.places]))
        row = rivals.rows[0]
        if tau is not None:
            agreements.append(Retest(row.role, row.evaluator, row.metric, row.title, len(rivals.rows), tau))
    return agreements


def _rivals(table: Tabled, overall: bool, by_key: Mapping[Key, Row]) -> Iterator[tuple[Key, dict[str, Any]]]:
    """Who is not told from the best of each column, who of the others from the best of these, and places.

    Where nobody is told from it nobody is marked: a mark on all says as little as none.
    """
    spread, amounts = effects(table.own, table.groups(overall)), Amounts(table, overall)
    for rivals in rival_columns(table, overall, by_key):
        lower = rivals.rows[0].better == "lower"
        shared, by_prompt = amounts.by_prompt(rivals.places)
        best = find_best(by_prompt, lower=lower)
        found = {
            "best": best.told & best.among,
            "best_p": best.p,
            "second": second_best(by_prompt, best, lower=lower),
        }
        if overall:
            values = np.stack([only(*spread.of(place), shared) for place in rivals.places])
            ranks = rank_intervals(values, lower=lower)
            found |= {"rank": ranks.rank, "rank_low": ranks.low, "rank_high": ranks.high}
        for index, row in enumerate(rivals.rows):
            yield key_of(row), {name: of_all[index].item() for name, of_all in found.items()}


def _bars(table: Tabled, overall: bool, by_key: Mapping[Key, Row]) -> Iterator[tuple[Key, dict[str, Any]]]:
    """Of each number: what of the base model's is gone, whether its bar is met, whether it is the same."""
    changes = table.changes(overall)
    own, base = table.level_ends(changes.method, overall), table.level_ends(changes.base, overall)
    least, most = ratio_ends(
        *(changes.method.value, own.low, own.high, changes.base.value, base.low, base.high),
        correlation(*changes),
    )
    error = np.sqrt(changes.change.variance)
    names = table.names(overall)
    metrics = [table.measured.metrics[name.metric][1] for name in names]
    kept = np.array(
        [_has_bar(metric) and _is_kept(name, metric) for name, metric in zip(names, metrics, strict=True)],
        dtype=bool,
    )
    same = equivalence_p(
        lambda confidence: table.change_ends(changes, overall, confidence, kept),
        *(changes.change.value, changes.change.clusters, MOST_LOST),
    )
    with np.errstate(divide="ignore", invalid="ignore"):
        gone = 1 - changes.method.value / changes.base.value
    for place, (key, name) in enumerate(zip(keys_of(table, overall), names, strict=True)):
        metric = metrics[place]
        found: dict[str, Any] = {}
        if np.isfinite(error[place]):
            smallest = detectable_change(float(error[place]), int(changes.change.df[place]))
            width = width_of(metric)
            if smallest is not None and math.isfinite(width):
                smallest = max(smallest, rare_change(int(changes.change.clusters[place]), width))
            if smallest is not None and smallest <= width:
                found["detectable"] = smallest
        if changes.change.clusters[place] and _has_bar(metric):
            if _is_erased(name, metric) and np.isfinite(gone[place]):
                found["gone"] = float(gone[place])
                found["gone_low"], found["gone_high"] = _number(1 - most[place]), _number(1 - least[place])
                found["verdict"] = at_least(ENOUGH_GONE, found["gone_low"], found["gone_high"])
            elif kept[place]:
                row = by_key[key]
                found["verdict"] = at_least(-MOST_LOST, row.change_low, row.change_high)
                found["same_p"] = float(same[place])
        yield key, found


def _has_bar(metric: Metric) -> bool:
    """Of what marks a collapse the base model shows nothing that could be gone; a set's statistic is no share
    of pictures."""
    of_pictures = metric.aggregate == "mean" and metric.scale != "statistic"
    return of_pictures and metric.bounds == SHARE and not metric.tells_collapse


def _is_erased(name: Stratum | Whole, metric: Metric) -> bool:
    return name.role in ERASED_ROLES and metric.better[name.role] == "lower"


def _is_kept(name: Stratum | Whole, metric: Metric) -> bool:
    return name.role not in ERASED_ROLES and metric.better[name.role] == "higher"


def _number(found: float) -> float | None:
    return float(found) if np.isfinite(found) else None
