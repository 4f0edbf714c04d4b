"""The page over several leaderboards says what the numbers say."""

from typing import Any

import pytest

from studies.leaderboard_summary import share_gone, summary

SUITE = "microworld-colours"


def row(method: str, role: str, metric: str, value: float, base: float, **more: Any) -> dict[str, Any]:
    change = None if method == "none" else value - base
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
        "status": "ok",
        "images": 24,
        "erase_seconds": 1.5,
        **more,
    }


def document(*rows: dict[str, Any]) -> dict[str, Any]:
    methods = list(dict.fromkeys(one["method"] for one in rows))
    return {"methods": methods, "concepts": ["red", "blue"], "seeds": [0], "rows": list(rows)}


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


def test_what_is_missed_is_named_by_suite_and_role(page: str) -> None:
    assert line(page, "Enough?", "strong") == "| strong | 2 of 2 | – | colours neighbour −25.0 |"
    assert line(page, "Enough?", "weak") == "| weak | 1 of 2 | colours target 0.38 | – |"
    assert line(page, "Enough?", "none") == "| none | – | – | – |"


def test_shares_and_points_come_with_the_interval_of_the_change(page: str) -> None:
    # change −0.7 ± 0.02 of 0.8
    assert line(page, "Erased", "strong") == "| strong | 0.88 [0.85, 0.90] |"
    assert line(page, "Kept", "weak") == "| weak | −5.0 [−7.0, −3.0] |"
    assert line(page, SUITE, "none") == "| none | 0.800 [0.750, 0.850] | 1.000 [0.950, 1.050] | 1.5 |"


def test_what_is_only_evoked_counts_for_itself() -> None:
    rows = [
        row("some", "target", "class_probability", 0.1, 0.8, scope="concept", concept="red"),
        row("some", "implicit", "class_probability", 0.6, 0.8, scope="concept", concept="red"),
        row("some", "implicit", "class_probability", 0.6, 0.8),
    ]
    page = summary({SUITE: document(*rows)})
    assert line(page, "Enough?", "some") == "| some | 1 of 1 | colours implicit 0.25 | – |"


def test_numbers_that_are_not_there_show_their_status() -> None:
    nothing = {"value": None, "change": None, "low": None, "high": None, "status": "failed"}
    rows = [
        *method_rows("none", 0.8, 0.8, 1.0),
        row("broken", "target", "class_probability", 0.0, 0.8) | nothing,
        row("broken", "neighbour", "class_accuracy", 0.0, 0.8) | nothing,
    ]
    page = summary({SUITE: document(*rows)})
    assert line(page, "Erased", "broken") == "| broken | failed |"
    assert line(page, SUITE, "broken") == "| broken | failed | failed | 1.5 |"


def test_nothing_to_erase_is_no_share() -> None:
    assert share_gone(row("some", "target", "class_probability", 0.0, 0.0)) is None
