"""Two small runs of one suite, in which only the strength of one method differs."""

from pathlib import Path

import pytest

from erasure_bench.bench.comparing.finished import FinishedRun, read_finished
from erasure_bench.bench.planning.chosen import BASELINE
from erasure_bench.bench.planning.config import RunConfig
from tests.bench.fake_run import method, run, tiny_plan, tiny_suite


def fake(folder: Path, strength: float, *, prompts: int = 16, name: str = "dim") -> Path:
    """A run's folder: the method darkens its pictures by `strength`."""
    plan = tiny_plan(
        RunConfig(suite="tiny", methods=(name,)),
        suite=tiny_suite(prompts=prompts),
        methods=(method(BASELINE), method(name, strength=strength)),
    )
    run(plan, folder / "store", folder / "run")
    return folder / "run"


@pytest.fixture(scope="session")
def strong(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return fake(tmp_path_factory.mktemp("strong"), 0.8)


@pytest.fixture(scope="session")
def weak(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return fake(tmp_path_factory.mktemp("weak"), 0.3)


@pytest.fixture
def before(strong: Path) -> FinishedRun:
    return read_finished(strong)


@pytest.fixture
def after(weak: Path) -> FinishedRun:
    return read_finished(weak)
