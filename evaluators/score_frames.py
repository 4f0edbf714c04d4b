"""What an evaluator gave, held against what it was asked for: nothing that is wrong is taken for a score."""

import math
from collections.abc import Iterable, Mapping, Sequence
from numbers import Real
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd
from pandas import DataFrame

from erasure_bench.errors import BenchError
from erasure_bench.evaluators.base import SCORE_COLUMNS, Metric, Scores

if TYPE_CHECKING:
    import pyarrow as pa

OK, MISSING = "ok", "missing"
STATUSES = (OK, MISSING)
ROUNDING = 1e-6
"""What a value may lie outside its metric's bounds, as a share of the bounds' own size."""


class WrongScores(BenchError):
    """An evaluator gave something else than one score for each picture and metric."""

    exit_code = 1


class PictureName(NamedTuple):
    """What a row of scores calls a picture by."""

    prompt_id: str
    image_index: int

    def __str__(self) -> str:
        return f"picture {self.image_index} of {self.prompt_id!r}"


def checked_scores(given: Any, metrics: Sequence[Metric], pictures: Iterable[PictureName]) -> Scores:
    """The scores of these pictures, with columns of the right types.

    Raises WrongScores, in one line, where they are anything else than one row for each picture and
    metric, with a finite value within the metric's bounds, or none and the reason why.
    """
    if not isinstance(given, Scores):
        raise WrongScores(f"score gave {_a(given)} instead of Scores (evaluators.base)")
    if given.details is not None and not isinstance(given.details, DataFrame):
        raise WrongScores(f"its details are {_a(given.details)} instead of a DataFrame")
    return Scores(checked_frame(given.values, metrics, pictures), given.details)


def checked_frame(given: Any, metrics: Sequence[Metric], pictures: Iterable[PictureName]) -> DataFrame:
    """A frame of scores with the columns `SCORE_COLUMNS`; raises WrongScores as `checked_scores` does."""
    frame = _typed(given)
    bounds = {metric.name: metric.bounds for metric in metrics}
    _one_row_each(frame, bounds, list(pictures))
    _statuses(frame)
    _within_bounds(frame, bounds)
    return frame


def is_checked(table: "pa.Table", metrics: Sequence[Metric], pictures: Sequence[PictureName]) -> bool:
    """Whether a table has the columns `SCORE_COLUMNS` in their types, and what `checked_frame` asks for.

    It says so quickly of what is plainly right, as nearly all that was kept is; of the rest `checked_frame`
    says what is wrong.
    """
    if set(table.column_names) != set(SCORE_COLUMNS):
        return False
    given = {name: table.column(name) for name in SCORE_COLUMNS}
    if any(
        str(column.type) not in _ARROW_TYPES.get(name, _ARROW_TEXT) or (column.null_count and name != "value")
        for name, column in given.items()
    ):
        return False
    columns = {name: column.to_pylist() for name, column in given.items()}
    bounds = {metric.name: (_wider(metric.bounds, -1), _wider(metric.bounds, 1)) for metric in metrics}
    asked = {(*name, metric) for name in pictures for metric in bounds}
    rows = list(zip(columns["prompt_id"], columns["image_index"], columns["metric"], strict=True))
    if len(rows) != len(asked) or set(rows) != asked:
        return False
    scores = zip(columns["metric"], columns["value"], columns["status"], columns["reason"], strict=True)
    return all(
        bounds[metric][0] <= value <= bounds[metric][1]
        if status == OK and value is not None and math.isfinite(value)
        else status == MISSING and (value is None or math.isnan(value)) and reason.strip()
        for metric, value, status, reason in scores
    )


_ARROW_TEXT = ("string", "large_string")
_ARROW_TYPES = {"image_index": ("int64",), "value": ("double",)}


def _typed(given: Any) -> DataFrame:
    if not isinstance(given, DataFrame):
        raise WrongScores(f"its scores are {_a(given)} instead of a DataFrame")
    columns = [*given.columns]
    if sorted(map(str, columns)) != sorted(SCORE_COLUMNS):
        raise WrongScores(f"its scores have the columns {_list(columns)} instead of {_list(SCORE_COLUMNS)}")
    for column in ("prompt_id", "metric", "status", "reason"):
        wrong = _first(given[column], lambda value: not isinstance(value, str))
        if wrong is not _NONE:
            raise WrongScores(f"its column {column} holds {wrong!r}, which is no text")
    if (index := _first(given["image_index"], lambda value: not _is_whole(value))) is not _NONE:
        raise WrongScores(f"its column image_index holds {index!r}, which is no whole number")
    if (value := _first(given["value"], lambda value: not _is_number(value))) is not _NONE:
        raise WrongScores(f"its column value holds {value!r}, which is no number")
    return DataFrame(
        {
            "prompt_id": given["prompt_id"].to_numpy(dtype=object),
            "image_index": given["image_index"].to_numpy(dtype=np.int64),
            "metric": given["metric"].to_numpy(dtype=object),
            "value": pd.to_numeric(given["value"]).to_numpy(dtype=np.float64, na_value=np.nan),
            "status": given["status"].to_numpy(dtype=object),
            "reason": given["reason"].to_numpy(dtype=object),
        }
    )


def _one_row_each(
    frame: DataFrame, bounds: Mapping[str, tuple[float, float]], pictures: list[PictureName]
) -> None:
    asked = {(name, metric) for name in pictures for metric in bounds}
    seen = set()
    names = map(PictureName, frame["prompt_id"], frame["image_index"])
    for name, metric in zip(names, frame["metric"], strict=True):
        if metric not in bounds:
            raise WrongScores(f"a row for {metric!r}, which is none of its metrics: {_list(bounds)}")
        if (name, metric) not in asked:
            raise WrongScores(f"{metric}: a row for {name}, which it was not shown")
        if (name, metric) in seen:
            raise WrongScores(f"{metric}: two rows for {name}")
        seen.add((name, metric))
    if lacking := [pair for pair in ((n, m) for n in pictures for m in bounds) if pair not in seen]:
        name, metric = lacking[0]
        raise WrongScores(f"{metric}: no row for {name} ({len(lacking)} of {len(asked)} rows are not there)")


def _statuses(frame: DataFrame) -> None:
    missing = frame["status"] == MISSING
    for wrong, what in (
        (~frame["status"].isin(STATUSES), f"is none of {_list(STATUSES)}"),
        (missing & frame["value"].notna(), "has a value all the same"),
        (missing & (frame["reason"].str.strip() == ""), "has no reason"),
        (~missing & ~np.isfinite(frame["value"]), "has no finite value"),
    ):
        if wrong.any():
            row = frame[wrong].iloc[0]
            raise WrongScores(f"{_place(row)}: status {row['status']!r} {what}")


def _within_bounds(frame: DataFrame, bounds: Mapping[str, tuple[float, float]]) -> None:
    low = frame["metric"].map({name: _wider(pair, -1) for name, pair in bounds.items()})
    high = frame["metric"].map({name: _wider(pair, 1) for name, pair in bounds.items()})
    outside = (frame["value"] < low) | (frame["value"] > high)
    if outside.any():
        row = frame[outside].iloc[0]
        low_bound, high_bound = bounds[row["metric"]]
        raise WrongScores(f"{_place(row)}: {row['value']:g} is outside of [{low_bound:g}, {high_bound:g}]")


def _wider(pair: tuple[float, float], sign: int) -> float:
    size = max((abs(bound) for bound in pair if np.isfinite(bound)), default=1.0)
    return float((pair[0] if sign < 0 else pair[1]) + sign * ROUNDING * max(size, 1.0))


def _place(row: Any) -> str:
    return f"{row['metric']}: {PictureName(row['prompt_id'], row['image_index'])}"


_NONE = object()


def _first(values: Iterable[Any], is_wrong: Any) -> Any:
    return next((value for value in values if is_wrong(value)), _NONE)


def _is_whole(value: Any) -> bool:
    return isinstance(value, int | np.integer) and not isinstance(value, bool)


def _is_number(value: Any) -> bool:
    """Numbers, truth values (1 and 0), and whatever stands for none."""
    return isinstance(value, Real | np.bool_) or value is None or value is pd.NA


def _list(names: Iterable[Any]) -> str:
    return ", ".join(map(str, names))


def _a(found: object) -> str:
    return "nothing" if found is None else f"a {type(found).__name__}"
