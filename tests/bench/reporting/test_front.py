"""What a number speaks of, and the front of erasure and retention in a run's own files."""

import json
from pathlib import Path

import pytest

from erasure_bench.bench.planning.chosen import BASELINE
from erasure_bench.bench.planning.config import RunConfig
from erasure_bench.bench.reporting.aspects import aspect_of
from erasure_bench.bench.reporting.board import Board
from erasure_bench.bench.reporting.markdown import markdown
from erasure_bench.evaluators.base import Metric, by_role
from erasure_bench.evaluators.kept_domains import CROSS_DOMAIN, UNLEARNED
from erasure_bench.prompt_suites.suite import Role
from tests.bench.fake_run import method, run, tiny_plan, tiny_suite


@pytest.mark.parametrize(
    ("ways", "role", "aspect"),
    [
        (("lower", "higher"), "target", "erasure"),
        (("lower", "higher"), "misspelt", "robustness"),
        (("lower", "higher"), "attack", "robustness"),
        (("lower", "higher"), "anchor", "retention"),
        (("lower", None), "implicit", "robustness"),
        (("neither", None), "target", "erasure"),
        ((None, "higher"), "neighbour", "retention"),
        (("higher", "higher"), "target", "quality"),
        (("lower", "lower"), "target", "quality"),
        (("higher", None), "target", "quality"),
        (("neither", "lower"), "retention", "quality"),
        ((None, "lower"), "retention", "quality"),
    ],
)
def test_a_metrics_directions_say_what_it_speaks_of(ways: tuple[str, str], role: Role, aspect: str) -> None:
    metric = Metric("m", "m", "share", (0.0, 1.0), by_role(*ways))  # type: ignore[arg-type]
    assert aspect_of(metric, role) == aspect


def test_what_tells_of_a_collapse_is_quality() -> None:
    metric = Metric("m", "m", "share", (0.0, 1.0), by_role("lower"), kind="share", tells_collapse=True)
    assert aspect_of(metric, "target") == "quality"


def test_unlearning_accuracy_is_erasure_though_more_of_it_is_better() -> None:
    assert [aspect_of(UNLEARNED, role) for role in ("target", "implicit")] == ["erasure", "robustness"]
    assert [aspect_of(CROSS_DOMAIN, role) for role in ("neighbour", "retention")] == ["retention"] * 2


def test_a_run_says_who_may_lie_on_the_front(tmp_path: Path) -> None:
    """Pictures that are darker have less of the concept and of the rest: nobody beats the other."""
    strengths = {"weak": 0.2, "strong": 0.7}
    plan = tiny_plan(
        RunConfig(suite="tiny", methods=tuple(strengths)),
        suite=tiny_suite(prompts=12),
        methods=(method(BASELINE), *(method(name, strength=value) for name, value in strengths.items())),
    )
    run(plan, tmp_path / "store", tmp_path / "out")
    document = json.loads((tmp_path / "out" / "leaderboard.json").read_text())
    assert document["front"]["methods"] == ["weak", "strong"]
    assert document["front"]["erasure"]["role"] == "target"
    assert document["front"]["retention"] == {
        "role": "retention",
        "evaluator": "fake",
        "metric": "brightness",
        "title": "brightness",
    }
    assert any(note.startswith("◆: may lie on the Pareto front") for note in document["notes"])
    assert {row["aspect"] for row in document["rows"]} == {"erasure", "retention"}
    assert markdown(Board.from_json(document)).count("| ◆ |") == 2
