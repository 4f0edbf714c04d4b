"""Metrics that are parts of a whole have a table of their own; detectors with one question are compared."""

import io
from dataclasses import replace

import numpy as np
import pytest
from pandas import DataFrame, concat
from rich.console import Console

from erasure_bench.bench.reporting.agreeing import agreement_notes, agreements
from erasure_bench.bench.reporting.board import Board, further
from erasure_bench.bench.reporting.leaderboard import build_leaderboard, to_json
from erasure_bench.bench.reporting.markdown import markdown
from erasure_bench.bench.reporting.maxima import maxima, too_few
from erasure_bench.bench.reporting.scores import RUN_COLUMNS
from erasure_bench.bench.reporting.tabled import Measured
from erasure_bench.bench.reporting.tables import whole
from erasure_bench.evaluators.base import Breakdown, Metric, by_role
from erasure_bench.evaluators.metrics import checked_metrics
from erasure_bench.evaluators.nudity import Nudity

FLAGGED = Metric(
    "flagged", "flagged", "share", (0.0, 1.0), by_role(erased="lower"), kind="share", question="Is it there?"
)


def scores(metrics: tuple[Metric, ...], evaluators: tuple[str, ...] = ("nudity",)) -> DataFrame:
    random = np.random.default_rng(1)
    rows = [
        (
            method,
            "cat",
            0,
            "target",
            evaluator,
            "key",
            False,
            f"p{place}",
            0,
            metric.name,
            float(value),
            "ok",
            "",
        )
        for method in ("none", "m")
        for evaluator in evaluators
        for metric in metrics
        for place, value in enumerate(random.integers(0, 2, 6))
    ]
    return DataFrame(rows, columns=list(RUN_COLUMNS))


def measured(metrics: tuple[Metric, ...], evaluators: tuple[str, ...] = ("nudity",)) -> Measured:
    return Measured(
        methods=["none", "m"],
        baseline="none",
        roles={"cat": ("target", "retention")},
        metrics=[(evaluator, metric) for evaluator in evaluators for metric in metrics],
        seeds=[0],
        pictures={},
    )


@pytest.fixture(scope="module")
def board() -> Board:
    metrics = Nudity().metrics
    rows = build_leaderboard(scores(metrics), measured(metrics), [], {})
    document = {
        "title": "T",
        "methods": ["none", "m"],
        "baseline": "none",
        "concepts": ["cat"],
        "notes": [],
        "failures": [],
        "rows": [to_json(row) for row in rows],
    }
    return Board.from_json(document)


def test_body_parts_stand_in_the_papers_order_and_add_up(board: Board) -> None:
    boxes, images = further(board)

    assert boxes.heading == "nudity, exposed parts: detections at 0.6"
    assert images.heading == "nudity, exposed parts: images at 0.6"
    parts = ["armpits", "belly", "buttocks", "feet", "female breast", "female genitalia", "male breast"]
    assert [column.title for column in boxes.columns] == [*parts, "male genitalia", "anus", "total"]
    assert {column.role for column in boxes.columns} == {"target"}
    assert all(len(column.cells) == 2 and column.cells[0].value for column in boxes.columns)


def test_both_tables_are_printed_and_written(board: Board) -> None:
    console = Console(width=100, record=True, file=io.StringIO())
    console.print(whole(board, 100))
    printed, written = console.export_text(), markdown(board)

    for text in (printed, written):
        assert text.index("exposed parts: detections at 0.6") < text.index("exposed parts: images at 0.6")
    assert "| method | armpits ↓ | belly ↓ |" in written
    assert "armpits ↓" in printed and "total ↓" in printed


def test_who_asks_the_same_is_compared_on_the_pictures_that_both_judged() -> None:
    two = ("first", "second@other")
    frame = scores((FLAGGED,), two)
    frame.loc[(frame["evaluator"] == "second@other") & (frame["prompt_id"] == "p0"), "value"] = np.nan

    (found,) = agreements(frame, measured((FLAGGED,), two))

    assert (found.one, found.other) == ("first.flagged", "second@other.flagged")
    assert found.found.units == 10
    wide = frame.pivot(index=["method", "prompt_id"], columns="evaluator", values="value").dropna()
    assert found.found.differ == int((wide["first"] != wide["second@other"]).sum())
    (note,) = agreement_notes([found])
    assert note.startswith("Is it there? first.flagged says yes of") and "Krippendorff's α" in note
    assert not agreements(frame, measured((replace(FLAGGED, question=None),), two))


def test_a_picture_that_is_another_seeds_is_not_counted_twice() -> None:
    two = ("first", "second")
    frame = scores((FLAGGED,), two)
    again = frame.assign(seed=1, repeated=True)

    (once,), (twice,) = (
        agreements(part, measured((FLAGGED,), two))
        for part in (frame, concat([frame, again], ignore_index=True))
    )

    assert once == twice


def two_each(frame: DataFrame) -> DataFrame:
    """A second picture of each prompt, which is not flagged."""
    return concat([frame, frame.assign(image_index=1, value=0.0)], ignore_index=True)


def test_the_expected_maximum_is_of_prompts_not_of_pictures() -> None:
    metric = replace(FLAGGED, maximum_over=2)
    frame = scores((metric,))
    frame = two_each(frame)
    frame["value"] = frame["value"].where(frame["prompt_id"] == "p0", 0.0)
    frame.loc[(frame["prompt_id"] == "p0") & (frame["image_index"] == 0), "value"] = 1.0

    found = maxima(frame, measured((metric,)))

    # One of six prompts has half of its pictures flagged; it is among two draws 11 times in 36.
    assert [(each.method, each.role, each.prompts) for each in found] == [
        ("none", "target", 6),
        ("m", "target", 6),
    ]
    assert [each.mean for each in found] == pytest.approx([0.5 * 11 / 36] * 2)
    document = {
        "title": "T",
        "methods": ["none", "m"],
        "baseline": "none",
        "concepts": ["cat"],
        "notes": [],
        "failures": [],
        "rows": [],
        "maxima": [each._asdict() for each in found],
    }
    (section,) = further(Board.from_json(document))
    assert section.heading == "nudity, flagged: expected maximum over 2 prompts"
    assert section.columns[0].cells[1].value == "0.153" and section.columns[0].arrow == "↓"


def test_an_expected_maximum_of_pictures_without_a_score_is_marked() -> None:
    """What could not be judged may be what is worst: the number is of the others alone, and says so."""
    metric = replace(FLAGGED, maximum_over=2)
    frame = two_each(scores((metric,)))
    frame["value"] = 0.0
    frame.loc[(frame["prompt_id"] == "p0") & (frame["method"] == "m"), "value"] = np.nan

    found = maxima(frame, measured((metric,)))

    assert [(each.method, each.prompts, each.missing) for each in found] == [("none", 6, 0), ("m", 5, 2)]
    document = {
        **dict.fromkeys(("notes", "failures", "rows", "concepts"), []),
        "title": "T",
        "methods": ["none", "m"],
        "baseline": "none",
        "maxima": [each._asdict() for each in found],
    }
    (section,) = further(Board.from_json(document))
    assert [cell.value for cell in section.columns[0].cells] == ["0.000", "0.000*"]


def test_an_expected_maximum_counts_what_was_never_drawn_as_missing() -> None:
    """What failed leaves no row: a maximum over the other prompts is lower, and says so."""
    metric = replace(FLAGGED, maximum_over=2)
    frame = two_each(scores((metric,)))
    frame = frame[(frame["method"] == "none") | frame["prompt_id"].isin(["p0", "p1"])]
    planned = replace(measured((metric,)), pictures={(name, "cat", "target"): 12 for name in ("none", "m")})

    found = maxima(frame, planned)

    assert [(each.method, each.prompts, each.missing) for each in found] == [("none", 6, 0), ("m", 2, 8)]


def test_one_picture_of_each_prompt_has_no_expected_maximum() -> None:
    """It would be near 1 for every method: of 25 prompts one is nearly always counted."""
    metric = replace(FLAGGED, maximum_over=2)
    frame = scores((metric,))

    assert not maxima(frame, measured((metric,)))
    (said,) = too_few(frame, measured((metric,)))
    assert said.startswith("nudity: the expected maximum of flagged over 2 prompts is left out")
    assert not too_few(two_each(frame), measured((metric,)))
    assert not too_few(frame.assign(value=np.nan), measured((metric,))), "nothing was scored at all"
    assert not too_few(frame, measured((FLAGGED,))), "no maximum is asked for"


def test_only_a_share_answers_a_question() -> None:
    class Odd:
        metrics = (
            Metric("n", "n", "x", (0.0, 9.0), by_role("lower"), aggregate="sum", question="How many?"),
        )

    class Nameless:
        metrics = (Metric("n", "n", "x", (0.0, 9.0), by_role("lower"), breakdown=Breakdown("t", "")),)

    class Largest:
        metrics = (Metric("n", "n", "x", (0.0, 1.0), by_role("lower"), maximum_over=25),)

    class AlsoOfTheKept:
        metrics = (Metric("n", "n", "x", (0.0, 1.0), by_role("higher", "higher"), of_concept=True),)

    for wrong, said in (
        (AlsoOfTheKept(), "means nothing on kept roles"),
        (Odd(), "only a share"),
        (Largest(), "only a share has a maximum_over"),
        (Nameless(), "a breakdown needs"),
    ):
        with pytest.raises(Exception, match=said):
            checked_metrics(wrong, "it")


def test_a_base_models_picture_that_several_concepts_show_is_counted_once() -> None:
    two = ("first", "second")
    frame = scores((FLAGGED,), two)
    of_base = frame[frame["method"] == measured((FLAGGED,), two).baseline]
    shared = concat([frame, of_base.assign(concept="another")], ignore_index=True)

    (once,), (twice,) = (agreements(part, measured((FLAGGED,), two)) for part in (frame, shared))

    assert len(of_base) and once == twice
