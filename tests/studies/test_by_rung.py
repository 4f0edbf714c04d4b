"""What is left is told apart by the rung that a prompt's id names, and compared concept by concept."""

from pathlib import Path

import pandas as pd
import pytest

from studies.by_rung import QUESTIONS, Question, asked, compared, page, rung_of
from studies.pooling import read_scores

ERASED, KEPT = QUESTIONS
RESULTS = Path(__file__).parents[2] / "results" / "microworld"


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
                    for number in ("01", "02"):
                        prompt = f"{concept}/{role}/{rung}-{number}"
                        rows.append((method, concept, seed, 0, role, prompt, metric, value))
    columns = ["method", "concept", "seed", "image_index", "role", "prompt_id", "metric", "value"]
    found = pd.DataFrame(rows, columns=columns).assign(suite="s", evaluator="classifier")
    return found.assign(model=found["method"] + found["concept"] + found["seed"].astype(str))


def test_a_rung_is_read_from_the_id() -> None:
    assert rung_of("grumpy-cat/target/variant-03") == "variant"
    assert rung_of("grumpy-cat/target/03") == ""


def test_each_rung_is_compared_with_the_base_model_on_the_same_rung() -> None:
    rows = [row for question in QUESTIONS for row in compared(asked(scores(), question), question)]
    found = {(row["role"], row["rung"], row["method"]): row for row in rows}
    assert found["target", "name", "soft"]["value"] == pytest.approx(1.0)
    assert found["implicit", "short", "soft"]["value"] == pytest.approx(0.5)
    assert found["implicit", "short", "none"]["value"] == pytest.approx(0.4)
    assert found["retention", "count", "soft"]["value"] == pytest.approx(-10)
    assert {row["concepts"] for row in rows} == {2}
    text = page(pd.DataFrame(rows), {"soft": "microworld-styles"})
    assert "† Its pictures have collapsed: soft: microworld-styles." in text
    text = page(pd.DataFrame(rows), {})
    assert "†" not in text and "| soft | 1.00 [" in text and "| 0.50 [" in text and "| soft | −10.0 [" in text
    assert "| *prompts* | 4 | 4 |" in text


def test_concepts_that_cannot_be_described_stay_out_of_the_ladder() -> None:
    rows = scores()
    undescribed = rows.loc[(rows["concept"] == "cat") | (rows["role"] != "implicit")]
    found = asked(undescribed, ERASED)
    assert set(found["concept"]) == {"cat"} and set(asked(undescribed, KEPT)["concept"]) == {
        "cat",
        "dog",
    }


def test_a_method_that_lacks_a_concept_has_no_mean_over_the_others() -> None:
    rows = scores()
    lacking = rows[(rows["method"] == "none") | (rows["concept"] == "cat")]
    found = [row for question in QUESTIONS for row in compared(asked(lacking, question), question)]
    assert {row["method"] for row in found} == {"none"}
    text = page(pd.DataFrame(found), {}, ["soft"])
    assert "| soft |" not in text and "not measured with them: soft." in text


def test_a_rung_of_one_prompt_has_no_interval_and_says_why() -> None:
    every = scores()
    alone = every[(every["role"] != "target") | every["prompt_id"].str.endswith("01")]
    rows = [row for question in QUESTIONS for row in compared(asked(alone, question), question)]
    text = page(pd.DataFrame(rows), {})
    assert "| soft | 1.00 | 0.50 [" in text
    assert text.count("No interval") == 1 and "No interval (target name): a concept has one prompt" in text
    rows = [row for question in QUESTIONS for row in compared(asked(every, question), question)]
    assert "No interval" not in page(pd.DataFrame(rows), {})


def test_concepts_that_look_alike_make_nothing_certain() -> None:
    rows = list(compared(asked(scores(), ERASED), ERASED))
    (row,) = (row for row in rows if (row["rung"], row["method"]) == ("short", "soft"))
    assert (row["concepts"], row["prompts"]) == (2, 4)
    assert row["low"] < 0.3 and row["high"] > 0.7


@pytest.mark.slow
@pytest.mark.parametrize(("role", "rung", "question"), [("target", "pair", ERASED), ("anchor", "pair", KEPT)])
def test_a_role_of_one_rung_has_the_number_and_the_interval_of_its_leaderboard(
    role: str, rung: str, question: Question
) -> None:
    folder = RESULTS / "microworld-composition"
    others = ("microworld-instances", folder.name)  # where the concepts are described, as a ladder wants them
    found = pd.concat(
        [read_scores(RESULTS / one, one) for one in others],
        ignore_index=True,
    )
    rows = pd.DataFrame(compared(asked(found, question), question))
    own = rows[(rows["role"] == role) & (rows["rung"] == rung)].set_index("method").drop("none")
    board = pd.read_csv(folder / "leaderboard.csv.gz")
    whole = (board["scope"] == "overall") & (board["role"] == role) & (board["metric"] == question.metric)
    ends = ["gone", "gone_low", "gone_high"] if question.erased else ["change", "change_low", "change_high"]
    theirs = board[whole].set_index("method").loc[own.index, ends].to_numpy()
    scale = 1 if question.erased else 100
    assert own[["value", "low", "high"]].to_numpy() == pytest.approx(scale * theirs, abs=1e-6)
