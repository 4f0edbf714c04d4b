"""A small finished run that names its machine everywhere it can."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from erasure_bench.bench.planning.chosen import BASELINE
from erasure_bench.bench.planning.config import RunConfig
from erasure_bench.bench.planning.tasks import EraseTask, ScoreTask, Task
from erasure_bench.bench.reporting.completing import complete
from erasure_bench.bench.reporting.results import write_results
from erasure_bench.bench.running.progress import Quiet
from erasure_bench.bench.storage.store import Store
from erasure_bench.prompt_suites.concepts import Concept
from tests.bench.fake_run import FakeWorker, method, tiny_plan, tiny_suite

SUITE = "microworld-instances"


class Reads(FakeWorker):
    """Says of every edit how it was read, as a user's weights do."""

    def __init__(self, store: Store, read_as: str) -> None:
        super().__init__(store)
        self.read_as = read_as

    def erase(self, task: EraseTask, concept: Concept, watcher: Any) -> None:
        with self.store.writing(task.kind, task.id) as draft:
            (draft.folder / "edit.json").write_text(str(task.settings.get("strength", 0.0)))
            draft.about = {"erase_seconds": 2.0, "peak_memory_bytes": 1000, "read_as": [self.read_as]}


def make_run(folder: Path, *, fails: bool = False, limit: int | None = None, suite: str = SUITE) -> Path:
    """A run's folder below `folder`, of a suite that is known by its name, though of two made-up concepts."""
    weights = folder / "my weights" / "theirs.safetensors"
    config = RunConfig(
        suite=suite, methods=("dim",), edits={"theirs": weights}, data_dir=folder / "data", limit=limit
    )
    plan = tiny_plan(
        config,
        suite=replace(tiny_suite(), name=suite),
        methods=(method(BASELINE), replace(method("dim", strength=0.8), weights=weights)),
    )
    with Store(folder / "store") as store:
        worker = Reads(store, f"partial state dict in {folder}/x")
        worker.break_on = lambda task: fails and _is_of_dim(task)
        outcome, results = complete(plan, worker, store, Quiet, [f"read from {weights} and {folder}/more"])
        made = {"execution": {"seconds": 1.0, "tasks_done": dict(outcome.done)}}
        write_results(folder / "run", plan, results, made, store)
    return folder / "run"


def _is_of_dim(task: Task) -> bool:
    return isinstance(task, ScoreTask) and task.generate.erase.method == "dim"


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run's folder; treat as read-only."""
    return make_run(tmp_path_factory.mktemp("finished"))


@pytest.fixture(scope="session")
def failed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One in which scores failed, with tracebacks."""
    return make_run(tmp_path_factory.mktemp("failed"), fails=True)
