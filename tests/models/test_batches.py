"""How many pictures go through a model at once: as many as fit, or as many as are drawn quickest."""

from collections.abc import Callable

import pytest

from erasure_bench.models.batches import DoesNotFit, GrowingBatchSize


def grown(pace: Callable[[int], float], *, fits: int = 10**9, most: int = 256) -> tuple[list[int], list[int]]:
    """The sizes that are tried and what is settled on, where a batch of n draws pace(n) a second."""
    settled: list[int] = []
    batch = GrowingBatchSize(4, most=most, settled=settled.append)
    tried = []
    while batch.growing:
        tried.append(batch.size)
        if batch.size > fits:
            batch.ran_out(batch.size)
        else:
            batch.drew(batch.size, batch.size / pace(batch.size))
    return list(dict.fromkeys(tried)), settled


def test_it_grows_until_twice_as_many_are_no_quicker() -> None:
    assert grown(lambda n: min(n, 32) / 10) == ([4, 8, 16, 32, 64], [32])
    assert grown(lambda n: {4: 1.0, 8: 1.9, 16: 2.2, 32: 2.1}[n]) == ([4, 8, 16, 32], [16])
    assert grown(lambda n: 1.0) == ([4, 8], [4])


def test_it_stops_where_memory_is_full_or_it_may_not_go_on() -> None:
    assert grown(lambda n: n, fits=40) == ([4, 8, 16, 32, 64], [32])
    assert grown(lambda n: n, most=64) == ([4, 8, 16, 32, 64], [64])


def test_the_first_batch_of_a_size_and_one_that_is_not_full_say_nothing() -> None:
    batch = GrowingBatchSize(4)
    batch.drew(4, 1000.0)
    batch.drew(3, 0.001)
    assert batch.size == 4 and batch.growing
    batch.drew(4, 1.0)
    assert batch.size == 8
    batch.drew(4, 0.001)  # one that was under way when it grew
    batch.drew(8, 5000.0)
    assert batch.size == 8 and batch.growing


def test_memory_that_is_full_later_makes_it_smaller_still_and_is_remembered() -> None:
    settled: list[int] = []
    batch = GrowingBatchSize(4, most=4, settled=settled.append)
    batch.drew(4, 1.0)
    batch.drew(4, 1.0)
    batch.ran_out(4)
    assert settled == [4, 2]
    with pytest.raises(DoesNotFit):
        batch.ran_out(1)
