"""The front: whom no other method surely beats on all axes together."""

import numpy as np

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
