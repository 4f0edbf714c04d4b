"""Two small runs of one suite, in which only the strength of one method differs."""

from dataclasses import replace
from pathlib import Path

import pytest

from erasure_bench.bench.comparing.finished import FinishedRun, read_finished
from erasure_bench.bench.planning.chosen import BASELINE
from erasure_bench.bench.planning.config import RunConfig
from erasure_bench.bench.planning.tasks import ScoreTask
from erasure_bench.bench.running.pictures import read_pictures
from erasure_bench.bench.running.scoring import SCORES_FILE
from erasure_bench.bench.storage.store import Store
from erasure_bench.evaluators.base import Metric, ScoreSheet, by_role
from tests.bench.fake_run import FakeWorker, evaluator, method, run, tiny_plan, tiny_suite

BLANK = Metric(
    "blank", "blank", "share", (0.0, 1.0), by_role("lower", "lower"), kind="share", tells_collapse=True
)


class SeesBlanks(FakeWorker):
    """Has a second evaluator, which tells that every picture is one."""

    def score(self, task: ScoreTask) -> None:
        if task.evaluator != "blanks":
            return super().score(task)
        sheet = ScoreSheet()
        for picture in read_pictures(self.store.entry("generate", task.generate.id), task.generate):
            sheet.add(picture, blank=0.0)
        with self.store.writing(task.kind, task.id) as draft:
            sheet.frame().to_parquet(draft.folder / SCORES_FILE, index=False)
            draft.about = {"evaluator": task.evaluator, "generate": task.generate.id}


def fake(folder: Path, strength: float, *, prompts: int = 16, name: str = "dim") -> Path:
    """A run's folder: the method darkens its pictures by `strength`."""
    plan = tiny_plan(
        RunConfig(suite="tiny", methods=(name,)),
        suite=tiny_suite(prompts=prompts),
        methods=(method(BASELINE), method(name, strength=strength)),
        evaluators=(evaluator(detector="arithmetic"), replace(evaluator(), name="blanks", metrics=(BLANK,))),
    )
    run(plan, folder / "store", folder / "run", SeesBlanks(Store(folder / "store")))
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
