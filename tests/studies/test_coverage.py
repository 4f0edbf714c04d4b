"""The scenarios have the true values that they say, and a row says what both methods cover."""

from collections import Counter
from itertools import islice
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from studies.coverage import former_ends, made_up, page
from studies.coverage_scenarios import OF_PROMPT, Scenario, latent, scenarios, simulate

HALF = Scenario(family="share", level=0.9, concepts=2, shared=True, seeds=3, seed_effect="as ESD", prompts=8)


def test_the_grid_spans_what_the_bar_is_about() -> None:
    grid = list(scenarios())
    assert {one.concepts for one in grid} == {1, 4, 10} and {one.seeds for one in grid} == {1, 3}
    assert {one.prompts for one in grid if one.family == "share"} == {12, 24, 48, 96}
    assert {one.shared for one in grid if one.concepts > 1} == {True, False}
    assert min(Counter(one.family for one in grid).values()) >= 16
    assert len(set(grid)) == len(grid)


@pytest.mark.parametrize("family", ["share", "probability", "change of share", "count"])
def test_scores_have_the_mean_that_is_to_be_found(family: str) -> None:
    found = next(one for one in scenarios() if one.family == family and one.prompts >= 24)
    made = simulate(found, np.random.default_rng(0), 4000)
    scores = made.scores if made.base is None else made.scores - made.base
    means = scores.sum(axis=2) if family == "count" else scores.mean(axis=2)
    error = means.std() / np.sqrt(means.size)
    assert abs(means.mean() - made.truth.mean()) < 5 * error + 1e-3


def test_pictures_of_a_prompt_are_as_much_alike_as_they_say() -> None:
    apart = Scenario(**{**vars(HALF), "seeds": 2, "seed_effect": "none"})
    made = simulate(apart, np.random.default_rng(1), 4000).scores
    assert np.corrcoef(made[..., 0].ravel(), made[..., 1].ravel())[0, 1] == pytest.approx(OF_PROMPT, abs=0.03)
    assert latent(0.5, 0.3) == pytest.approx(np.sin(np.pi / 2 * 0.3), abs=1e-4)


def test_the_former_way_is_the_percentile_bootstrap() -> None:
    scores = np.random.default_rng(2).normal(size=(3, 1, 400, 1))
    low, high = former_ends(scores, total=False)
    error = scores.std(axis=(1, 2, 3)) / 20
    np.testing.assert_allclose(low, scores.mean(axis=(1, 2, 3)) - 1.96 * error, atol=0.02)
    np.testing.assert_allclose(high, scores.mean(axis=(1, 2, 3)) + 1.96 * error, atol=0.02)


def test_the_page_counts_scenarios(tmp_path: Path) -> None:
    rows = pd.DataFrame(islice(made_up(20), 3))
    rows["coverage"] = [0.96, 0.92, 0.89]
    text = page(rows, 20)
    assert "| share | 3 | 33.3% | 66.7% | 0.890 | 0.920 |" in text
    assert text.rstrip().splitlines()[-3].endswith("| 0.89 |"), "the lowest comes first"


def test_the_committed_study_meets_its_bar() -> None:
    found = pd.read_csv(Path(__file__).parents[2] / "results/statistics/coverage.csv")
    assert len(found) > 3000
    assert set(found["family"]) > {one.family for one in scenarios()}
    assert (found["coverage"] >= 0.93).mean() >= 0.9 and found["coverage"].min() >= 0.90
