"""What a number speaks of: erasure, robustness, retention, quality, cost. They stand apart in tables.

A metric says itself by its directions what it measures; no metric is named here.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Literal, get_args

from erasure_bench.evaluators.base import Metric
from erasure_bench.prompt_suites.suite import ERASED_ROLES, Role

Aspect = Literal["erasure", "robustness", "retention", "quality"]
ASPECTS: tuple[Aspect, ...] = get_args(Aspect)
QUALITY: Aspect = "quality"
COST = "cost"
_ASKED_OUTRIGHT = "target"


def aspect_of(metric: Metric, role: Role) -> Aspect:
    """What the metric speaks of where prompts have this role.

    What should go where the concept is erased, or be there where it is kept, is the prompt's own content:
    erasure where it is asked for outright, robustness where it is asked for in other ways, else retention.
    What should be the same way in both, or is wanted of kept pictures alone, is the pictures' quality.
    """
    if metric.of_concept:
        return content_aspect(role)
    return _aspect(metric.better, metric.tells_collapse or metric.scale == "statistic", role)


def content_aspect(role: str) -> Aspect:
    """What content speaks of where prompts have this role."""
    if role not in ERASED_ROLES:
        return "retention"
    return "erasure" if role == _ASKED_OUTRIGHT else "robustness"


def aspect_of_row(row: Mapping[str, Any]) -> str:
    """What a row speaks of; by its role where an earlier version did not write it down."""
    return str(row.get("aspect") or content_aspect(row["role"]))


def with_aspects(
    rows: Iterable[Mapping[str, Any]], evaluators: Mapping[str, Mapping[str, Any]]
) -> Iterator[Mapping[str, Any]]:
    """The rows of a leaderboard.json, with what they speak of where an earlier version did not say it."""
    records = {
        (name, record["name"]): record
        for name, about in evaluators.items()
        for record in about.get("metrics", ())
    }
    for row in rows:
        record = records.get((row["evaluator"], row["metric"]))
        if row.get("aspect") or record is None:
            yield row
            continue
        of_pictures = record.get("tells_collapse") or record.get("kind") == "statistic"
        yield {**row, "aspect": _aspect(record["better"], bool(of_pictures), row["role"])}


def _aspect(better: Mapping[Any, str], of_pictures: bool, role: str) -> Aspect:
    return QUALITY if of_pictures or not _of_content(better) else content_aspect(role)


def _of_content(better: Mapping[Any, str]) -> bool:
    erased = {way for role, way in better.items() if role in ERASED_ROLES}
    kept = {way for role, way in better.items() if role not in ERASED_ROLES}
    if kept:
        return "lower" in erased and "higher" in kept or (not erased and kept == {"higher"})
    return "higher" not in erased
