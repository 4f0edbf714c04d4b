"""From per-image scores to a leaderboard: values with intervals, and the change against the base model.

Scores are averaged over a prompt's pictures and seeds first; prompts are what is resampled.
Which metric is tabled for which role, in which direction and how it is aggregated is the
metric's own to say: no metric is named here.
"""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Literal, NamedTuple, Self

import numpy as np
import pandas as pd
from pandas import DataFrame

from erasure_bench.bench.reporting.bootstrap import Interval, Values, mean_intervals
from erasure_bench.bench.reporting.scores import CellCost
from erasure_bench.bench.running.executor import Failure
from erasure_bench.evaluators.base import Metric
from erasure_bench.prompt_suites.suite import ROLES, Role

Scope = Literal["overall", "concept"]
Status = Literal["ok", "partial", "missing", "failed"]
OVERALL = "overall"
_CELL = ["method", "concept", "role", "evaluator", "metric"]
_PICTURE = ["concept", "role", "evaluator", "metric", "seed", "prompt_id", "image_index"]


@dataclass(frozen=True, kw_only=True)
class Row:
    """One number of the leaderboard.

    `value` lies in [low, high] with 95 % confidence; `images` were scored, of `prompts` prompts,
    and `missing` could not be. `change` is the mean (or sum) of the paired differences to the base
    model on the `pairs` pictures that both drew from the same prompt and noise. Overall rows are
    the mean over concepts. `status` partial: pictures failed, or a sum lacks some; missing: nothing
    could be scored.
    """

    method: str
    scope: Scope
    concept: str
    role: Role
    evaluator: str
    metric: str
    title: str
    unit: str
    better: str
    aggregate: str
    headline: bool
    value: float | None
    low: float | None
    high: float | None
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


COLUMNS = tuple(field.name for field in fields(Row))


class Measured(NamedTuple):
    """What was to be measured: methods with the baseline, concepts with their roles, metrics, seeds.

    `pictures` is how many different ones were planned, by method, concept and role.
    """

    methods: Sequence[str]
    baseline: str
    roles: Mapping[str, Sequence[Role]]
    metrics: Sequence[tuple[str, Metric]]
    seeds: Sequence[int]
    pictures: Mapping[tuple[str, str, Role], int]


class _Numbers(NamedTuple):
    """Per-prompt values of one cell and metric, scaled so that their mean is the cell's value."""

    values: Values
    images: int
    missing: int

    def out_of(self, pictures: int) -> Self:
        """The same where so many pictures were planned: those without a row are missing."""
        return self._replace(missing=max(self.missing, pictures - self.images))


_NOTHING = _Numbers(np.empty(0), 0, 0)


def build_leaderboard(
    scores: DataFrame,
    measured: Measured,
    failures: Iterable[Failure],
    costs: Mapping[tuple[str, str, int], CellCost],
) -> list[Row]:
    """Rows by method, then scope (overall first), concept, role and metric.

    `scores` has the columns `bench.reporting.scores.RUN_COLUMNS`.
    """
    failed = list(failures)
    how = {(evaluator, metric.name): metric.aggregate for evaluator, metric in measured.metrics}
    own = _numbers(scores, how)
    paired = _numbers(_differences(scores, measured.baseline), how)
    drafts = [
        draft
        for method in measured.methods
        for draft in _drafts(method, measured, own, paired, failed, costs)
    ]
    intervals = mean_intervals([draft.strata for draft in drafts])
    changes = mean_intervals([draft.change_strata for draft in drafts])
    return [
        draft.row(interval, change)
        for draft, interval, change in zip(drafts, intervals, changes, strict=True)
    ]


class _Draft(NamedTuple):
    """A row without its intervals."""

    facts: dict[str, Any]
    strata: Sequence[Values]
    change_strata: Sequence[Values]

    def row(self, interval: Interval, change: Interval) -> Row:
        return Row(
            **self.facts,
            value=_mean_of_means(self.strata),
            low=interval.low,
            high=interval.high,
            change=_mean_of_means(self.change_strata),
            change_low=change.low,
            change_high=change.high,
        )


def _drafts(
    method: str,
    measured: Measured,
    own: Mapping[tuple[str, ...], _Numbers],
    paired: Mapping[tuple[str, ...], _Numbers],
    failures: Sequence[Failure],
    costs: Mapping[tuple[str, str, int], CellCost],
) -> Iterator[_Draft]:
    by_concept: list[_Draft] = []
    overall: dict[tuple[Role, str, str], list[_Draft]] = {}
    for concept, roles in measured.roles.items():
        cost = _cost([costs.get((method, concept, seed)) for seed in measured.seeds])
        for role in roles:
            for evaluator, metric in measured.metrics:
                if role not in metric.better:
                    continue
                key = (method, concept, role, evaluator, metric.name)
                found, change = own.get(key, _NOTHING), paired.get(key, _NOTHING)
                broken = [
                    failure for failure in failures if _concerns(failure, method, concept, role, evaluator)
                ]
                if broken:  # what failed left no row behind
                    found = found.out_of(measured.pictures.get((method, concept, role), 0))
                status, reason = _status(found, broken, metric)
                facts = (
                    _facts(method, "concept", concept, role, evaluator, metric)
                    | cost
                    | {
                        "images": found.images,
                        "prompts": len(found.values),
                        "missing": found.missing,
                        "pairs": change.images,
                        "status": status,
                        "reason": reason,
                    }
                )
                draft = _Draft(facts, _strata(found), _strata(change))
                by_concept.append(draft)
                overall.setdefault((role, evaluator, metric.name), []).append(draft)
    whole_cost = _cost([cost for (name, _, _), cost in costs.items() if name == method])
    for role in ROLES:
        for evaluator, metric in measured.metrics:
            if drafts := overall.get((role, evaluator, metric.name)):
                facts = _facts(method, "overall", OVERALL, role, evaluator, metric)
                yield _overall(facts | whole_cost, drafts)
    yield from by_concept


def _overall(facts: dict[str, Any], drafts: Sequence[_Draft]) -> _Draft:
    """The mean over concepts; no number where a concept has none, as it would be a mean over others."""
    lacking = [draft for draft in drafts if not draft.strata]
    worst = max((draft.facts for draft in drafts), key=lambda fact: _SEVERITY.index(fact["status"]))
    reason = str(worst["reason"])
    if reason and len(drafts) > 1:
        count = sum(draft.facts["status"] == worst["status"] for draft in drafts)
        reason = f"{count} of {len(drafts)} concepts: {reason}"
    facts |= {
        name: sum(draft.facts[name] for draft in drafts) for name in ("images", "prompts", "missing", "pairs")
    }
    facts |= {"status": worst["status"], "reason": reason}
    whole_change = not lacking and all(draft.change_strata for draft in drafts)
    return _Draft(
        facts,
        [] if lacking else [draft.strata[0] for draft in drafts],
        [draft.change_strata[0] for draft in drafts] if whole_change else [],
    )


_SEVERITY: tuple[Status, ...] = ("ok", "partial", "missing", "failed")


def _facts(
    method: str, scope: Scope, concept: str, role: Role, evaluator: str, metric: Metric
) -> dict[str, Any]:
    return {
        "method": method,
        "scope": scope,
        "concept": concept,
        "role": role,
        "evaluator": evaluator,
        "metric": metric.name,
        "title": metric.title,
        "unit": metric.unit,
        "better": metric.better[role],
        "aggregate": metric.aggregate,
        "headline": metric.headline,
    }


def _status(found: _Numbers, broken: Sequence[Failure], metric: Metric) -> tuple[Status, str]:
    reason = broken[0].reason if broken else ""
    if not len(found.values):
        return ("failed", reason) if broken else ("missing", "no picture could be scored")
    lacking = f"{found.missing} of {found.missing + found.images} pictures"
    if broken:
        return "partial", f"{lacking} failed: {reason}"
    if metric.aggregate == "sum" and found.missing:  # a mean is that of the others, a total is too small
        return "partial", f"{lacking} have no score"
    return "ok", ""


def _concerns(failure: Failure, method: str, concept: str, role: Role, evaluator: str) -> bool:
    return (
        (failure.method, failure.concept) == (method, concept)
        and failure.role in (None, role)
        and failure.evaluator in (None, evaluator)
    )


def _strata(numbers: _Numbers) -> list[Values]:
    return [numbers.values] if len(numbers.values) else []


def _mean_of_means(strata: Sequence[Values]) -> float | None:
    return float(np.mean([np.mean(stratum) for stratum in strata])) if strata else None


def _numbers(scores: DataFrame, how: Mapping[tuple[str, str], str]) -> dict[tuple[str, ...], _Numbers]:
    """Per-prompt values by method, concept, role, evaluator and metric.

    A summed metric's prompt value is the sum over its pictures, averaged over seeds, times the
    number of prompts: the mean over prompts is then the total. A picture that several seeds share
    counts once.
    """
    if scores.empty:
        return {}
    by_prompt = (
        scores.assign(
            scored=scores["value"].notna() & ~scores["repeated"].astype(bool),
            counted=~scores["repeated"].astype(bool),
            seed_scored=scores["seed"].where(scores["value"].notna()),
        )
        .groupby([*_CELL, "prompt_id"], sort=True)
        .agg(
            mean=("value", "mean"),
            total=("value", "sum"),
            scored=("scored", "sum"),
            rows=("counted", "sum"),
            seeds=("seed_scored", "nunique"),
        )
        .reset_index()
    )
    columns = {name: by_prompt[name].to_numpy() for name in ("mean", "total", "scored", "rows", "seeds")}
    sizes = by_prompt.groupby(_CELL, sort=True).size()
    found = {}
    start = 0
    for key, size in zip(sizes.index, sizes, strict=True):
        group = {name: column[start : start + size] for name, column in columns.items()}
        start += size
        some = group["seeds"] > 0
        if how.get((key[3], key[4])) == "sum":
            values = group["total"][some] / group["seeds"][some] * np.count_nonzero(some)
        else:
            values = group["mean"][some]
        images = int(group["scored"].sum())
        found[key] = _Numbers(values.astype(float), images, int(group["rows"].sum()) - images)
    return found


def _differences(scores: DataFrame, baseline: str) -> DataFrame:
    """Each method's scores minus the baseline's on the same picture; only pictures that both have."""
    is_base = scores["method"] == baseline
    base = scores.loc[is_base & scores["value"].notna(), [*_PICTURE, "value"]]
    merged = scores[~is_base].merge(base, on=_PICTURE, suffixes=("", "_base"), validate="many_to_one")
    merged["value"] = merged["value"] - merged["value_base"]
    return merged[merged["value"].notna()].drop(columns="value_base")


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
