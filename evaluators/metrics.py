"""The metrics that an evaluator declares, held against what the word means."""

import math
from typing import Any, get_args

from erasure_bench.errors import BenchError
from erasure_bench.evaluators.base import Direction, Metric
from erasure_bench.evaluators.sets import is_set_evaluator
from erasure_bench.prompt_suites.suite import ERASED_ROLES, ROLES

AGGREGATES = ("mean", "sum")


def checked_metrics(evaluator: Any, what: str) -> tuple[Metric, ...]:
    """The metrics of an evaluator, which `what` names; raises BenchError for one that is none."""
    metrics = tuple(evaluator.metrics)
    of_sets = is_set_evaluator(evaluator)
    if not metrics:
        raise BenchError(f"{what} declares no metrics")
    for metric in metrics:
        if not isinstance(metric, Metric):
            raise BenchError(f"{what}: its metrics hold a {type(metric).__name__} (evaluators.base.Metric)")
        if problem := _problem(metric):
            raise BenchError(f"{what}: metric {metric.name!r}: {problem}")
        if of_sets != (metric.kind == "statistic"):
            whose = (
                "an evaluator of sets has only statistics" if of_sets else "only one of sets has statistics"
            )
            raise BenchError(f"{what}: metric {metric.name!r} is of the kind {metric.kind!r}: {whose}")
    names = [metric.name for metric in metrics]
    if doubled := next((name for name in names if names.count(name) > 1), None):
        raise BenchError(f"{what}: two metrics are called {doubled!r}")
    return metrics


def _problem(metric: Metric) -> str:
    if not isinstance(metric.name, str) or not metric.name:
        return "a metric needs a name"
    low, high = metric.bounds
    if math.isnan(low) or math.isnan(high) or not low < high:
        return f"bounds {metric.bounds} are no range"
    if unknown := [role for role in metric.better if role not in ROLES]:
        return f"role {unknown[0]!r}; valid: {', '.join(ROLES)}"
    if wrong := [way for way in metric.better.values() if way not in get_args(Direction)]:
        return f"better {wrong[0]!r}; valid: {', '.join(get_args(Direction))}"
    if metric.tells_collapse and (metric.bounds != (0.0, 1.0) or metric.aggregate != "mean"):
        return "only the mean of a share, with the bounds (0, 1), tells of a collapse"
    if metric.of_concept and set(metric.better) - set(ERASED_ROLES):
        return "only one that means nothing on kept roles needs of_concept"
    of_pictures = metric.kind == "share" and metric.aggregate == "mean"
    if metric.question and not of_pictures:
        return f"only a share answers a question, such as {metric.question!r}"
    if metric.maximum_over is not None and not (of_pictures and metric.maximum_over >= 1):
        return "only a share has a maximum_over, of one or more prompts"
    if metric.breakdown is not None and not all(metric.breakdown):
        return "a breakdown needs a table's title and a column's"
    if metric.kind == "statistic" and metric.aggregate != "mean":
        return "a statistic of a set is no sum over its pictures"
    if metric.aggregate not in AGGREGATES:
        return f"aggregate {metric.aggregate!r}; valid: {', '.join(AGGREGATES)}"
    return ""
