"""How many prompts an order of methods needs, where that can be worked out by hand."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm

from erasure_bench.errors import BenchError
from studies import prompts_needed as study
from studies.prompts_needed import Cost, Means, Spread, agreement, needed, spread_of

RESULTS = Path(__file__).parent.parent.parent / "results/microworld"


def two_methods(difference: float, deviation: float) -> Spread:
    """Two methods that prompts move independently, each by `deviation` / √2; no seeds, no pictures."""
    nothing = np.zeros((2, 2))
    return Spread(np.array([0.0, difference]), np.eye(2) * deviation**2 / 2, np.zeros(2), nothing)


@pytest.mark.parametrize("prompts", [4, 16, 64])
def test_two_methods_agree_as_often_as_the_normal_distribution_says(prompts: int) -> None:
    """τ-b of two is 1 or −1; with p the chance of the right order its mean is (2p − 1)²."""
    right = norm.cdf(0.1 * prompts**0.5 / 0.5)
    expected = (2 * right - 1) ** 2
    assert agreement(two_methods(0.1, 0.5), prompts, 1) == pytest.approx(expected, abs=0.15)


def test_as_many_prompts_are_needed_as_that_asks_for() -> None:
    """(2p − 1)² = .9 at p = .974, 1.95 deviations of the difference: n = (1.95 · 0.5 / 0.1)² = 95."""
    assert needed(two_methods(0.1, 0.5), 1, distinct=1.0) in (64, 96, 128)
    assert needed(two_methods(0.2, 0.5), 1, distinct=1.0) in (16, 24, 32)
    assert needed(two_methods(0.2, 0.5), 1, distinct=4.0) in (4, 6, 8), (
        "four concepts have four times as many"
    )
    assert needed(two_methods(0.0001, 0.5), 1, distinct=1.0) is None
    assert needed(two_methods(0.2, 0.0), 1, distinct=1.0) == study.GRID[0]


def test_what_a_training_seed_moves_no_number_of_prompts_mends() -> None:
    still = two_methods(0.2, 0.5)
    moved = Spread(still.mean, still.prompt, np.full(2, 0.04), still.rest)
    assert needed(moved, 1, distinct=1.0) is None
    assert agreement(moved, 10**6, 30) > 0.9 > agreement(moved, 10**6, 1)


def test_the_parts_of_the_scores_are_found_again() -> None:
    rng = np.random.default_rng(0)
    prompts, seeds, methods = 4000, 12, 3
    mean = np.array([0.1, 0.2, 0.9])
    shared = rng.normal(0, 0.2, (prompts, 1, 1))
    seed = rng.normal(size=(1, seeds, methods))
    seed = (seed - seed.mean(axis=1)) / seed.std(axis=1, ddof=1) * np.array([0.0, 0.1, 0.3])
    scores = mean + shared + seed + rng.normal(0, 0.4, (prompts, seeds, methods))
    found = spread_of(scores, groups=1)
    assert found.mean == pytest.approx(mean, abs=0.02)
    assert found.prompt == pytest.approx(np.full((3, 3), 0.04), abs=0.004)
    assert found.rest == pytest.approx(np.eye(3) * 0.16, abs=0.003)
    assert found.seed == pytest.approx([0.0, 0.01, 0.09], abs=0.001)


def test_means_that_differ_by_chance_alone_are_taken_for_equal() -> None:
    scores = np.random.default_rng(0).normal(size=(12, 3, 40))
    assert np.ptp(spread_of(scores, groups=1).mean) < 0.5 * np.ptp(scores.mean(axis=(0, 1)))


def frame(rows: list[tuple[str, str, float]]) -> pd.DataFrame:
    table = pd.DataFrame(rows, columns=["concept", "prompt_id", "value"])
    other = table.assign(value=table["value"] + 1)
    return pd.concat(
        [
            one.assign(method=method, seed=seed)
            for seed in (0, 1)
            for method, one in (("a", table), ("b", other))
        ]
    )


def test_prompts_that_concepts_share_are_one() -> None:
    shared = [("cat", "p", 0.0), ("cat", "q", 0.4), ("dog", "p", 0.2), ("dog", "q", 1.0)]
    concepts, prompts, groups, scores = study._laid_out(frame(shared))
    assert (concepts, prompts, groups, scores.shape) == (2, 2.0, 1, (2, 2, 2))
    assert scores[:, 0, 0] == pytest.approx([0.1, 0.7]), "p: the mean of .0 and .2"

    apart = [("cat", "p", 0.0), ("cat", "q", 0.4), ("dog", "r", 0.2), ("dog", "s", 1.0)]
    concepts, prompts, groups, scores = study._laid_out(frame(apart))
    assert (concepts, prompts, groups, scores.shape) == (2, 2.0, 2, (4, 2, 2))
    assert scores[:, 0, 0].mean() == pytest.approx(0.4)
    assert scores[:, 1, 1] - scores[:, 1, 0] == pytest.approx(np.ones(4))


def test_missing_scores_are_refused() -> None:
    with pytest.raises(BenchError, match="missing"):
        study._laid_out(frame([("cat", "p", 0.0), ("cat", "q", float("nan"))]))


def test_the_columns_are_the_tables() -> None:
    """Their means are the committed numbers of the leaderboard."""
    boards = sorted(RESULTS.glob("*/leaderboard.csv.gz"))
    if not boards:
        pytest.skip("no board of a built-in suite is committed")
    folder = boards[0].parent
    table = pd.read_csv(boards[0]).query("scope == 'overall'")
    found = list(study.columns(folder.name, folder))
    assert {"target", "neighbour", "retention"} <= {column.role for column in found}
    for column in found:
        own = table[(table["role"] == column.role) & (table["metric"] == column.metric)]
        values = own[own["method"] != "none"].sort_values("method")["value"]
        assert column.scores.mean(axis=(0, 1)) == pytest.approx(values.to_numpy())


def test_hours_are_training_on_the_cores_and_pictures_on_all() -> None:
    costs = [Cost("s", 100, 7200.0), Cost("t", 50, 3600.0)]
    means = Means(hours=2.0, cores=3, pictures_per_second=5.0)
    assert means.hours_for(costs, 0) == pytest.approx(1.0)
    assert means.hours_for(costs, 120) == pytest.approx(2.0)
    assert means.affordable(costs) == 120


def test_the_page_says_what_the_table_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(study.bars_needed, "MOST", 40)
    row = {
        **{"suite": "s", "role": "target", "evaluator": "e", "metric": "m", "title": "share"},
        **{"prompts": 12.0, "now": 0.8, "between_seeds": 0.7, "between_seeds_expected": 0.75},
        **{f"tau_{n}_prompts_3_seeds": 0.9 for n in study.SHOWN},
        **{"needed_1_seeds": None, "needed_3_seeds": 24.0},
    }
    table = pd.DataFrame([row, row | {"suite": "t", "needed_3_seeds": 48.0}])
    text = study.page(table, [Cost("s", 100, 7200.0)], Means(2.0, 2, 8.0))
    assert "| target | share | 2 | > 384 [> 384, > 384] | 48 [24, 48] | 12 to 12 | 0.80 |" in text
    assert "| target | share | 24 | 48 |" in text
    assert "| prompts | 36 | > 40 | > 40 | > 40 |" in text, (
        "with 36 prompts a method that loses nothing meets it"
    )
    assert json.dumps(text, ensure_ascii=False).count("0.70") == 2
