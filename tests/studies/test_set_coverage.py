"""The sets have the true distances that the study says, and its committed figures are what the docs say."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from erasure_bench.evaluators.sets import NO_PROMPT
from erasure_bench.models.mmd import Kernels, cubic, gaussian, squared_mmd
from studies.set_coverage import (
    CENTRE,
    FEATURES,
    IN_FOLDER,
    KEPT,
    OF_PROMPT,
    PROMPTS,
    SCALE,
    SIGMA,
    SPREAD,
    UNIT,
    Scenario,
    draw,
    drawn_from,
    limits,
    page,
    repeating,
    scenarios,
)

FOUND = Path(__file__).parents[2] / "results/statistics/set-coverage.csv"
FOLDER = CENTRE + SPREAD * np.random.default_rng(9).standard_normal((IN_FOLDER, FEATURES))


@pytest.mark.parametrize("reference", ["other-seeds", "folder"])
@pytest.mark.parametrize("edit", ["nothing", "much"])
def test_large_sets_tend_to_the_closed_forms(reference: str, edit: str) -> None:
    """Independent prompts, so many that the sets' own distances are near those of all prompts."""
    one = Scenario(reference=reference, edit=edit, prompts=2000)  # type: ignore[arg-type]
    own, _ = draw(one, np.random.default_rng(0), FOLDER)
    other, of_base = draw(
        Scenario(reference="base", edit="nothing", prompts=2000), np.random.default_rng(1), FOLDER
    )
    x, y = own.values.astype(float), FOLDER if reference == "folder" else of_base.values.astype(float)
    known = limits(one, FOLDER)
    kid = squared_mmd(Kernels(cubic(x, x), cubic(y, y), cubic(x, y)), unbiased=True)
    short = [each / UNIT for each in (x, y)]
    pairs = ((0, 0), (1, 1), (0, 1))
    kernels = Kernels(*(gaussian(short[i], short[j], SIGMA) for i, j in pairs))
    cmmd = SCALE * squared_mmd(kernels, unbiased=False)
    covariances = np.cov(x.T), np.cov(y.T)
    middle = np.linalg.eigvals(covariances[0] @ covariances[1]).real
    roots = np.sqrt(np.maximum(middle, 0)).sum()
    fid = np.square(x.mean(0) - y.mean(0)).sum() + sum(map(np.trace, covariances)) - 2 * roots
    assert kid == pytest.approx(known["kid"], abs=0.05 * (1 + known["kid"]))
    assert cmmd == pytest.approx(known["cmmd"], abs=0.03 * (1 + known["cmmd"]))
    assert -0.05 < (fid - known["fid"]) / (1 + known["fid"]) < 0.2, "too large by a little even here"


def test_pictures_share_what_they_are_said_to_share() -> None:
    one = Scenario(reference="base", edit="little", prompts=3000, pictures=2)
    own, base = draw(one, np.random.default_rng(2), FOLDER)
    standard = (own.values - drawn_from("little").mean) / SPREAD
    of_base = (base.values - CENTRE) / SPREAD
    of_prompt = np.corrcoef(standard[::2].ravel(), standard[1::2].ravel())[0, 1]
    of_noise = np.corrcoef(standard.ravel(), of_base.ravel())[0, 1]
    assert of_prompt == pytest.approx(OF_PROMPT, abs=0.01)
    assert of_noise == pytest.approx(OF_PROMPT + (1 - OF_PROMPT) * KEPT["little"], abs=0.01)
    assert own.twins(base) is not None
    _, others = draw(
        Scenario(reference="other-seeds", edit="little", prompts=9), np.random.default_rng(2), FOLDER
    )
    assert (others.prompts != NO_PROMPT).all()


def test_copies_are_as_many_as_they_are_said_to_be() -> None:
    row = repeating(12, 0.5, 400, np.random.default_rng(3))
    assert row["mean"] == pytest.approx(0.5 * (1 - 0.5**11), abs=0.02)


def test_the_grid_spans_references_edits_and_sizes() -> None:
    grid = list(scenarios())
    assert len(set(grid)) == len(grid) and {one.prompts for one in grid} == set(PROMPTS)
    assert {(one.reference, one.edit) for one in grid} == {
        (reference, edit)
        for reference in ("base", "other-seeds", "folder")
        for edit in ("nothing", "little", "much")
    } - {("base", "nothing")}


def test_the_committed_study_is_what_its_page_says() -> None:
    found = pd.read_csv(FOUND)
    simulations = int(FOUND.with_suffix(".md").read_text().split("set_coverage`: ")[1].split()[0])
    assert page(found, simulations) == FOUND.with_suffix(".md").read_text()
    kid = found[found["measure"] == "kid"]
    assert kid["here"].min() >= 0.88 and kid["at_last"].min() >= 0.88
    # Its noise floor was as far below 0 as three of its standard deviations before pairs of one prompt went.
    assert (kid["bias"].abs() < 0.35 * kid["sd"]).all()
    fid = found[found["measure"] == "fid"]
    assert (fid["bias"] > 0).all(), "never too small"
