"""One small run with names that no format may take for its own, and its board."""

from pathlib import Path

import pytest

from erasure_bench.bench.planning.chosen import BASELINE
from erasure_bench.bench.planning.config import RunConfig
from erasure_bench.bench.reporting.board import Board
from erasure_bench.bench.reporting.reading import read_document
from tests.bench.fake_run import method, run, tiny_plan, tiny_suite

ROWS = {
    "weak": 0.2,
    "strong": 0.7,
    "half_%&#$~^{x}\\y": 0.5,
    "[red] 猫 é--x|": 0.05,
    "<script>alert(1)</script>": 0.3,
}
"""Methods that darken their pictures by so much."""


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("typesetting")
    plan = tiny_plan(
        RunConfig(suite="tiny", methods=tuple(ROWS)),
        suite=tiny_suite(prompts=12, images_per_prompt=1),
        methods=(method(BASELINE), *(method(name, strength=value) for name, value in ROWS.items())),
    )
    run(plan, place / "store", place / "run")
    return place / "run"


@pytest.fixture(scope="session")
def board(folder: Path) -> Board:
    return Board.from_json(read_document(folder))
