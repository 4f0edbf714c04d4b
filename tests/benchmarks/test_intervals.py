"""The benchmark's table is a whole run, and its figures are there."""

from benchmarks.intervals import CONCEPTS, METHODS, METRICS, ROLES, measure, table


def test_the_table_has_every_number_once() -> None:
    scores, measured = table(60_000)
    names = ["method", "concept", "role", "metric", "seed", "prompt_id", "image_index"]
    assert not scores.duplicated(names).any()
    shared = scores[scores["role"] != "target"].groupby("prompt_id")["concept"].nunique()
    assert (shared == CONCEPTS).all()
    assert len(measured.methods) == METHODS


def test_it_measures_a_board_of_all_concepts_and_overall() -> None:
    figures = measure(60_000)
    assert figures["numbers"] == METHODS * (CONCEPTS + 1) * len(ROLES) * len(METRICS)
    assert figures["seconds"] > 0
