"""The study of the reference of unlearning: its page says who comes near, and trusts no collapsed method."""

from pathlib import Path

import pandas as pd
import pytest

from erasure_bench.methods.registry import METHODS as REGISTERED
from erasure_bench.prompt_suites.registry import load_suite
from studies.unlearning_reference import CASES, DISTANCE, METHODS, REFERENCE, Case, P, numbers, page

SUITE, CONCEPT = "microworld-instances", "grumpy cat"
LEFT = {"none": 1.0, "sa": 0.0, "uce": 0.1, "esd-x": 0.2, "loss-max": 0.0}
FAR = {"none": 2.0, "sa": 0.1, "uce": 0.5, "esd-x": 1.9, "loss-max": 0.0}


@pytest.fixture
def case(tmp_path: Path) -> Case:
    """A run's table in which loss-max lies nearest, and has collapsed."""
    rows = [
        {
            "method": method,
            "scope": "overall",
            "status": "ok",
            **dict(zip(("role", "evaluator", "metric"), key, strict=True)),
            **{"value": value, "low": value - 0.2, "high": value + 0.2},
            "collapsed": "all of it" if method == "loss-max" else None,
        }
        for key, of in ((P, LEFT), (DISTANCE, FAR))
        for method, value in of.items()
    ]
    pd.DataFrame(rows).to_csv(tmp_path / "leaderboard.csv", index=False)
    return Case.read(SUITE, CONCEPT, tmp_path)


def test_who_is_certainly_nearer_and_who_is_nearest_leave_the_collapsed_out(case: Case) -> None:
    text = page([case], "for 5 steps")
    assert f"| {CONCEPT} | 2 of 3 | sa |" in text
    assert "| loss-max † | 0.000 [-0.200, 0.200] |" in text.replace("−", "-")
    assert "| none | 2.000 [1.800, 2.200] |" in text
    assert "trained\nanew, from nothing, for 5 steps." in text


def test_the_order_is_kendalls_of_the_methods(case: Case) -> None:
    # sa and loss-max are tied in what is left: 5 pairs that differ there, all in the same order
    assert case.order() == pytest.approx(5 / (5 * 6) ** 0.5)


def test_every_number_of_the_page_is_in_the_table(case: Case) -> None:
    found = numbers([case])
    assert len(found) == len(LEFT) + len(FAR)
    kid = found[found["metric"] == "kid"].set_index("method")["value"]
    assert kid.to_dict() == FAR


def test_the_cases_are_concepts_of_their_suites_and_the_methods_are_registered() -> None:
    for suite, concept in CASES.items():
        assert concept in [one.name for one in load_suite(suite).concepts]
    assert set(METHODS) <= set(REGISTERED) and REFERENCE not in REGISTERED
