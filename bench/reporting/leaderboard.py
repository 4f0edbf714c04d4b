"""From per-image scores to a leaderboard: values with intervals, and the change against the base model.

Scores are averaged over a prompt's pictures, then over seeds, then over prompts, then over concepts; the
prompt is what is drawn anew, once for all concepts that share it, and the training seed where an edit is
trained.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
import pandas as pd
from pandas import DataFrame

from erasure_bench.bench.reporting.aspects import aspect_of
from erasure_bench.bench.reporting.scores import CellCost
from erasure_bench.bench.reporting.tabled import OVERALL, Counts, Measured, Stratum, Tabled, Whole, tabled
from erasure_bench.bench.running.failures import Failure
from erasure_bench.bench.statistics.bars import Verdict
from erasure_bench.bench.statistics.cells import Codes, Values
from erasure_bench.bench.statistics.intervals import Ends
from erasure_bench.bench.statistics.moments import Moments
from erasure_bench.evaluators.base import Direction, Metric
from erasure_bench.evaluators.sets import ITS_OWN_REFERENCE
from erasure_bench.prompt_suites.suite import ROLES, Role

Scope = Literal["overall", "concept"]
Status = Literal["ok", "reference", "partial", "missing", "failed"]


@dataclass(frozen=True, kw_only=True)
class Row:
    """One number of the leaderboard.

    `value` lies in [low, high] with 95 % confidence; `images` different pictures were scored, of `prompts`
    different prompts, and `missing` could not be. `worst` is the value if each of those were the worst
    that the metric allows: not erased where the concept should go, lost where the prompt's own content
    should stay; None where the metric has no such bound. `change` is the mean (or sum) of the paired
    differences to the base model on the `pairs` pictures that both drew from the same prompt and noise.
    Overall rows are the mean over concepts. `status` partial: the number lacks pictures or scores;
    missing: nothing could be scored; reference: all others are held against this row's pictures.

    The verdicts are those of `bench.reporting.verdicts.judged`. `verdict` says whether the bar is met: where
    the concept should go by `gone`, the share of the base model's value that is gone, in [gone_low,
    gone_high]; where the prompt's own content should stay by the change. `same_p` is the p value of the test
    that the change is smaller than that bar either way, `detectable` the smallest change that so many
    prompts find with a power of .8. `best`: a headline number that is not told from the best of its column,
    with the p value of their difference `best_p`; `second`: of those that are, one that is not told from the
    best of these. `rank`, from 1, the best, lies in [rank_low, rank_high], in
    overall columns. `collapsed` says why the method's pictures are none any more, of that concept or overall
    (`bench.reporting.collapsed`): such a number meets no bar, is never the best and has no place.

    Where prompts rewrite others (misspelt ones do), `gap` is the mean (or sum) of the paired differences to
    these others, of the role `gap_to`, over the `gap_pairs` pictures of the same noise, and lies in
    [gap_low, gap_high]. All that rewrite one prompt are one of the `prompts`.

    `breakdown` is the title of the table below the leaderboard in which it stands, `column` its heading.
    `aspect` is what the number speaks of (`bench.reporting.aspects`).
    """

    method: str
    scope: Scope
    concept: str
    role: Role
    evaluator: str
    metric: str
    title: str
    unit: str
    better: Direction
    aggregate: Literal["mean", "sum"]
    headline: bool
    value: float | None
    low: float | None
    high: float | None
    worst: float | None
    images: int
    prompts: int
    missing: int
    change: float | None
    change_low: float | None
    change_high: float | None
    pairs: int
    status: Status
    reason: str
    erase_seconds: float | None
    seconds_per_image: float | None
    peak_memory_bytes: int | None
    gone: float | None = None
    gone_low: float | None = None
    gone_high: float | None = None
    verdict: Verdict | None = None
    same_p: float | None = None
    detectable: float | None = None
    best: bool = False
    best_p: float | None = None
    second: bool = False
    rank: int | None = None
    rank_low: int | None = None
    rank_high: int | None = None
    collapsed: str | None = None
    gap: float | None = None
    gap_low: float | None = None
    gap_high: float | None = None
    gap_pairs: int = 0
    gap_to: Role | None = None
    breakdown: str = ""
    column: str = ""
    aspect: str = ""


COLUMNS = tuple(field.name for field in fields(Row))
_SEVERITY: tuple[Status, ...] = get_args(Status)


def build_leaderboard(
    scores: DataFrame,
    measured: Measured,
    failures: Iterable[Failure],
    costs: Mapping[tuple[str, str, int], CellCost],
) -> list[Row]:
    """The rows of `rows_of` from `scores`, which has the columns `bench.reporting.scores.RUN_COLUMNS`."""
    return rows_of(tabled(scores, measured), failures, costs)


def rows_of(
    table: Tabled, failures: Iterable[Failure], costs: Mapping[tuple[str, str, int], CellCost]
) -> list[Row]:
    """Rows by method, then scope (overall first), concept, role and metric."""
    states = _states(table, list(failures))
    whole_states = _whole_states(table, states)
    worst = _worst(table, states.lacking)
    concepts = _numbers(table, overall=False, worst=worst)
    wholes = _numbers(table, overall=True, worst=_mean_over_concepts(table, worst))
    own_cost = {
        (method, concept): _cost([costs.get((method, concept, seed)) for seed in table.measured.seeds])
        for method in table.measured.methods
        for concept in table.measured.roles
    }
    whole_cost = {
        method: _cost([cost for (name, _, _), cost in costs.items() if name == method])
        for method in table.measured.methods
    }
    by_method: dict[str, list[Row]] = {method: [] for method in table.measured.methods}
    for place, whole in enumerate(table.wholes):
        by_method[whole.method].append(
            _row(table, whole, "overall", OVERALL, wholes, whole_states, place, whole_cost[whole.method])
        )
    for place, one in enumerate(table.strata):
        by_method[one.method].append(
            _row(
                table, one, "concept", one.concept, concepts, states, place, own_cost[one.method, one.concept]
            )
        )
    return [row for rows in by_method.values() for row in rows]


class _States(NamedTuple):
    """Of each number: its status with the reason, its counts, and how many pictures lack a score."""

    status: list[Status]
    reason: list[str]
    counts: Counts
    lacking: Codes


class _Numbers(NamedTuple):
    """Of each number: what was measured, and the value with all that lacks counted against the method."""

    level: Moments
    ends: Ends
    change: Moments
    change_ends: Ends
    worst: Values
    gaps: list[dict[str, Any]]
    """The fields of a row's gap, empty where its prompts rewrite none."""


def _states(table: Tabled, failures: Sequence[Failure]) -> _States:
    """Of the concepts' numbers."""
    measured, counts = table.measured, table.counts
    status: list[Status] = []
    reasons = []
    lacking = counts.missing.copy()
    for place, one in enumerate(table.strata):
        evaluator = measured.metrics[one.metric][0]
        broken = [failure for failure in failures if _concerns(failure, one, evaluator)]
        scored = int(counts.scored[place])
        if broken:  # what failed left no row behind
            planned = measured.pictures.get((one.method, one.concept, one.role), 0)
            lacking[place] = max(int(lacking[place]), planned - scored)
        state, reason = _status(scored, int(lacking[place]), broken, table.reasons.get(place, ""))
        if state == "reference":
            lacking[place] = 0
        status.append(state)
        reasons.append(reason)
    return _States(status, reasons, counts, lacking)


def _whole_states(table: Tabled, states: _States) -> _States:
    """The worst of each number's concepts, and for how many of them it is so."""
    members: list[list[int]] = [[] for _ in table.wholes]
    for place, whole in enumerate(table.whole_of.tolist()):
        members[whole].append(place)
    status: list[Status] = []
    reasons = []
    lacking = table.whole_counts.missing.copy()
    for whole, places in enumerate(members):
        worst = max(places, key=lambda place: _SEVERITY.index(states.status[place]))
        state, reason = states.status[worst], states.reason[worst]
        if reason and len(places) > 1:
            count = sum(states.status[place] == state for place in places)
            reason = f"{count} of {len(places)} concepts: {reason}"
        if state == "reference":
            lacking[whole] = 0
        if state == "failed" or any(states.lacking[place] > table.counts.missing[place] for place in places):
            lacking[whole] = sum(int(states.lacking[place]) for place in places)
        status.append(state)
        reasons.append(reason)
    return _States(status, reasons, table.whole_counts, lacking)


def _status(scored: int, lacking: int, broken: Sequence[Failure], why: str) -> tuple[Status, str]:
    reason = broken[0].reason if broken else ""
    if not scored and not broken and why == ITS_OWN_REFERENCE:
        return "reference", why
    if not scored:
        return ("failed", reason) if broken else ("missing", why or "no picture could be scored")
    share = f"{lacking} of {lacking + scored} pictures"
    if broken:
        return "partial", f"{share} failed: {reason}"
    return ("partial", f"{share} have no score" + (f": {why}" if why else "")) if lacking else ("ok", "")


def _concerns(failure: Failure, one: Stratum, evaluator: str) -> bool:
    return (
        (failure.method, failure.concept) == (one.method, one.concept)
        and failure.role in (None, one.role)
        and failure.evaluator in (None, evaluator)
    )


def _numbers(table: Tabled, overall: bool, worst: Values) -> _Numbers:
    level, changes = table.levels(overall), table.changes(overall)
    ends, change_ends = table.level_ends(level, overall), table.change_ends(changes, overall)
    return _Numbers(level, ends, changes.change, change_ends, worst, _gaps(table, overall))


def _gaps(table: Tabled, overall: bool) -> list[dict[str, Any]]:
    names: Sequence[Stratum | Whole] = table.wholes if overall else table.strata
    found: list[dict[str, Any]] = [{} for _ in names]
    if (rewritten := table.rewritten) is None:
        return found
    gaps = table.gaps(rewritten, overall)
    ends = table.change_ends(gaps, overall)
    role = rewritten.role
    if overall:
        role = np.full(len(names), -1)
        np.maximum.at(role, table.whole_of, rewritten.role)
    pairs = rewritten.whole_pairs if overall else rewritten.pairs
    for place in np.flatnonzero(np.isfinite(gaps.change.value)).tolist():
        found[place] = {
            "gap": float(gaps.change.value[place]),
            "gap_low": _number(ends.low[place]),
            "gap_high": _number(ends.high[place]),
            "gap_pairs": int(pairs[place]),
            "gap_to": ROLES[role[place]],
        }
    return found


def _worst(table: Tabled, lacking: Codes) -> Values:
    """[strata]: the value with each lacking score at the metric's worse end; NaN where that is infinite.

    Every prompt was to be drawn equally often, so that a mean over pictures is the mean over prompts.
    """
    bound = np.array([_worse_end(table.measured.metrics[one.metric][1], one.role) for one in table.strata])
    total = table.groups(overall=False).total
    scored = table.counts.scored
    with np.errstate(invalid="ignore", divide="ignore"):
        filled = table.scored_sum + np.where(lacking > 0, lacking * bound, 0.0)
        found = filled / np.where(total, np.maximum(table.seeds_seen, 1), scored + lacking)
    whole = np.where(lacking > 0, found, table.own.prompts.stratum_mean)
    return np.where(np.isfinite(found), np.where(total | (lacking > 0), found, whole), np.nan)


def _worse_end(metric: Metric, role: Role) -> float:
    """NaN where the metric only describes, or no picture has a value."""
    if metric.scale == "statistic":
        return math.nan
    low, high = metric.bounds
    return {"lower": high, "higher": low, "neither": math.nan}[metric.better[role]]


def _mean_over_concepts(table: Tabled, of_strata: Values) -> Values:
    count = len(table.wholes)
    sizes = np.bincount(table.whole_of, minlength=count)
    return np.asarray(np.bincount(table.whole_of, weights=of_strata, minlength=count) / sizes)


def _row(
    table: Tabled,
    name: Stratum | Whole,
    scope: Scope,
    concept: str,
    numbers: _Numbers,
    states: _States,
    place: int,
    cost: Mapping[str, Any],
) -> Row:
    evaluator, metric = table.measured.metrics[name.metric]
    return Row(
        method=name.method,
        scope=scope,
        concept=concept,
        role=name.role,
        evaluator=evaluator,
        metric=metric.name,
        title=metric.title,
        unit=metric.unit,
        better=metric.better[name.role],
        aggregate=metric.aggregate,
        headline=metric.headline,
        value=_number(numbers.level.value[place]),
        low=_number(numbers.ends.low[place]),
        high=_number(numbers.ends.high[place]),
        worst=_number(numbers.worst[place]),
        images=int(states.counts.scored[place]),
        prompts=int(numbers.level.clusters[place]),
        missing=int(states.lacking[place]),
        change=_number(numbers.change.value[place]),
        change_low=_number(numbers.change_ends.low[place]),
        change_high=_number(numbers.change_ends.high[place]),
        pairs=int(states.counts.pairs[place]),
        status=states.status[place],
        reason=states.reason[place],
        breakdown=metric.breakdown.table if metric.breakdown else "",
        column=metric.breakdown.column if metric.breakdown else "",
        aspect=aspect_of(metric, name.role),
        **cost,
        **numbers.gaps[place],
    )


def _number(found: float) -> float | None:
    """None for NaN."""
    return None if math.isnan(found) else float(found)


def _cost(cells: Sequence[CellCost | None]) -> dict[str, Any]:
    done = [cell for cell in cells if cell is not None]
    seconds = [cell.erase_seconds for cell in done if cell.erase_seconds is not None]
    memory = [cell.peak_memory_bytes for cell in done if cell.peak_memory_bytes is not None]
    images = sum(cell.images for cell in done)
    return {
        "erase_seconds": float(np.mean(seconds)) if seconds else None,
        "seconds_per_image": sum(cell.generate_seconds for cell in done) / images if images else None,
        "peak_memory_bytes": max(memory) if memory else None,
    }


def to_frame(rows: Sequence[Row]) -> DataFrame:
    """The tidy table, columns `COLUMNS`."""
    return pd.DataFrame([[getattr(row, column) for column in COLUMNS] for row in rows], columns=list(COLUMNS))


def to_json(row: Row) -> dict[str, Any]:
    """A row as JSON's types; numbers that are not finite become null."""
    return {column: _finite(getattr(row, column)) for column in COLUMNS}


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value
