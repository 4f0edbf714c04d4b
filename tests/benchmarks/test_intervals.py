"""The benchmark's table is a whole run, and its figures are there."""

import tracemalloc

from benchmarks.intervals import CONCEPTS, METHODS, METRICS, ROLES, measure, table
from erasure_bench.bench.reporting.leaderboard import build_leaderboard


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


def test_a_leaderboard_takes_two_hundred_bytes_beside_each_score() -> None:
    """Ten million of them then fit into 4 GB with their table, which has 170 bytes for each."""
    scores, measured = table(150_000)
    build_leaderboard(scores, measured, [], {})  # what is loaded and remembered once
    tracemalloc.start()
    try:
        build_leaderboard(scores, measured, [], {})
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 200 * len(scores)
