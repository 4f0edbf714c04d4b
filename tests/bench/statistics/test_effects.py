"""What prompts and seeds make of a number, by hand."""

import numpy as np
import pytest

from erasure_bench.bench.statistics.cells import Cells, Groups
from erasure_bench.bench.statistics.effects import effects


def cells(*rows: tuple[int, int, int, float], strata: int) -> Cells:
    """Stratum, cluster, seed, value."""
    stratum, cluster, seed, value = (np.array(column) for column in zip(*rows, strict=True))
    return Cells.of(stratum, cluster, seed, value.astype(float), strata)


def test_of_one_concept_they_are_its_scores() -> None:
    found = effects(
        cells((0, 4, 0, 0.1), (0, 4, 1, 0.3), (0, 7, 0, 0.5), (0, 7, 1, 0.9), strata=1),
        Groups.alone(np.array([False])),
    )
    clusters, values = found.of(0)
    assert clusters.tolist() == [4, 7]
    assert values == pytest.approx(np.array([[0.1, 0.3], [0.5, 0.9]]))


def test_what_concepts_are_is_no_effect_of_their_prompts() -> None:
    """Two concepts of level .2 and .8 with prompts of their own: only ±.1 within each is the prompts'."""
    apart = cells((0, 0, 0, 0.1), (0, 1, 0, 0.3), (1, 2, 0, 0.7), (1, 3, 0, 0.9), strata=2)
    _, values = effects(apart, Groups(np.array([0, 0]), np.array([False]))).of(0)
    assert values[:, 0] == pytest.approx([0.4, 0.6, 0.4, 0.6])


def test_a_prompt_that_concepts_share_counts_with_all_of_them() -> None:
    shared = cells((0, 0, 0, 0.1), (0, 1, 0, 0.3), (1, 0, 0, 0.7), (1, 1, 0, 0.9), strata=2)
    clusters, values = effects(shared, Groups(np.array([0, 0]), np.array([False]))).of(0)
    assert clusters.tolist() == [0, 1]
    assert values[:, 0] == pytest.approx([0.4, 0.6])


def test_what_is_not_trained_anew_is_the_same_for_all_seeds() -> None:
    both = cells((0, 0, 0, 0.2), (0, 1, 0, 0.4), (1, 0, 0, 0.2), (1, 0, 1, 0.6), (1, 1, 0, 0.5), strata=2)
    found = effects(both, Groups.alone(np.array([False, False])))
    assert found.of(0)[1] == pytest.approx(np.array([[0.2, 0.2], [0.4, 0.4]]))
    assert found.of(1)[1][0] == pytest.approx([0.2, 0.6])
    for number, mean in enumerate((0.3, 0.45)):
        assert found.of(number)[1].mean() == pytest.approx(mean)


def test_totals_are_means_of_so_many_times_a_prompt() -> None:
    counts = cells((0, 0, 0, 2.0), (0, 1, 0, 4.0), strata=1)
    _, values = effects(counts, Groups.alone(np.array([True]))).of(0)
    assert values[:, 0] == pytest.approx([4.0, 8.0]) and values.mean() == pytest.approx(6.0)
