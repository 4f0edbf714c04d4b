"""Seeds are trainings where a method has a model for each, else more pictures of the one model."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from studies.pooling import CASE, PICTURE, change_in_points, gone, read_scores, trained_anew

RESULTS = Path(__file__).parents[2] / "results" / "microworld"


def pictures(seeds: int, images: int) -> pd.DataFrame:
    """`none` and `m` on two concepts with six prompts, seeds × images pictures of each; the same numbers
    for the same product."""
    generator = np.random.default_rng(5)
    rows = []
    for concept in ("cat", "dog"):
        for prompt in range(6):
            for place in range(seeds * images):
                base, own = generator.uniform(0.6, 1.0), generator.uniform(0.0, 0.4)
                seed, image = divmod(place, images)
                key = ("s", concept, f"{concept}/{prompt}", seed, image)
                rows += [(*key, "none", base), (*key, "m", own)]
    return pd.DataFrame(rows, columns=[*PICTURE, "method", "value"])


def compared(scores: pd.DataFrame, trained: bool) -> dict[str, tuple[float, ...]]:
    wide = scores.pivot_table(index=PICTURE, columns="method", values="value")
    cases = [("s", "cat"), ("s", "dog")] if trained else []
    return {
        "gone": tuple(gone(wide["m"], wide["none"], cases, "bounded")),
        "change": tuple(change_in_points(wide["m"], wide["none"], cases, "share")),
    }


def test_seeds_of_one_model_are_more_pictures_of_it() -> None:
    as_seeds, as_images = pictures(3, 1), pictures(1, 3)
    for question, found in compared(as_seeds, trained=False).items():
        assert found == pytest.approx(compared(as_images, trained=False)[question])


def test_trainings_are_a_sample_too() -> None:
    scores = pictures(3, 1)
    bad = (scores["method"] == "m") & (scores["seed"] == 2)
    scores.loc[bad, "value"] += 0.5  # one training of three fails
    once, thrice = compared(scores, trained=False), compared(scores, trained=True)
    for question, (value, low, high) in once.items():
        assert thrice[question][0] == pytest.approx(value)
        assert thrice[question][1] < low and thrice[question][2] > high


def test_the_run_says_which_models_drew() -> None:
    scores = read_scores(RESULTS / "microworld-instances", "i")
    assert scores["model"].notna().all() and set(scores["seed"]) == {0, 1, 2}
    assert trained_anew(scores, "none") == trained_anew(scores, "uce") == set()
    assert len(trained_anew(scores, "esd-x")) == len(scores.groupby(CASE)) == 4
