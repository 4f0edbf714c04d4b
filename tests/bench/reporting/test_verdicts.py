"""Verdicts from scores: three states of a bar, who may be the best, places, and what seeds agree on."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import numpy as np
import pytest
from pandas import DataFrame
from scipy import stats

from erasure_bench.bench.reporting.leaderboard import Row, rows_of
from erasure_bench.bench.reporting.rivals import may_be_best
from erasure_bench.bench.reporting.scores import RUN_COLUMNS
from erasure_bench.bench.reporting.tabled import Measured, Tabled, tabled
from erasure_bench.bench.reporting.verdict_notes import verdict_notes
from erasure_bench.bench.reporting.verdicts import judged, retests
from erasure_bench.bench.running.failures import Failure
from erasure_bench.evaluators.base import Metric, by_role

BASE = "base"
PROBABILITY = Metric("p", "probability", "share", (0.0, 1.0), by_role("lower", "higher"))
MOOD = Metric("mood", "mood", "share", (0.0, 1.0), by_role("neither", "neither"))
Values = Mapping[str, np.ndarray]
"""Of each method an array [seeds, prompts]."""


def table_of(
    target: Values,
    retention: Values | None = None,
    metric: Metric = PROBABILITY,
    concepts: Sequence[str] = ("cat",),
) -> Tabled:
    """All concepts have the same prompts and scores."""
    roles = {"target": target} | ({"retention": retention} if retention else {})
    rows = [
        (method, concept, seed, role, "e", "key", False, f"{role}/{prompt}", 0, metric.name, value, "ok", "")
        for role, values in roles.items()
        for method, array in values.items()
        for concept in concepts
        for seed, of_seed in enumerate(np.atleast_2d(array))
        for prompt, value in enumerate(of_seed)
    ]
    seeds = len(np.atleast_2d(next(iter(target.values()))))
    measured = Measured(
        methods=list(target),
        baseline=BASE,
        roles={concept: tuple(roles) for concept in concepts},  # type: ignore[misc]
        metrics=[("e", metric)],
        seeds=range(seeds),
        pictures={},
    )
    return tabled(DataFrame(rows, columns=list(RUN_COLUMNS)), measured)


def verdicts(table: Tabled, failures: Iterable[Failure] = ()) -> dict[tuple[str, str, str], Row]:
    rows = judged(table, rows_of(table, failures, {}))
    return {(row.method, row.role, row.concept): row for row in rows}


def full(value: float, prompts: int = 96) -> np.ndarray:
    return np.full(prompts, value)


def test_a_bar_is_met_or_missed_by_the_whole_interval_alone() -> None:
    lost = full(1.0)
    lost[:40] = 0
    found = verdicts(
        table_of(
            {BASE: full(1.0), "gone": full(0.0), "half": full(0.5), "whole": full(1.0)},
            {
                BASE: full(1.0),
                "gone": full(1.0),
                "half": lost,
                "whole": np.where(np.arange(96) < 8, 0.0, 1.0),
            },
        )
    )
    assert [found[method, "target", "cat"].verdict for method in (BASE, "gone", "half", "whole")] == [
        *(None, "met", "undecided", "missed")
    ]
    assert [found[method, "retention", "cat"].verdict for method in (BASE, "gone", "half", "whole")] == [
        *(None, "met", "missed", "undecided")
    ]


def test_what_is_gone_has_an_interval_that_the_verdict_is_of() -> None:
    rng = np.random.default_rng(0)
    row = verdicts(table_of({BASE: 1 - 0.1 * rng.random(48), "m": 0.3 * rng.random(48)}))[
        "m", "target", "cat"
    ]
    assert row.gone is not None and row.gone_low is not None and row.gone_high is not None
    assert row.value is not None and row.change is not None
    assert row.gone == pytest.approx(-row.change / (row.value - row.change))
    assert 0.5 < row.gone_low < row.gone < row.gone_high < 1 and row.verdict == "met"


def test_few_prompts_decide_nothing_even_where_nothing_changed() -> None:
    """Of 12 prompts none lost: a tenth could be, and none of 12 had shown it with a chance of .9^12."""
    few = verdicts(table_of({BASE: full(1, 12), "m": full(0, 12)}, {BASE: full(1, 12), "m": full(1, 12)}))
    row = few["m", "retention", "cat"]
    assert row.change == 0 and row.verdict == "undecided" and row.same_p == pytest.approx(0.9**12)
    assert few["m", "target", "cat"].verdict == "met"


def test_nothing_to_erase_is_no_share_and_no_verdict() -> None:
    row = verdicts(table_of({BASE: full(0.0), "m": full(0.0)}))["m", "target", "cat"]
    assert row.gone is None and row.verdict is None


def test_what_marks_a_collapse_has_no_bar_nor_has_a_measure_without_a_share() -> None:
    nothing = replace(PROBABILITY, tells_collapse=True)
    cosine = replace(PROBABILITY, bounds=(-1.0, 1.0), kind="free")
    values = {BASE: full(0.9), "m": full(0.0)}
    for metric in (nothing, cosine):
        found = verdicts(table_of(values, values, metric))
        assert {row.verdict for row in found.values()} == {None}


def test_no_interval_reaches_past_what_is_possible() -> None:
    """Of a measure that keeps far from its bounds: with few prompts Student's t alone goes past them."""
    distance = replace(PROBABILITY, bounds=(0.0, math.inf), kind="free")
    few = np.array([0.01, 0.4, 0.02, 0.03])
    row = verdicts(table_of({BASE: few, "m": few}, metric=distance))["m", "target", "cat"]
    spread = few.std(ddof=1) / 2 * stats.t.ppf(0.975, 3)
    assert few.mean() - spread < 0.0 == row.low
    assert row.high == pytest.approx(few.mean() + spread)


def test_all_that_the_prompts_do_not_tell_from_the_best_are_the_best() -> None:
    rng = np.random.default_rng(0)
    base = rng.uniform(0.2, 0.6, 24)
    found = verdicts(
        table_of(
            {
                BASE: base - 0.2,
                "best": base,
                "equal": base + rng.normal(0, 0.02, 24),
                "worse": base + 0.1,
            }
        )
    )
    assert [found[name, "target", "overall"].best for name in (BASE, "best", "equal", "worse")] == [
        *(False, True, True, False)
    ]
    assert (found["worse", "target", "overall"].best_p or 1) < 0.01
    ranks = [found[name, "target", "overall"] for name in ("best", "equal", "worse")]
    assert [row.rank_high for row in ranks] == [2, 2, 3] and ranks[2].rank_low == 3
    assert found[BASE, "target", "overall"].rank is None
    assert found["best", "target", "cat"].best and found["best", "target", "cat"].rank is None


def test_the_second_are_those_of_the_others_that_are_not_told_from_their_best() -> None:
    rng = np.random.default_rng(0)
    base = rng.uniform(0.2, 0.6, 24)
    levels = {BASE: base, "best": base - 0.2, "next": base - 0.1, "as good": base - 0.1, "last": base}
    levels["as good"] = levels["as good"] + rng.normal(0, 0.02, 24)
    found = verdicts(table_of(levels))
    second = [name for name in levels if found[name, "target", "overall"].second]
    assert second == ["next", "as good"]
    assert not any(row.best and row.second for row in found.values())


def test_where_the_others_are_not_told_apart_none_is_second() -> None:
    """A mark on all of them would say no more than that they are not the best."""
    levels = {BASE: full(0.9), "best": full(0.1), "b": full(0.3), "c": full(0.3)}
    found = verdicts(table_of(levels))
    assert found["best", "target", "overall"].best
    assert not any(row.second for row in found.values())


def test_where_nobody_is_told_from_the_best_nobody_is_marked() -> None:
    found = verdicts(table_of({BASE: full(0.9), "a": full(0.2), "b": full(0.2)}))
    assert not any(row.best for row in found.values())
    alone = verdicts(table_of({BASE: full(0.9), "a": full(0.2)}))
    assert not any(row.best for row in alone.values())


def test_concepts_that_share_prompts_are_no_more_evidence() -> None:
    """Five prompts tell nothing apart, however many concepts they stand under."""
    values = {BASE: full(0.9, 5), "a": full(0.1, 5), "b": full(0.5, 5)}
    found = verdicts(table_of(values, concepts=[f"c{i}" for i in range(10)]))
    assert found["b", "target", "overall"].best_p == pytest.approx(2 / 2**5)
    assert not found["a", "target", "overall"].best


def test_what_lacks_scores_failed_or_only_describes_is_never_the_best() -> None:
    values = {BASE: full(0.9), "a": full(0.1), "b": full(0.3), "c": full(0.5)}
    table = table_of(values)
    row = verdicts(table)["a", "target", "overall"]
    assert row.best and may_be_best(row, BASE)
    assert not may_be_best(replace(row, status="partial"), BASE)
    assert not may_be_best(replace(row, method=BASE), BASE)
    assert not may_be_best(replace(row, value=None, status="failed"), BASE)

    rows = [replace(row, status="partial") if row.method == "a" else row for row in rows_of(table, (), {})]
    found = {(row.method, row.scope): row for row in judged(table, rows)}
    assert [found[name, "overall"].best for name in "abc"] == [False, True, False]
    assert found["a", "overall"].rank is None

    assert not any(row.best or row.rank for row in verdicts(table_of(values, metric=MOOD)).values())


def test_a_picture_that_failed_takes_the_mark_away() -> None:
    broken = Failure(method="a", concept="cat", seed=0, stage="generate", reason="it broke", role="target")
    found = verdicts(table_of({BASE: full(0.9), "a": full(0.1), "b": full(0.3), "c": full(0.5)}), [broken])
    assert not found["a", "target", "overall"].best and found["b", "target", "overall"].best


def test_the_smallest_change_that_is_seen_falls_with_the_prompts() -> None:
    rng = np.random.default_rng(0)
    sizes = {}
    for prompts in (12, 48, 192):
        values = {name: rng.normal(0.5, 0.15, prompts).clip(0, 1) for name in (BASE, "m")}
        sizes[prompts] = verdicts(table_of(values))["m", "target", "cat"].detectable
    found = np.array(list(sizes.values()), dtype=float)
    assert found == pytest.approx(2.8 * 0.15 * 2**0.5 / np.sqrt([12, 48, 192]), rel=0.4)


def test_scores_that_hardly_differ_make_no_small_change_seen() -> None:
    """On one of 12 prompts a change that few carry shows in four cases of five if they are one in eight."""
    values = {BASE: np.full(12, 0.7), "m": np.full(12, 0.5) + 1e-6 * np.arange(12)}
    found = verdicts(table_of(values))["m", "target", "cat"].detectable
    assert found == pytest.approx(1 - 0.2 ** (1 / 12))


def test_so_few_prompts_that_no_change_is_seen_have_no_smallest_one() -> None:
    values = {BASE: full(0.5, 3), "m": np.array([0.1, 0.9, 0.5])}
    assert verdicts(table_of(values))["m", "target", "cat"].detectable is None


def test_seeds_agree_as_far_as_their_orders_do() -> None:
    prompts = np.random.default_rng(0).normal(0, 0.01, 30)
    levels = {BASE: (0.9, 0.9), "a": (0.1, 0.2), "b": (0.2, 0.1), "c": (0.5, 0.5), "d": (0.6, 0.7)}
    values = {name: np.array([level + prompts for level in of]) for name, of in levels.items()}
    table = table_of(values)
    rows = judged(table, rows_of(table, (), {}))
    (found,) = retests(table, rows)
    assert (found.role, found.title, found.methods) == ("target", "probability", 4)
    assert found.tau == pytest.approx((5 - 1) / 6), "one of the six pairs changes places"
    one_seed = table_of({name: array[:1] for name, array in values.items()})
    assert retests(one_seed, rows) == []
    places = {row.method: (row.rank_low, row.rank_high) for row in rows if row.scope == "overall"}
    assert places["a"] == places["b"] == (1, 2) and places["d"] == (4, 4)


def test_the_foot_says_how_the_verdicts_came_about() -> None:
    rng = np.random.default_rng(0)
    table = table_of(
        {name: level + 0.1 * rng.random((2, 12)) for name, level in {BASE: 0.8, "a": 0.1, "b": 0.5}.items()}
    )
    rows = judged(table, rows_of(table, (), {}))
    notes = verdict_notes(rows, retests(table, rows), (3, 4))
    assert [note.split(":")[0] for note in notes] == [
        "▸ or bold",
        "Bars",
        "The smallest change that a paired t test of so many prompts finds with a power of 80%, and that one "
        "of them shows if few carry it, median over methods",
        "Order of the methods between seeds 3, 4 (Kendall's τ-b, 1",
    ]
    assert (
        "Holm" in notes[0]
        and "▹, italics or underlined" in notes[0]
        and "at least 50% gone" in notes[1]
        and "at most 10 points lost" in notes[1]
    )
    assert "probability: target 0.1" in notes[2] and "probability: target 1.00. Others" in notes[3]
    assert verdict_notes([], [], (0,)) == []
