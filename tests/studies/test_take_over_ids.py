"""Committed cells get the ids of now only where what is redone of them is equal, score by score."""

import argparse
import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pandas as pd
import pytest
from pandas import DataFrame

from erasure_bench.bench.planning.config import RunConfig
from erasure_bench.bench.reporting.record import read_record, write_record
from erasure_bench.errors import BenchError
from studies.pieces import lacking
from studies.take_over_ids import Differs, compared, named_cells, sampled, take_over, taken_over
from tests.studies.completing import completed

pytestmark = pytest.mark.slow
"""Half a minute: whole runs, before and after."""

SUITE = "microworld-implicit"
FAKE_RUN = Path(__file__).parents[1] / "bench" / "fake_run.py"
OLD = "0" * 64


@pytest.fixture
def fake() -> ModuleType:
    """Plans without networks."""
    spec = importlib.util.spec_from_file_location("study_tests_fake_run", FAKE_RUN)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def given(**changes: Any) -> argparse.Namespace:
    return argparse.Namespace(**({"cells": None, "sample": 2, "draw": 0, "tolerance": 1e-9} | changes))


@pytest.fixture(scope="module")
def committed(tmp_path_factory: pytest.TempPathFactory, microworld: object) -> Path:
    """A small leaderboard of the built-in model whose cells have ids of another time."""
    folder = tmp_path_factory.mktemp("results") / SUITE
    config = RunConfig(suite=SUITE, methods=("none", "negative-prompt"), seeds=(0,), limit=1)
    completed(config, folder, folder.parent / "work")
    rewritten(folder, of_another_time(read_record(folder)))
    return folder


def of_another_time(record: dict[str, Any]) -> dict[str, Any]:
    cells = [{**cell, "id": OLD} for cell in record["cells"]]
    return {**record, "plan": OLD, "evaluator_code": {"clip": "a"}, "cells": cells}


def rewritten(folder: Path, record: dict[str, Any]) -> None:
    write_record(folder, record)


def test_equal_cells_get_the_ids_that_the_study_finds_then(committed: Path, tmp_path: Path) -> None:
    before = read_record(committed)
    scores = (committed / "scores.parquet").read_bytes()
    done = take_over(committed, given(), tmp_path)
    assert done is not None
    assert (done["largest_difference"], done["plan_before"]) == (0.0, OLD) and done["scores"] > 0
    assert {name.split("/")[0] for name in done["cells"]} == {"none", "negative-prompt"}

    after = read_record(committed)
    assert (committed / "scores.parquet").read_bytes() == scores
    assert [cell["cost"] for cell in after["cells"]] == [cell["cost"] for cell in before["cells"]]
    assert OLD not in {after["plan"], *(cell["id"] for cell in after["cells"])}
    config = RunConfig.model_validate(after["config"])
    assert lacking(config, [committed], tmp_path) == []
    assert take_over(committed, given(), tmp_path) is None, "there is nothing left to do"

    rewritten(committed, before)
    changed = {**before, "concepts": ["another"]}
    rewritten(committed, changed)
    with pytest.raises(BenchError, match="not the same run any more: concepts changed; run it again"):
        take_over(committed, given(), tmp_path)
    rewritten(committed, before)

    table = pd.read_parquet(committed / "scores.parquet")
    table.loc[table.index[-1], "value"] += 1e-6
    table.to_parquet(committed / "scores.parquet", index=False)
    rewritten(committed, before)
    wrong = f"{table.iloc[-1]['method']} · .* scores differ, by up to 1e-06"
    with pytest.raises(Differs, match=wrong):
        take_over(committed, given(), tmp_path)
    assert read_record(committed)["plan"] == OLD, "nothing was renamed"


class Cell:
    """What `compared` asks of a cell."""

    title = "dim · cat · seed 0"

    class method:
        name = "dim"

    class case:
        name = "cat"

    seed = 0


def table(**changes: Any) -> DataFrame:
    row = {
        "method": "dim",
        "concept": "cat",
        "seed": 0,
        "role": "target",
        "evaluator": "clip",
        "image_index": 0,
        "metric": "cos",
        "value": 0.5,
        "status": "ok",
    }
    return DataFrame([{**row, "prompt_id": name, **changes} for name in ("a", "b")])


@pytest.mark.parametrize(
    ("now", "why"),
    [
        (table(value=0.6), r"2 of 2 scores differ, by up to 0.1; cos of a was 0.5 and is 0.6"),
        (table(value=float("nan"), status="missing"), "2 of 2 scores differ"),
        (table(status="missing"), "2 of 2 scores differ"),
        (table().head(1), "1 of 2 scores are not in both; cos of b is committed only"),
        (table(metric="other"), "4 of 4 scores are not in both"),
    ],
)
def test_every_score_must_be_there_and_equal(now: DataFrame, why: str) -> None:
    with pytest.raises(Differs, match=rf"dim · cat · seed 0: {why}"):
        compared(Cell(), now, table(), 1e-9)  # type: ignore[arg-type]


def test_missing_scores_are_equal_and_other_cells_are_left_alone() -> None:
    missing = table(value=float("nan"), status="missing")
    both = pd.concat([missing, table(seed=1, value=0.7)], ignore_index=True)
    assert compared(Cell(), missing, both, 1e-9) == (2, 0.0)  # type: ignore[arg-type]
    with pytest.raises(Differs, match="no scores to compare"):
        compared(Cell(), table().head(0), table(seed=1), 1e-9)  # type: ignore[arg-type]


def test_the_sample_goes_through_the_methods_and_leaves_out_what_failed(fake: ModuleType) -> None:
    plan = fake.tiny_plan(RunConfig(suite="tiny", methods=("dim",), seeds=(0, 1, 2)))
    record = {"failures": [{"method": "dim", "concept": "red ball", "seed": seed} for seed in (0, 1, 2)]}
    chosen = sampled(plan, record, 5, 0)
    assert len({cell.id for cell in chosen}) == 5 == len(chosen)
    assert {cell.method.name for cell in chosen[:2]} == {"none", "dim"}
    assert not [cell for cell in chosen if (cell.method.name, cell.case.name) == ("dim", "red ball")]
    assert [cell.title for cell in sampled(plan, record, 5, 0)] == [cell.title for cell in chosen]
    assert [cell.title for cell in named_cells(plan, ["dim/red ball/1"])] == ["dim · red ball · seed 1"]
    with pytest.raises(BenchError, match="no cell dim/red ball/9"):
        named_cells(plan, ["dim/red ball/9"])


def test_nothing_but_names_of_code_is_replaced(fake: ModuleType) -> None:
    plan = fake.tiny_plan()
    cells = [
        {
            "method": cell.method.name,
            "concept": cell.case.name,
            "seed": cell.seed,
            "id": OLD,
            "cost": {"x": 1},
        }
        for cell in plan.cells
    ]
    record = {"plan": OLD, "cells": cells, "notes": ["kept"], "versions": {"torch": "1"}}
    taken = taken_over(record, plan)
    assert taken["plan"] == plan.id and taken["notes"] == ["kept"] and taken["versions"] == {"torch": "1"}
    assert [cell["id"] for cell in taken["cells"]] == [cell.id for cell in plan.cells]
    assert taken["evaluator_code"] == {"fake": "c0de"}
