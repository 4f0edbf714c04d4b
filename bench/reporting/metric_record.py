"""A metric in a run's files, so that its scores can be read without the evaluator that made them."""

import math
from collections.abc import Mapping
from typing import Any

from erasure_bench.evaluators.base import Metric

Json = dict[str, Any]


def metric_record(metric: Metric) -> Json:
    """The metric in JSON's types: a bound that is not finite is null."""
    return {
        "name": metric.name,
        "title": metric.title,
        "unit": metric.unit,
        "bounds": _finite(metric.bounds),
        "better": dict(metric.better),
        "aggregate": metric.aggregate,
        "headline": metric.headline,
        "kind": metric.kind,
        "reach": None if metric.reach is None else _finite(metric.reach),
        "tells_collapse": metric.tells_collapse,
        "unsafe": metric.unsafe,
    }


def recorded_metric(record: Mapping[str, Any]) -> Metric:
    """The metric that `metric_record` wrote down."""
    reach = record["reach"]
    return Metric(
        **{**record, "bounds": _ends(record["bounds"]), "reach": None if reach is None else _ends(reach)}
    )


def _finite(ends: tuple[float, float]) -> list[float | None]:
    return [end if math.isfinite(end) else None for end in ends]


def _ends(ends: list[float | None]) -> tuple[float, float]:
    low, high = ends
    return -math.inf if low is None else low, math.inf if high is None else high
