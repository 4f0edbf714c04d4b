"""A candidate's row says all of its settings and what it did, and replaces the row of the same settings."""

from typing import Any

import pandas as pd
import pytest

from erasure_bench.methods.registry import build_method
from studies.tune_presets import as_text, by_concept, from_text, merged, merit, whole


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
    row("none", "red", "retention", "class_accuracy", 1.0),
    row("none", "blue", "target", "class_probability", 1.0),
    row("none", "blue", "retention", "class_accuracy", 0.8),
    row("dim", "red", "target", "class_probability", 0.2),
    row("dim", "red", "retention", "class_accuracy", 0.9),
    row("dim", "blue", "target", "class_probability", 0.7),
    row("dim", "blue", "retention", "class_accuracy", 0.9),
]


def test_merit_is_the_harmonic_mean_of_what_is_gone_and_what_stays() -> None:
    found = merit(ROWS, "dim")
    assert found["erased"] == pytest.approx(0.5)
    assert found["kept"] == pytest.approx(1.0)
    assert found["merit"] == pytest.approx(2 / 3)
    assert merit(ROWS, "none")["merit"] == 0.0


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


def test_a_row_of_the_same_settings_is_replaced() -> None:
    old = {"method": "a", "settings": "x=1", "prompts": 6, "merit": 0.1}
    known = pd.DataFrame([old, {**old, "settings": "x=2", "merit": 0.2}])
    table = merged(known, [{**old, "merit": 0.3}])
    assert table[["settings", "merit"]].values.tolist() == [["x=1", 0.3], ["x=2", 0.2]]
