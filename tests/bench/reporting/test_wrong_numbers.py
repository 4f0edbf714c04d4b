"""Ways to get a wrong number that no other test is about; docs/wrong-numbers.md has the list."""

import ast
import re
from pathlib import Path

import pytest

from erasure_bench.bench.planning.chosen import BASELINE
from erasure_bench.bench.planning.config import RunConfig
from erasure_bench.bench.reporting.leaderboard import Row
from tests.bench.fake_run import completed, method, tiny_plan, tiny_suite

ROOT = Path(__file__).resolve().parents[3]
VERDICTS_ON_RIVALS = {"best", "best_p", "second", "rank", "rank_low", "rank_high"}
"""What is said of a number beside the others' may change with them."""


def rows_of(folder: Path, **strengths: float) -> dict[tuple[str, ...], Row]:
    plan = tiny_plan(
        RunConfig(suite="tiny", methods=tuple(strengths)),
        suite=tiny_suite(prompts=12),
        methods=(method(BASELINE), *(method(name, strength=value) for name, value in strengths.items())),
    )
    rows = completed(plan, folder).results.rows
    return {(row.method, row.scope, row.concept, row.role, row.metric): row for row in rows}


def test_a_third_row_changes_no_number_of_the_others(tmp_path: Path) -> None:
    two = rows_of(tmp_path, weak=0.4, strong=0.7)
    three = rows_of(tmp_path, weak=0.4, strong=0.7, poor=0.05)
    for key, row in two.items():
        for field in set(vars(row)) - VERDICTS_ON_RIVALS:
            assert getattr(three[key], field) == getattr(row, field), (key, field)
    for role, order in (("target", ("strong", "weak")), ("retention", ("weak", "strong"))):
        better, worse = (three[name, "overall", "overall", role, "brightness"] for name in order)
        assert better.rank is not None and worse.rank is not None and better.rank < worse.rank


def test_who_erases_nothing_is_last(tmp_path: Path) -> None:
    rows = rows_of(tmp_path, idle=0.0, weak=0.4, strong=0.7)
    places = {
        name: rows[name, "overall", "overall", "target", "brightness"].rank
        for name in ("idle", "weak", "strong")
    }
    assert places == {"strong": 1, "weak": 2, "idle": 3}
    assert not rows["idle", "overall", "overall", "target", "brightness"].best


def named_tests() -> list[str]:
    text = (ROOT / "docs" / "wrong-numbers.md").read_text(encoding="utf-8")
    return re.findall(r"`(tests/[\w/]+\.py::test_\w+)`", text)


@pytest.mark.parametrize("name", named_tests())
def test_every_test_that_the_document_names_is_there(name: str) -> None:
    file, _, test = name.partition("::")
    tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
    assert test in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
