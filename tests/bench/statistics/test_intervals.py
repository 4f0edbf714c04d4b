"""Intervals against closed forms, where they degenerate, what must not matter, and that they cover."""

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import beta, gamma, t
from statsmodels.stats.proportion import proportion_confint

from erasure_bench.bench.statistics.cells import Cells, Groups
from erasure_bench.bench.statistics.intervals import Scale, change_intervals, level_intervals
from erasure_bench.bench.statistics.moments import Moments, moments

Values = NDArray[np.float64]
UNIT = (0.0, 1.0)


def of(scores: object, *, shared: bool = False, total: bool = False) -> Moments:
    """The moments of one number: scores [concepts, prompts, seeds], or fewer axes from the left."""
    table = np.asarray(scores, dtype=np.float64)
    table = table.reshape((1,) * (2 - table.ndim) + table.shape) if table.ndim < 2 else table
    table = table[..., None] if table.ndim == 2 else table
    concepts, prompts, seeds = table.shape
    cluster = np.tile(np.arange(prompts), concepts) if shared else np.arange(concepts * prompts)
    cells = Cells.of(
        np.arange(concepts).repeat(prompts * seeds),
        cluster.repeat(seeds),
        np.tile(np.arange(seeds), concepts * prompts),
        table.reshape(-1),
        concepts,
    )
    return moments(cells, Groups(np.zeros(concepts, dtype=np.int64), np.array([total])))


def ends(found: Moments, scale: Scale, bounds: tuple[float, float] = UNIT) -> tuple[float, float]:
    low, high = level_intervals(found, scale, bounds)
    return float(low[0]), float(high[0])


@pytest.mark.parametrize("scale", ["share", "bounded"])
def test_all_ones_are_clopper_and_pearsons_interval(scale: Scale) -> None:
    for prompts in (12, 48):
        exact = proportion_confint(prompts, prompts, method="beta")
        assert ends(of(np.ones(prompts)), scale) == pytest.approx((exact[0], 1.0))
        assert ends(of(np.zeros(prompts)), scale) == pytest.approx((0.0, 1 - exact[0]))
    assert ends(of(np.ones(12)), scale) == pytest.approx((0.74, 1.0), abs=0.005)


def test_zeros_and_ones_of_one_concept_are_clopper_and_pearsons_with_an_imagined_prompt() -> None:
    """Gaffke's interval of 0/1 data is Clopper and Pearson's; t and the unbiased variance widen it."""
    low, high = ends(of([1.0] * 9 + [0.0] * 3), "bounded")
    exact = beta.ppf(0.025, 9, 4), beta.ppf(0.975, 10, 3)
    assert low < exact[0] < 0.75 < exact[1] < high
    assert (low, high) == pytest.approx(exact, abs=0.06)


def test_a_share_of_independent_pictures_is_wilsons_with_the_quantile_of_t() -> None:
    prompts = 400
    low, high = ends(of([1.0] * 300 + [0.0] * 100), "share")
    size = prompts - 1  # p (1 − p) over the unbiased variance of the mean
    size *= (1.959964 / t.ppf(0.975, prompts - 1)) ** 2
    wilson = proportion_confint(0.75 * size, size, method="wilson")
    assert low == pytest.approx(wilson[0])
    exact_high = beta.ppf(0.975, 0.75 * size + 1, 0.25 * size)
    assert high == pytest.approx(max(wilson[1], exact_high))


def test_a_free_mean_is_students_t_and_an_imagined_prompt_at_its_reach() -> None:
    values = np.random.default_rng(0).normal(3.0, 2.0, 30)
    half = t.ppf(0.975, 29) * values.std(ddof=1) / np.sqrt(30)
    nowhere = (-np.inf, np.inf)
    assert ends(of(values), "free", nowhere) == pytest.approx((values.mean() - half, values.mean() + half))
    low, high = ends(of(values), "free", (0.0, np.inf))
    imagined = (1 - 0.025 ** (1 / 30)) * values.mean() / 2
    assert low == pytest.approx(values.mean() - np.hypot(half, imagined))
    assert high == pytest.approx(values.mean() + half)
    assert np.isnan(ends(of(np.full(5, 0.3)), "free", nowhere)).all(), "nothing varies and nothing is known"


def test_a_total_of_counts_is_garwoods_where_counts_are_poisson() -> None:
    """Many prompts with at most one detection each: Garwood's limits, and some room for a heavier one."""
    counts = np.zeros(4000)
    counts[:40] = 1.0
    low, high = ends(of(counts, total=True), "count", (0.0, np.inf))
    assert low == pytest.approx(gamma.ppf(0.025, 40), rel=0.01)
    assert gamma.ppf(0.975, 41) < high < gamma.ppf(0.975, 41) * 1.03
    none = ends(of(np.zeros(4000), total=True), "count", (0.0, np.inf))
    assert none[0] == 0.0 and gamma.ppf(0.975, 1) < none[1] < 6.0


def test_a_single_prompt_has_no_interval() -> None:
    for scale in ("share", "bounded", "free", "count"):
        assert np.isnan(ends(of([0.5]), scale)).all()
    assert np.isnan(ends(of([[0.5], [1.0]]), "bounded")).all()


def test_prompts_that_concepts_share_are_not_counted_again() -> None:
    """The same 12 pictures under each of 10 concepts say no more than under one."""
    scores = np.random.default_rng(1).random(12)
    once, again = of(scores), of(np.tile(scores, (10, 1)), shared=True)
    assert again.clusters[0] == 12 and again.prompt_df[0] == 11
    assert ends(again, "bounded") == pytest.approx(ends(once, "bounded"))
    apart = of(np.tile(scores, (10, 1)))
    assert apart.clusters[0] == 120 and apart.prompt_df[0] == 110
    widths = [high - low for low, high in (ends(again, "bounded"), ends(apart, "bounded"))]
    assert widths[0] > 3 * widths[1]


def test_concepts_that_share_some_prompts_are_one_whole() -> None:
    """Two of three concepts have a prompt in common: they lose one degree of freedom, the third another."""
    stratum = np.array([0, 0, 0, 1, 1, 1, 2, 2, 2])
    cluster = np.array([0, 1, 2, 2, 3, 4, 5, 6, 7])
    values = np.random.default_rng(2).random(9)
    cells = Cells.of(stratum, cluster, np.zeros(9, dtype=np.int64), values, 3)
    found = moments(cells, Groups(np.zeros(3, dtype=np.int64), np.array([False])))
    assert (found.clusters[0], found.prompt_df[0]) == (8, 6)


def test_training_seeds_widen_the_interval_by_what_they_move() -> None:
    random = np.random.default_rng(3)
    prompts = random.normal(0.5, 0.1, (1, 24, 1))
    still = np.broadcast_to(prompts, (1, 24, 3))
    moved = still + np.array([-0.1, 0.0, 0.1])
    assert of(still).seed_variance[0] == 0 and np.isinf(of(still).seed_df[0])
    found = of(moved)
    assert found.seed_variance[0] == pytest.approx(0.01 / 3 * (3 + 3) / 3)
    assert found.seed_df[0] == 2
    narrow, wide = (ends(of(scores), "free", (-np.inf, np.inf)) for scores in (still, moved))
    assert wide[1] - wide[0] > 3 * (narrow[1] - narrow[0])


def test_neither_order_nor_names_matter_nor_what_stands_beside() -> None:
    random = np.random.default_rng(4)
    stratum, cluster, seed = (axis.reshape(-1) for axis in np.indices((6, 15, 3)))
    value = random.random(stratum.size)
    groups = Groups(np.array([0, 0, 1, 1, 2, 2]), np.array([False, False, False]))
    found = moments(Cells.of(stratum, cluster, seed, value, 6), groups)
    order = random.permutation(stratum.size)
    names, seeds = random.permutation(15), np.array([2, 0, 1])
    other = moments(
        Cells.of(stratum[order], names[cluster[order]], seeds[seed[order]], value[order], 6), groups
    )
    for one, again in zip(found, other, strict=True):
        np.testing.assert_allclose(one, again, rtol=1e-12)
    own = stratum >= 4
    alone = moments(
        Cells.of(stratum[own] - 4, cluster[own], seed[own], value[own], 2),
        Groups(np.array([0, 0]), np.array([False])),
    )
    for scale in ("share", "bounded", "free", "count"):
        together = [end[2] for end in level_intervals(found, scale, UNIT)]
        assert together == [end[0] for end in level_intervals(alone, scale, UNIT)]


def change(own: Values, base: Values, scale: Scale = "share") -> tuple[float, float]:
    levels = of(own), of(base)
    low, high = change_intervals(*levels, of(own - base), scale, UNIT)
    return float(low[0]), float(high[0])


def test_an_unchanged_share_is_as_uncertain_as_what_was_not_tried() -> None:
    ones = np.ones(12)
    low, high = change(ones, ones)
    assert -low == high == pytest.approx(1 - 0.025 ** (1 / 12))


def test_pairs_that_go_together_make_a_narrower_change() -> None:
    random = np.random.default_rng(5)
    base = (random.random(60) < 0.6).astype(np.float64)
    own = base.copy()
    own[:3] = 1 - own[:3]
    shuffled = random.permutation(own)
    together, apart = change(own, base), change(shuffled, base)
    assert together[1] - together[0] < 0.6 * (apart[1] - apart[0])
    assert together[0] < own.mean() - base.mean() < together[1]


def test_missing_seeds_of_a_prompt_are_no_zeros() -> None:
    stratum, cluster, seed = (axis.reshape(-1) for axis in np.indices((1, 4, 2)))
    value = np.array([0.2, 0.4, np.nan, 0.6, 0.5, 0.5, np.nan, np.nan])
    cells = Cells.of(stratum, cluster, seed, value, 1)
    found = moments(cells, Groups.alone(np.array([False])))
    assert found.value[0] == pytest.approx((0.3 + 0.6 + 0.5) / 3)
    assert (found.clusters[0], found.pictures[0]) == (3, 5)


@pytest.mark.parametrize("concepts", [1, 10])
@pytest.mark.parametrize("level", [0.5, 0.9, 0.99])
def test_they_cover(level: float, concepts: int) -> None:
    """A small part of `studies.coverage`: 12 prompts, shared by the concepts, of which pictures are alike."""
    simulations, prompts = 400, 12
    random = np.random.default_rng([int(100 * level), concepts])
    chance = random.beta(level * 7 / 3, (1 - level) * 7 / 3, (simulations, 1, prompts))
    made = (random.random((simulations, concepts, prompts)) < chance).astype(np.float64)
    cells = Cells.of(
        np.arange(simulations * concepts).repeat(prompts),
        np.tile(np.arange(prompts), simulations * concepts),
        np.zeros(made.size, dtype=np.int64),
        made.reshape(-1),
        simulations * concepts,
    )
    groups = Groups(np.arange(simulations).repeat(concepts), np.zeros(simulations, dtype=bool))
    for scale in ("share", "bounded"):
        low, high = level_intervals(moments(cells, groups), scale, UNIT)
        assert np.mean((low <= level) & (level <= high)) >= 0.93
