"""An evaluator's frame is taken only where it holds one fitting row for each picture and metric."""

from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from erasure_bench.evaluators.base import SCORE_COLUMNS, Metric, Scores, by_role
from erasure_bench.evaluators.score_frames import (
    ROUNDING,
    PictureName,
    WrongScores,
    checked_frame,
    checked_scores,
    is_checked,
)

METRICS = (
    Metric("sim", "Similarity", "cosine", (-1.0, 1.0), by_role("lower")),
    Metric("count", "Count", "items", (0.0, float("inf")), by_role("lower")),
)
PICTURES = [PictureName("p1", 0), PictureName("p1", 1), PictureName("p2", 0)]


def frame(**columns: Any) -> pd.DataFrame:
    names = [(name, metric.name) for name in PICTURES for metric in METRICS]
    rows = [(name.prompt_id, name.image_index, metric, 0.5, "ok", "") for name, metric in names]
    whole = pd.DataFrame(rows, columns=list(SCORE_COLUMNS))
    for column, values in columns.items():
        whole[column] = pd.Series([*values, *whole[column].iloc[len(values) :]], dtype=object)
    return whole


def check(it: Any) -> pd.DataFrame:
    return checked_frame(it, METRICS, PICTURES)


def test_a_whole_frame_is_taken_whatever_its_order_and_index() -> None:
    shuffled = frame().sample(frac=1.0, random_state=0)
    taken = check(shuffled)
    assert taken.values.tolist() == shuffled.values.tolist()
    assert [*taken.index] == [*range(6)] and [*taken.columns] == [*SCORE_COLUMNS]
    assert (taken["value"].dtype, taken["image_index"].dtype) == (np.float64, np.int64)
    check(pd.concat([frame()]).set_index(pd.Index([0] * 6)))


def test_numbers_of_other_kinds_become_floats() -> None:
    values = [True, np.float32(0.25), np.bool_(False), 1, 0.5, 7]
    assert check(frame(value=values))["value"].tolist() == [1.0, 0.25, 0.0, 1.0, 0.5, 7.0]


def test_a_picture_that_could_not_be_measured_has_a_reason() -> None:
    for nothing in (float("nan"), None, pd.NA):
        taken = check(frame(value=[nothing], status=["missing"], reason=["broken"]))
        assert np.isnan(taken["value"][0]) and taken["reason"][0] == "broken"


def test_rounding_may_lead_a_hair_out_of_bounds() -> None:
    assert check(frame(value=[1.0000001]))["value"][0] == 1.0000001


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (frame().iloc[1:], "sim: no row for picture 0 of 'p1' (1 of 6 rows are not there)"),
        (frame().iloc[:0], "sim: no row for picture 0 of 'p1' (6 of 6 rows are not there)"),
        (pd.concat([frame(), frame().iloc[[3]]]), "count: two rows for picture 1 of 'p1'"),
        (frame(prompt_id=["p3"]), "sim: a row for picture 0 of 'p3', which it was not shown"),
        (frame(image_index=[7]), "sim: a row for picture 7 of 'p1', which it was not shown"),
        (frame(metric=["other"]), "a row for 'other', which is none of its metrics: sim, count"),
        (frame(value=[float("inf")]), "sim: picture 0 of 'p1': status 'ok' has no finite value"),
        (frame(value=[float("nan")]), "sim: picture 0 of 'p1': status 'ok' has no finite value"),
        (frame(value=[1.1]), "sim: picture 0 of 'p1': 1.1 is outside of [-1, 1]"),
        (frame(value=[0.1, -3]), "count: picture 0 of 'p1': -3 is outside of [0, inf]"),
        (frame(status=["fine"]), "status 'fine' is none of ok, missing"),
        (frame(status=["missing"], reason=["x"]), "status 'missing' has a value all the same"),
        (frame(status=["missing"], value=[None]), "status 'missing' has no reason"),
        (frame(value=["0.5"]), "its column value holds '0.5', which is no number"),
        (frame(value=[0.5j]), "its column value holds 0.5j, which is no number"),
        (frame(image_index=[0.0]), "its column image_index holds 0.0, which is no whole number"),
        (frame(image_index=[False]), "its column image_index holds False, which is no whole number"),
        (frame(prompt_id=[None]), "its column prompt_id holds "),
        (frame(reason=[None]), "its column reason holds "),
        (frame(status=[None]), "its column status holds "),
        (
            frame().drop(columns="reason"),
            "its scores have the columns prompt_id, image_index, ",
        ),
        (frame().assign(more=1), "reason, more instead of prompt_id"),
        (frame().rename(columns={"reason": 5}), "status, 5 instead of"),
        (None, "its scores are nothing instead of a DataFrame"),
        ([1], "its scores are a list instead of a DataFrame"),
    ],
)
def test_anything_else_is_refused_in_one_line(wrong: Any, said: str) -> None:
    with pytest.raises(WrongScores) as refused:
        check(wrong)
    assert said in str(refused.value) and "\n" not in str(refused.value)


def passes_quickly(it: pd.DataFrame) -> bool:
    """Whether `is_checked` takes it as it would lie in a file; what no file can hold it never sees."""
    try:
        return is_checked(pa.Table.from_pandas(it, preserve_index=False), METRICS, PICTURES)
    except (pa.ArrowInvalid, pa.ArrowTypeError):
        return False


def test_what_is_plainly_right_passes_quickly_and_nothing_else() -> None:
    right = check(frame(value=[0.25, None], status=["ok", "missing"], reason=["", "broken"]))
    assert passes_quickly(right) and passes_quickly(right.iloc[::-1])
    for wrong in (
        right.iloc[1:],
        pd.concat([right, right.iloc[[3]]]),
        right.assign(metric=["other", *right["metric"][1:]]),
        right.assign(value=[1.1, *right["value"][1:]]),
        right.assign(value=[np.nan, *right["value"][1:]]),
        right.assign(value=right["value"].astype(np.float32)),
        right.assign(status=["fine", *right["status"][1:]]),
        right.assign(reason=""),
        right.assign(reason=None),
        right.assign(image_index=right["image_index"].astype(float)),
        right.assign(more=1),
        right.drop(columns="reason"),
    ):
        assert not passes_quickly(wrong)


@given(st.data())
def test_no_damage_to_a_row_passes(data: st.DataObject) -> None:
    """Whatever single cell becomes something else, the frame is refused or holds a value within bounds.

    Within them to rounding: a count of -1e-291 is none.
    """
    damaged = frame()
    row = data.draw(st.integers(0, 5))
    column = data.draw(st.sampled_from(SCORE_COLUMNS))
    damaged[column] = damaged[column].astype(object)
    damaged.at[row, column] = data.draw(
        st.one_of(st.none(), st.floats(), st.integers(-9, 9), st.text(max_size=3), st.booleans())
    )
    try:
        taken = check(damaged)
    except WrongScores:
        assert not passes_quickly(damaged)
        return
    same = ["prompt_id", "image_index", "metric", "status"]
    assert taken[same].values.tolist() == frame()[same].values.tolist()
    bounded = taken["value"].between(-1 - ROUNDING, 1 + ROUNDING)
    assert bounded.where(taken["metric"] == "sim", taken["value"] >= -ROUNDING).all()


def test_what_is_no_scores_at_all_is_refused() -> None:
    for wrong, said in (
        (frame(), "score gave a DataFrame instead of Scores"),
        (None, "score gave nothing"),
        (Scores(frame(), details=5), "its details are a int"),  # type: ignore[arg-type]
    ):
        with pytest.raises(WrongScores, match=said):
            checked_scores(wrong, METRICS, PICTURES)
    details = pd.DataFrame({"x": [1]})
    assert checked_scores(Scores(frame(), details), METRICS, PICTURES).details is details
