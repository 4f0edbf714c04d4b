"""The robustness table: what counts as a success, what it stands beside, and what a missing score does."""

import io
from typing import Any

import numpy as np
import pandas as pd
import pytest
from pandas import DataFrame
from rich.console import Console

from erasure_bench.bench.reporting.robustness import (
    Rate,
    Robustness,
    RobustnessRow,
    as_asked_or_any,
    as_many,
    coherent_tries,
    outcomes,
)
from erasure_bench.bench.reporting.robustness_table import HEADINGS, on_terminal


def tries(*rows: tuple[str, int, float, float], **more: Any) -> DataFrame:
    """Prompt, number, loss and value of each try."""
    frame = DataFrame(rows, columns=["prompt_id", "number", "loss", "value"])
    return frame.assign(**{"method": "uce", "concept": "cat", "seed": 0, **more})


def test_the_chosen_try_is_that_of_the_lowest_loss_whatever_it_shows() -> None:
    found = outcomes(tries(("p", 0, 0.2, 1.0), ("p", 1, 0.1, 0.0)))
    assert found[["chosen", "any"]].to_numpy().tolist() == [[0.0, 1.0]]


def test_of_equal_losses_the_first_is_chosen() -> None:
    assert outcomes(tries(("p", 1, 0.0, 1.0), ("p", 0, 0.0, 0.0)))["chosen"].tolist() == [0.0]


def test_a_control_counts_as_many_tries_as_the_attack_had_of_each_prompt() -> None:
    """On any method's edit: one whose attack failed takes none of the others' control away."""
    several = tries(*((prompt, number, 0.0, number == 2) for prompt in "pq" for number in range(3)))
    made = pd.concat([tries(("p", 0, 0.5, 0.0), ("p", 1, 0.5, 0.0)), tries(("q", 0, 0.5, 0.0))])
    by_another = tries(*(("q", number, 0.5, 0.0) for number in range(3)), method="esd-x")
    alone = as_many(several, made)
    assert sorted(zip(alone["prompt_id"], alone["number"], strict=True)) == [("p", 0), ("p", 1), ("q", 0)]
    assert outcomes(alone)["any"].tolist() == [0.0, 0.0]
    both = as_many(several, pd.concat([made, by_another]))
    assert both["value"].tolist() != [] and outcomes(both)["any"].tolist() == [0.0, 1.0]


def test_a_try_without_a_score_is_no_failure_and_no_success() -> None:
    lacking = tries(("p", 0, 0.1, np.nan), ("p", 1, 0.2, 0.0), ("q", 0, 0.1, np.nan), ("q", 1, 0.2, 1.0))
    found = outcomes(lacking)
    assert np.isnan(found["chosen"]).all() and np.isnan(found["any"]).all()


def test_scores_that_are_lacking_make_no_attack_stronger() -> None:
    """Of 2,000 prompts with four tries, each a success in 10 % and without a score in 20 % of all cases."""
    draw = np.random.default_rng(0)
    shown = (draw.random((2000, 4)) < 0.1).astype(float)
    scored = np.where(draw.random(shown.shape) < 0.2, np.nan, shown)
    rows = [(f"p{p:04d}", n, 0.0, scored[p, n]) for p in range(2000) for n in range(4)]
    found = outcomes(tries(*rows))["any"]
    assert found.notna().sum() > 700
    assert abs(found.mean() - shown.max(1).mean()) < 0.05


def test_a_picture_is_coherent_where_everyone_who_speaks_of_the_concept_says_so() -> None:
    nothing, incoherent = (
        tries(*((p, 0, 0.0, value) for p, value in zip("pqr", values, strict=True)), metric=name)
        for name, values in {"nothing": (0.0, 0.0, 1.0), "incoherent": (0.0, np.nan, 0.0)}.items()
    )
    found = coherent_tries(pd.concat([nothing, incoherent])).set_index("prompt_id")["value"]
    assert found["p"] == 1.0 and np.isnan(found["q"]) and found["r"] == 0.0
    silent = incoherent.assign(value=np.nan)
    assert coherent_tries(pd.concat([nothing, silent]))["value"].tolist() == [1.0, 1.0, 0.0]
    absent = incoherent[incoherent["prompt_id"] != "p"].assign(value=0.0)
    assert coherent_tries(pd.concat([nothing, absent]))["value"].isna().tolist() == [True, False, False]


def test_what_succeeds_as_it_is_asked_counts_among_the_successes_that_papers_report() -> None:
    """UnlearnDiffAtk's rate is of both: a prompt that needs no attack is none that withstood it."""
    units = {"method": "uce", "concept": "cat", "seed": 0, "prompt_id": ["p", "q", "r", "s"]}
    plain = pd.DataFrame({**units, "value": [1.0, 0.0, 0.0, np.nan]})
    own = pd.DataFrame({**units, "any": [0.0, 1.0, 0.0, 0.0]})
    np.testing.assert_array_equal(as_asked_or_any(plain, own)["either"], [1.0, 1.0, 0.0, np.nan])


def test_nothing_comes_of_nothing() -> None:
    assert outcomes(tries()).empty
    with pytest.raises(KeyError):
        outcomes(pd.DataFrame({"value": [1.0]}))


def test_every_part_of_a_table_that_is_too_wide_says_whose_rows_they_are() -> None:
    """At 80 columns the controls stand below: of which attack?"""
    rates: dict[str, Any] = {name: Rate(0.25, 0.03, 0.65, 8) for name in HEADINGS if name != "coherent"}
    common: dict[str, Any] = {"scope": "concept", "concept": "cat", "evaluator": "classifier"}
    common |= {"metric": "accuracy", "title": "class accuracy", "tries": 4, "control": "random-prefix"}
    table = Robustness(
        title="of cats",
        methods=("uce",),
        baseline="none",
        concepts=("cat",),
        attacks=("p4d", "img2img"),
        chosen_by={},
        rows=(
            RobustnessRow(method="uce", attack="p4d", **common, **rates),
            RobustnessRow(method="uce", attack="img2img", **common),
        ),
    )
    console = Console(width=80, file=io.StringIO())
    console.print(on_terminal(table, 80))
    lines = console.file.getvalue().splitlines()  # type: ignore[attr-defined]
    numbers = [line for line in lines if "0.25 [" in line or "–" in line]
    assert len(numbers) >= 4 and all(line.startswith("uce · ") for line in numbers)
    assert sum(line.startswith("uce · p4d (n = 4)") for line in lines) == len(numbers) / 2
