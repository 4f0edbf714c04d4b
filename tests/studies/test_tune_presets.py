"""A candidate's row says all of its settings and what it did, and replaces the row of the same settings."""

import math
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from erasure_bench.methods.registry import METHODS, build_method, method_card
from studies.tune_presets import (
    Candidate,
    How,
    added,
    as_text,
    best,
    candidates_of,
    changed,
    from_text,
    in_turn,
    merged,
    read_table,
    tried,
    whole,
)
from studies.tuning_candidates import CANDIDATES
from studies.tuning_merit import by_concept, merit

RESULTS = Path(__file__).parents[2] / "results" / "microworld"


def row(method: str, concept: str, role: str, metric: str, value: float) -> dict[str, Any]:
    return {
        "method": method,
        "scope": "concept",
        "concept": concept,
        "role": role,
        "evaluator": "classifier",
        "metric": metric,
        "value": value,
    }


ROWS = [
    row("none", "red", "target", "class_probability", 0.8),
    row("none", "red", "target", "known_share", 1.0),
    row("none", "red", "target", "coherence", 0.9),
    row("none", "red", "retention", "class_accuracy", 1.0),
    row("none", "blue", "target", "class_probability", 1.0),
    row("none", "blue", "target", "known_share", 0.6),
    row("none", "blue", "retention", "class_accuracy", 0.8),
    row("dim", "red", "target", "class_probability", 0.2),
    row("dim", "red", "target", "known_share", 0.9),
    row("dim", "red", "target", "coherence", 0.9),
    row("dim", "red", "retention", "class_accuracy", 0.9),
    row("dim", "blue", "target", "class_probability", 0.7),
    row("dim", "blue", "target", "known_share", 0.7),
    row("dim", "blue", "retention", "class_accuracy", 0.9),
]


def test_merit_is_the_harmonic_mean_of_what_is_gone_what_stays_and_how_it_looks() -> None:
    found = merit(ROWS, "dim")
    assert found["erased"] == pytest.approx(0.5)
    assert found["kept"] == found["known"] == found["coherent"] == pytest.approx(1.0)
    assert found["merit"] == pytest.approx(4 / 5)
    assert merit(ROWS, "none")["merit"] == 0.0


def test_noise_in_the_place_of_the_concept_has_no_merit() -> None:
    noise = [
        {**each, "value": 0.0} if each["method"] == "dim" and each["role"] == "target" else each
        for each in ROWS
    ]
    found = merit(noise, "dim")
    assert found["erased"] == 1.0 and found["known"] == found["coherent"] == found["merit"] == 0.0


def test_every_concept_has_its_own_numbers() -> None:
    assert by_concept(ROWS, "dim") == {
        "left of blue": 0.7,
        "left of red": 0.2,
        "kept beside blue": 0.9,
        "kept beside red": 0.9,
    }


@pytest.mark.parametrize("method", ["esd-u", "ca-model", "sld-medium", "sa", "negative-prompt"])
def test_a_rows_settings_build_the_preset_from_the_official_one(method: str) -> None:
    text = as_text(whole(method, {}))
    assert build_method(method, "official", from_text(text)) == build_method(method, "microworld")


def test_a_candidate_that_failed_on_one_concept_has_no_merit() -> None:
    """A mean over the other concepts would reward the failure."""
    assert math.isnan(
        merit([row for row in ROWS if row["concept"] == "red" or row["method"] == "none"], "dim")["merit"]
    )
    failed = [
        {**row, "value": None} if row["method"] == "dim" and row["role"] == "target" else row for row in ROWS
    ]
    assert math.isnan(merit(failed, "dim")["merit"]) and merit(failed, "dim")["kept"] == 1.0


OLD = {"method": "a", "settings": "x=1", "prompts": "6", "weights": "w", "suite": "2", "merit": 0.1}


def test_a_row_of_the_same_candidate_is_replaced() -> None:
    known = pd.DataFrame([OLD, {**OLD, "settings": "x=2", "merit": 0.2}])
    table = merged(known, [{**OLD, "merit": 0.3}])
    assert table[["settings", "merit"]].values.tolist() == [["x=1", 0.3], ["x=2", 0.2]]


@pytest.mark.parametrize("other", [{"weights": "v"}, {"suite": "1"}])
def test_rows_of_other_weights_or_prompts_are_left_out(other: dict[str, str], tmp_path: Path) -> None:
    path = tmp_path / "tuning.csv"
    pd.DataFrame([{**OLD, **other}, {**OLD, "settings": "x=2"}]).to_csv(path, index=False)
    table = merged(read_table(path), [{**OLD, "settings": "x=3"}])
    assert sorted(table["settings"]) == ["x=2", "x=3"]
    assert len(merged(pd.DataFrame([{"method": "a", "settings": "x=1", "prompts": "6"}]), [OLD])) == 1


def test_what_another_process_has_put_there_stays(tmp_path: Path) -> None:
    path = tmp_path / "tuning.csv"
    for method, seconds in (("a", 1.0), ("b", float("nan")), ("a", 2.0)):
        table = added(path, {**OLD, "method": method, "erase_seconds": seconds})
    assert list(table["method"]) == ["a", "b"] == list(read_table(path)["method"])
    assert list(best(read_table(path))["erase_seconds"].fillna(0)) == [2.0, 0.0]


def test_of_equal_merits_the_cheaper_is_chosen_and_said_as_a_change_of_the_preset() -> None:
    tried = (("3", 0.9800, 2.0), ("5", 0.9790, 1.0), ("7", 0.9, 0.1))
    rows = [
        {"settings": as_text(whole("uce", {"keep_scale": scale})), "merit": merit, "erase_seconds": seconds}
        for scale, merit, seconds in tried
    ]
    (chosen,) = best(pd.DataFrame(rows).assign(method="uce")).to_dict("records")
    assert changed("uce", chosen["settings"]) == "keep_scale=5.0"
    assert changed("uce", as_text(whole("uce", {}))) == "as it is"


@pytest.mark.parametrize("method", sorted(CANDIDATES))
def test_the_committed_candidates_can_be_built_and_begin_with_the_preset(method: str) -> None:
    found = candidates_of(method, CANDIDATES[method])
    assert found[0] == Candidate(method, as_text(whole(method, {})))
    assert len(found) == len(set(found)) >= min(2, 1 + len(CANDIDATES[method]))
    for candidate in found:
        # as a run builds it, which refuses what would have no effect
        build_method(method, "official", from_text(candidate.settings))


@pytest.mark.parametrize("method", sorted(CANDIDATES))
def test_the_committed_table_has_what_the_preset_does(method: str) -> None:
    """Rows say what differs from the official preset: another official one makes rows of something else."""
    table = read_table(RESULTS / "tuning.csv")
    (preset,) = candidates_of(method, [""])
    assert preset.settings in set(table.loc[table["method"] == method, "settings"].fillna(""))


def test_every_method_has_its_candidates() -> None:
    of_the_suite = {name for name in METHODS if "text-to-image" in method_card(name).families}
    assert {*CANDIDATES} == of_the_suite - {"none"}


def test_the_clock_cuts_off_the_last_candidates_of_each_method() -> None:
    a, b = [Candidate("a", "1"), Candidate("a", "2")], [Candidate("b", "1")]
    assert in_turn([a, b]) == [a[0], b[0], a[1]]


@pytest.mark.slow
@pytest.mark.usefixtures("microworld")
def test_candidates_are_tried_on_every_concept(tmp_path: Path) -> None:
    candidates = candidates_of("uce", ["keep_scale=1e6"])
    how = How(limit=5, device="cpu", work=tmp_path)
    rows = {row["settings"]: row for row in tried(candidates, how, 2, math.inf)}
    preset, held = (rows[candidate.settings] for candidate in candidates)
    assert preset["merit"] > 0.8 and held["erased"] < 0.3
    assert sum(name.startswith("left of") for name in preset) == 6
