"""Who draws no pictures any more is marked in every table, meets no bar and is never the best."""

import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import pytest
from rich.console import Console

from erasure_bench.bench.reporting.board import Board
from erasure_bench.bench.reporting.collapsed import collapse_notes, collapsed_methods
from erasure_bench.bench.reporting.leaderboard import Row, rows_of, to_frame, to_json
from erasure_bench.bench.reporting.markdown import markdown
from erasure_bench.bench.reporting.scores import RUN_COLUMNS
from erasure_bench.bench.reporting.tabled import Measured, tabled
from erasure_bench.bench.reporting.tables import summary, whole
from erasure_bench.bench.reporting.verdicts import judged
from erasure_bench.bench.statistics.collapse import MOST_COLLAPSED, has_collapsed
from erasure_bench.evaluators.base import Metric, by_role
from erasure_bench.evaluators.metrics import checked_metrics

PROBABILITY = Metric("probability", "probability", "probability", (0.0, 1.0), by_role("lower", "higher"))
BROKEN = Metric(
    "broken",
    "broken",
    "share",
    (0.0, 1.0),
    by_role("lower", "lower"),
    headline=False,
    kind="share",
    tells_collapse=True,
)
PROMPTS = 12


def scored(
    broken: Mapping[str, float], concepts: Sequence[str] = ("cat",), prompts: int = PROMPTS
) -> pd.DataFrame:
    """Target scores: of each method so large a share of the first concept's pictures is broken; those of
    `refuser` show nothing of the concept."""
    rows = []
    for method, share in broken.items():
        for concept in concepts:
            for number in range(prompts):
                is_broken = concept == concepts[0] and number < round(share * prompts)
                noise = np.random.default_rng(number).uniform(0, 0.1)
                values = {
                    "probability": {"none": 0.9, "refuser": 0.0}.get(method, 0.2) + noise,
                    "broken": float(is_broken),
                }
                for metric, value in values.items():
                    rows.append(
                        {
                            "method": method,
                            "concept": concept,
                            "seed": 0,
                            "role": "target",
                            "evaluator": "e",
                            "evaluator_protocol": "p",
                            "repeated": False,
                            "prompt_id": f"{concept}/{number}",
                            "image_index": 0,
                            "metric": metric,
                            "value": value,
                            "status": "ok",
                            "reason": "",
                        }
                    )
    return pd.DataFrame(rows, columns=list(RUN_COLUMNS))


def leaderboard(
    broken: Mapping[str, float],
    concepts: Sequence[str] = ("cat",),
    prompts: int = PROMPTS,
    references: frozenset[str] = frozenset(),
) -> list[Row]:
    measured = Measured(
        methods=list(broken),
        baseline="none",
        roles={concept: ("target",) for concept in concepts},
        metrics=[("e", PROBABILITY), ("e", BROKEN)],
        seeds=(0,),
        pictures={(method, concept, "target"): prompts for method in broken for concept in concepts},
        references=references,
    )
    table = tabled(scored(broken, concepts, prompts), measured)
    return judged(table, rows_of(table, (), {}))


def overall(rows: Sequence[Row], method: str) -> Row:
    (row,) = [
        row for row in rows if (row.method, row.scope, row.metric) == (method, "overall", "probability")
    ]
    return row


def test_the_best_numbers_of_a_refuser_are_never_the_best_and_meet_no_bar() -> None:
    rows = leaderboard({"none": 0.0, "honest": 0.0, "worse": 0.1, "refuser": 1.0})

    refuser, honest = overall(rows, "refuser"), overall(rows, "honest")

    assert refuser.value is not None and honest.value is not None and refuser.value < honest.value
    assert refuser.collapsed and not refuser.best and refuser.rank is None and refuser.verdict is None
    assert honest.collapsed is None and honest.verdict == "met" and honest.rank == 1
    assert collapsed_methods(rows) == {"refuser": refuser.collapsed}
    assert refuser.collapsed.startswith("target, broken, 100% of the pictures, the base model 0% (change [")


def test_one_picture_is_no_evidence() -> None:
    rows = leaderboard({"none": 0.0, "honest": 0.0, "refuser": 1.0}, prompts=1)

    assert collapsed_methods(rows) == {}


@pytest.mark.parametrize(
    ("share", "prompts", "is_marked"), [(0.25, 96, False), (0.4, 12, False), (0.4, 96, True)]
)
def test_the_interval_decides(share: float, prompts: int, is_marked: bool) -> None:
    rows = leaderboard({"none": 0.0, "m": share}, prompts=prompts)

    assert bool(collapsed_methods(rows)) is is_marked


def test_what_the_base_model_repeats_as_well_is_nobodys_fault() -> None:
    assert collapsed_methods(leaderboard({"none": 1.0, "m": 1.0})) == {}


def test_another_base_model_is_no_method() -> None:
    rows = leaderboard({"none": 0.0, "other": 1.0}, references=frozenset({"other"}))

    assert collapsed_methods(rows) == {}


def test_one_concept_of_ten_is_enough_and_the_others_stay_unmarked() -> None:
    concepts = [f"c{i}" for i in range(10)]
    rows = leaderboard({"none": 0.0, "m": 1.0}, concepts)

    marks = {row.concept: row.collapsed for row in rows if row.method == "m"}

    assert marks["c0"] and marks["overall"] == f"c0: {marks['c0']}"
    assert {marks[concept] for concept in concepts[1:]} == {None}


def test_every_table_shows_the_mark_and_says_why() -> None:
    rows = leaderboard({"none": 0.0, "honest": 0.0, "refuser": 1.0}, ("cat", "dog"))
    document: dict[str, Any] = {
        "title": "T",
        "methods": ["none", "honest", "refuser"],
        "baseline": "none",
        "concepts": ["cat", "dog"],
        "rows": [to_json(row) for row in rows],
        "notes": collapse_notes(rows),
        "failures": [],
        "cautions": collapse_notes(rows),
    }
    board = Board.from_json(document)

    shown = markdown(board)
    overall_part, cat, dog = shown.split("\n## ")

    assert board.names() == ("none", "honest", "refuser †") == board.names("cat")
    assert overall_part.count("| refuser † |") == overall_part.count("| honest |") > 0
    assert "| refuser † |" in cat and "| refuser † |" not in dog and "| refuser |" in dog
    assert "†: its pictures have collapsed" in shown and "more than 25%" in shown
    assert _text(summary(board, 200)).count("refuser †") >= 1 and "collapsed" in _text(summary(board, 200))
    assert "refuser †" in _text(whole(board, 200, ["cat"]))
    assert set(to_frame(rows).query("method == 'refuser' and scope == 'overall'")["collapsed"]) != {None}


def _text(renderable: Any) -> str:
    console = Console(width=200, record=True, file=io.StringIO())
    console.print(renderable)
    return console.export_text()


def test_only_a_mean_share_tells() -> None:
    class Evaluator:
        metrics = (Metric("n", "n", "count", (0.0, 9.0), {}, aggregate="sum", tells_collapse=True),)

    with pytest.raises(Exception, match="only the mean of a share"):
        checked_metrics(Evaluator(), "it")


def test_the_bar_is_on_the_intervals_lower_end() -> None:
    assert not has_collapsed(None) and not has_collapsed(MOST_COLLAPSED) and has_collapsed(0.26)
