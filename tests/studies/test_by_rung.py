"""What is left is told apart by the rung that a prompt's id names, and compared concept by concept."""

import pandas as pd
import pytest

from studies.by_rung import QUESTIONS, by_concept, compared, page, rung_of

ERASED, KEPT = QUESTIONS


def scores() -> pd.DataFrame:
    """Two concepts; `soft` erases names wholly, descriptions by half, and loses a tenth of the numbers."""
    rows = []
    for concept in ("cat", "dog"):
        for method, named, described, counted in (("none", 0.8, 0.4, 1.0), ("soft", 0.0, 0.2, 0.9)):
            for seed in (0, 1):
                for role, rung, metric, value in (
                    ("target", "name", "class_probability", named),
                    ("implicit", "short", "class_probability", described),
                    ("retention", "count", "class_accuracy", counted),
                    ("retention", "count", "class_probability", 0.123),
                ):
                    rows.append((method, concept, seed, role, f"{concept}/{role}/{rung}-01", metric, value))
    columns = ["method", "concept", "seed", "role", "prompt_id", "metric", "value"]
    return pd.DataFrame(rows, columns=columns).assign(suite="s", evaluator="classifier")


def test_a_rung_is_read_from_the_id() -> None:
    assert rung_of("grumpy-cat/target/variant-03") == "variant"
    assert rung_of("grumpy-cat/target/03") == ""


def test_each_rung_is_compared_with_the_base_model_on_the_same_rung() -> None:
    rows = [row for question in QUESTIONS for row in compared(by_concept(scores(), question), question)]
    found = {(row["role"], row["rung"], row["method"]): row for row in rows}
    assert found["target", "name", "soft"]["value"] == pytest.approx(1.0)
    assert found["implicit", "short", "soft"]["value"] == pytest.approx(0.5)
    assert found["implicit", "short", "none"]["value"] == pytest.approx(0.4)
    assert found["retention", "count", "soft"]["value"] == pytest.approx(-10)
    assert {row["concepts"] for row in rows} == {2}
    text = page(pd.DataFrame(rows))
    assert (
        "| soft | 1.00 [1.00, 1.00] | 0.50 [0.50, 0.50] |" in text
        and "| soft | −10.0 [−10.0, −10.0] |" in text
    )


def test_concepts_that_cannot_be_described_stay_out_of_the_ladder() -> None:
    undescribed = scores()[lambda rows: (rows["concept"] == "cat") | (rows["role"] != "implicit")]
    found = by_concept(undescribed, ERASED)
    assert set(found["concept"]) == {"cat"} and set(by_concept(undescribed, KEPT)["concept"]) == {
        "cat",
        "dog",
    }


def test_the_interval_is_over_concepts() -> None:
    uneven = scores()
    worse = (uneven["concept"] == "dog") & (uneven["method"] == "soft") & (uneven["role"] == "target")
    uneven.loc[worse, "value"] = 0.4
    rows = list(compared(by_concept(uneven, ERASED), ERASED))
    (row,) = (row for row in rows if (row["rung"], row["method"]) == ("name", "soft"))
    assert row["value"] == pytest.approx(0.75)
    assert (row["low"], row["high"]) == pytest.approx((0.5, 1.0))
