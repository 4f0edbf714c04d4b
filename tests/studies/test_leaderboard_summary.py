"""The page over several leaderboards says what the numbers say."""

from typing import Any

import pytest

from erasure_bench.bench.statistics.bars import at_least
from studies.leaderboard_summary import summary

SUITE = "microworld-colours"


def row(method: str, role: str, metric: str, value: float, base: float, **more: Any) -> dict[str, Any]:
    change = None if method == "none" else value - base
    gone = None if change is None else -change / base
    bar, middle = (0.5, gone) if role in ("target", "implicit") else (-0.1, change)
    return {
        "method": method,
        "scope": "overall",
        "concept": "overall",
        "role": role,
        "evaluator": "classifier",
        "metric": metric,
        "value": value,
        "low": value - 0.05,
        "high": value + 0.05,
        "change": change,
        "change_low": None if change is None else change - 0.02,
        "change_high": None if change is None else change + 0.02,
        "gone": gone,
        "gone_low": None if gone is None else gone - 0.025,
        "gone_high": None if gone is None else gone + 0.025,
        "verdict": None if middle is None else at_least(bar, middle - 0.03, middle + 0.03),
        "best": method == "strong" and role == "target",
        "same_p": None if change is None else float(abs(change) > 0.06),
        "status": "ok",
        "images": 24,
        "erase_seconds": 1.5,
        **more,
    }


def document(*rows: dict[str, Any]) -> dict[str, Any]:
    methods = list(dict.fromkeys(one["method"] for one in rows))
    return {
        "methods": methods,
        "baseline": "none",
        "concepts": ["red", "blue"],
        "seeds": [0],
        "rows": list(rows),
    }


def method_rows(method: str, red: float, blue: float, kept: float) -> list[dict[str, Any]]:
    return [
        row(method, "target", "class_probability", (red + blue) / 2, 0.8),
        row(method, "target", "class_probability", red, 0.8, scope="concept", concept="red"),
        row(method, "target", "class_probability", blue, 0.8, scope="concept", concept="blue"),
        row(method, "neighbour", "class_accuracy", kept, 1.0),
    ]


@pytest.fixture
def page() -> str:
    rows = [
        *method_rows("none", 0.8, 0.8, 1.0),
        *method_rows("strong", 0.0, 0.2, 0.75),
        *method_rows("weak", 0.3, 0.7, 0.95),
    ]
    return summary({SUITE: document(*rows)})


def line(page: str, section: str, method: str) -> str:
    part = page.split(f"## {section}")[1].split("\n## ")[0]
    return next(text for text in part.splitlines() if text.startswith(f"| {method} |"))


def test_what_is_met_is_counted_and_what_is_missed_named_by_suite_and_role(page: str) -> None:
    assert line(page, "Enough?", "strong") == "| strong | 2 of 2 | 1 met | – | – | colours neighbour −25.0 |"
    assert line(page, "Enough?", "weak") == "| weak | 1 of 2 | – | colours target 0.38 | 1 met | – |"
    assert line(page, "Enough?", "none") == "| none | – | – | – | – | – |"


def test_what_is_undecided_is_counted_apart_and_marked() -> None:
    rows = [*method_rows("none", 0.8, 0.8, 1.0), *method_rows("middling", 0.0, 0.41, 0.91)]
    rows += [row("middling", "implicit", "class_probability", 0.39, 0.8)]
    page = summary({SUITE: document(*rows)})
    assert line(page, "Enough?", "middling") == (
        "| middling | 1 of 2, 1 undecided | 1 met, 1 undecided | – | 1 undecided | – |"
    )
    assert line(page, "Erased", "middling") == "| middling | 0.74 [0.72, 0.77] | 0.51 [0.49, 0.54] ? |"
    assert line(page, "Kept", "middling") == "| middling | −9.0 [−11.0, −7.0] ? |"


def test_a_concept_that_failed_is_not_halved_and_stays_in_the_count() -> None:
    nothing = {"value": None, "change": None, "gone": None, "verdict": None, "status": "failed"}
    rows = [*method_rows("none", 0.8, 0.8, 1.0), *method_rows("some", 0.0, 0.0, 1.0)]
    rows[6] |= nothing
    assert (rows[6]["concept"], rows[6]["method"]) == ("blue", "some")
    page = summary({SUITE: document(*rows)})
    assert line(page, "Enough?", "some").startswith("| some | 1 of 2 |")
    without = [one for one in rows if one is not rows[6]]
    page = summary({SUITE: document(*without)})
    assert line(page, "Enough?", "some").startswith("| some | 1 of 2 |")


def test_shares_and_points_come_with_their_intervals(page: str) -> None:
    assert line(page, "Erased", "strong") == "| strong | 0.88 [0.85, 0.90] |"
    assert line(page, "Kept", "weak") == "| weak | ≈ −5.0 [−7.0, −3.0] |"
    assert line(page, "Kept", "strong") == "| strong | −25.0 [−27.0, −23.0] ✗ |"
    assert line(page, SUITE, "strong").startswith("| strong | **0.100** [0.050, 0.150] | 0.750 [")
    assert line(page, SUITE, "none") == "| none | 0.800 [0.750, 0.850] | 1.000 [0.950, 1.050] | 1.5 |"


def test_what_is_only_evoked_counts_for_itself() -> None:
    rows = [
        row("some", "target", "class_probability", 0.1, 0.8, scope="concept", concept="red"),
        row("some", "implicit", "class_probability", 0.6, 0.8, scope="concept", concept="red"),
        row("some", "implicit", "class_probability", 0.6, 0.8),
    ]
    page = summary({SUITE: document(*rows)})
    assert line(page, "Enough?", "some") == "| some | 1 of 1 | – | colours implicit 0.25 | – | – |"


def test_numbers_that_are_not_there_show_their_status() -> None:
    nothing = dict.fromkeys(("value", "change", "low", "high", "gone", "verdict")) | {"status": "failed"}
    rows = [
        *method_rows("none", 0.8, 0.8, 1.0),
        row("broken", "target", "class_probability", 0.0, 0.8) | nothing,
        row("broken", "neighbour", "class_accuracy", 0.0, 0.8) | nothing,
    ]
    page = summary({SUITE: document(*rows)})
    assert line(page, "Enough?", "broken") == (
        "| broken | 0 of 2 | – | colours target failed | – | colours neighbour failed |"
    )
    assert line(page, "Erased", "broken") == "| broken | failed |"
    assert line(page, SUITE, "broken") == "| broken | failed | failed | 1.5 |"


def test_nothing_to_erase_is_no_share() -> None:
    nothing = row("some", "target", "class_probability", 0.0, 1.0) | {"gone": None, "verdict": None}
    assert line(summary({SUITE: document(nothing)}), "Erased", "some") == "| some | – |"


def test_seconds_of_several_devices_come_with_a_caution() -> None:
    one = document(*method_rows("uce", 0.1, 0.1, 0.9))
    assert "Seconds are means" not in summary({"microworld-objects": one})
    several = {**one, "drawn_with": {"device": ["a CPU", "a GPU"]}}
    assert "Seconds are means over cells done on a CPU and a GPU" in summary({"microworld-objects": several})
