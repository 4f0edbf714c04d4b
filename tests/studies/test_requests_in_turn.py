"""What is left and lost after each request is told from the scores of the cases that measure it."""

import pandas as pd
import pytest

from erasure_bench.prompt_suites.registry import load_suite
from studies.requests_in_turn import SUITE, after_each, asked_for, collapsed_cases, names_of, page

CONCEPTS = load_suite(SUITE).concepts[:2]
ONE, TWO = names_of(CONCEPTS, 1), names_of(CONCEPTS, 2)


def scores() -> pd.DataFrame:
    """`fades` brings the first concept half back with the second request and loses a fifth of the kept.

    `once` takes no second request."""
    rows = []
    for case, left in ((ONE[0], 0.0), (TWO[0], 0.5), (TWO[1], 0.1)):
        for method, shown, kept in (("none", 1.0, 1.0), ("fades", left, 0.8), ("once", 0.0, 1.0)):
            if method == "once" and case != ONE[0]:
                continue
            for role, metric, value in (
                ("target", "class_probability", shown),
                ("neighbour", "class_accuracy", kept),
                ("retention", "class_accuracy", kept),
                ("retention", "class_probability", 0.123),
            ):
                rows += [
                    (method, case, 0, 0, role, f"{case}/{role}/{number}", metric, value)
                    for number in range(4)
                ]
    columns = ["method", "concept", "seed", "image_index", "role", "prompt_id", "metric", "value"]
    return pd.DataFrame(rows, columns=columns).assign(suite=SUITE, evaluator="classifier", model="one")


def test_requests_of_growing_length_are_asked_for() -> None:
    first, second = (concept.name.replace(" ", "-") for concept in CONCEPTS)
    assert asked_for(CONCEPTS) == f"{first},{first}>{second}"


def test_each_request_says_what_is_gone_and_what_is_lost() -> None:
    rows = list(after_each(scores(), CONCEPTS, ["fades", "once"]))
    found = {(row["method"], row["requests"], row["question"]): row["value"] for row in rows}
    assert found["fades", 1, "first"] == found["fades", 1, "all"] == 1.0
    assert found["fades", 2, "first"] == 0.5
    assert found["fades", 2, "newest"] == pytest.approx(0.9)
    assert found["fades", 2, "all"] == pytest.approx(0.7)
    assert found["fades", 2, "neighbour"] == found["fades", 2, "retention"] == pytest.approx(-20)
    assert {requests for method, requests, _ in found if method == "once"} == {1}
    assert all(row["low"] <= row["value"] <= row["high"] for row in rows)


def test_a_case_without_scores_leaves_no_mean_over_the_others() -> None:
    rows = scores()
    lacking = rows[(rows["method"] != "fades") | (rows["concept"] != TWO[1])]
    asked = {(row["requests"], row["question"]) for row in after_each(lacking, CONCEPTS, ["fades"])}
    assert (2, "first") in asked and not asked & {
        (2, question) for question in ("newest", "all", "retention")
    }


def test_the_page_has_a_line_for_each_request_and_says_what_failed() -> None:
    rows = pd.DataFrame(after_each(scores(), CONCEPTS, ["fades", "once"]))
    document = {
        "rows": [
            {"method": "fades", "scope": scope, "concept": TWO[1], "collapsed": why}
            for scope, why in (("concept", "nothing at all"), ("overall", "elsewhere"), ("concept", None))
        ]
    }
    collapsed = collapsed_cases(document)
    text = page(rows, CONCEPTS, collapsed, SUITE, ["once: guidance holds one request at a time"])
    assert "| fades † | 2 | 0.50 [" in text and "| −20.0 [" in text and "| once | 1 | 1.00 [" in text
    assert "| fades | 1 |" in text and f"- fades, {TWO[1]}: nothing at all\n" in text
    assert "- failed: once: guidance holds one request at a time" in text
    assert "†" not in page(rows, CONCEPTS, {}, SUITE, [])
