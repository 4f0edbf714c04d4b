"""The front: whom no other method surely beats on all axes together."""

import tracemalloc

import numpy as np
import pytest

from erasure_bench.bench.statistics import pareto
from erasure_bench.bench.statistics.best import ALPHA
from erasure_bench.bench.statistics.pareto import Axis, beaten_by

PROMPTS = 24


def axis(*levels: float, lower: bool, noise: float = 0.0, seed: int = 0) -> Axis:
    spread = np.random.default_rng(seed).normal(0, noise, (len(levels), PROMPTS)) if noise else 0.0
    return Axis(np.array(levels)[:, None] + np.zeros((1, PROMPTS)) + spread, lower)


def test_who_is_best_on_an_axis_is_beaten_by_nobody_and_who_is_worse_on_both_is() -> None:
    erased = axis(0.1, 0.3, 0.5, 0.4, lower=True, noise=0.02)
    kept = axis(0.5, 0.7, 0.9, 0.6, lower=False, noise=0.02, seed=1)
    assert beaten_by([erased, kept]) == [[], [], [], [1]]


def test_as_good_on_one_and_surely_better_on_the_other_is_enough() -> None:
    assert beaten_by([axis(0.2, 0.2, lower=True), axis(0.9, 0.5, lower=False)]) == [[], [0]]
    assert beaten_by([axis(0.2, 0.2, lower=True), axis(0.9, 0.9, lower=False)]) == [[], []], "equals"


def test_better_by_chance_takes_nobody_from_the_front() -> None:
    """Two methods that are the same: in few tables does one seem to beat the other."""
    rng = np.random.default_rng(0)
    taken = 0
    for _ in range(200):
        first, second = (Axis(rng.normal(0, 1, (2, 12)), lower) for lower in (True, False))
        taken += any(beaten_by([first, second]))
    assert taken / 200 <= ALPHA + 0.03


def test_few_prompts_beat_nobody() -> None:
    axes = [Axis(one.values[:, :4], one.lower) for one in (axis(0, 1, lower=True), axis(1, 0, lower=False))]
    assert beaten_by(axes) == [[], []]


@pytest.mark.parametrize("at_once", [1, 3])
def test_how_many_pairs_are_tested_together_changes_nothing(
    at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    axes = [many(12, lower=True), many(12, lower=False, seed=1)]
    expected = beaten_by(axes)
    monkeypatch.setattr(pareto, "PAIRS_AT_ONCE", at_once)
    assert beaten_by(axes) == expected and any(expected)


def test_memory_does_not_grow_with_the_pairs() -> None:
    def peak(methods: int) -> int:
        tracemalloc.start()
        beaten_by([many(methods, lower=True), many(methods, lower=False, seed=1)])
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return most

    assert peak(128) < 1.5 * peak(64), "four times as many pairs"


def many(methods: int, *, lower: bool, seed: int = 0) -> Axis:
    """The first of them best, the last worst, on every axis."""
    levels = np.linspace(0.1, 0.9, methods)
    return axis(*(levels if lower else levels[::-1]), lower=lower, noise=0.3, seed=seed)
