"""A part that fails is recorded with its reason; everything that does not need it goes on."""

import json
import threading
import time
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from erasure_bench.bench.planning.config import RunConfig
from erasure_bench.bench.running.estimating import Estimator
from erasure_bench.bench.running.executor import Reporter, execute
from erasure_bench.bench.running.progress import LiveProgress, Quiet, clock
from erasure_bench.bench.running.reasons import reason_of
from erasure_bench.bench.storage.store import Store, StoreError
from erasure_bench.errors import BenchError


def broken_run(fake: ModuleType, tmp_path: Path, break_on: Any) -> tuple[Any, dict[str, Any], Any]:
    worker = fake.FakeWorker(Store(tmp_path))
    worker.break_on = break_on
    plan = fake.tiny_plan()
    outcome, _ = fake.run(plan, tmp_path, tmp_path / "out", worker)
    return outcome, json.loads((tmp_path / "out" / "leaderboard.json").read_text()), worker


def statuses(document: dict[str, Any], method: str, concept: str) -> set[tuple[str, str]]:
    return {
        (row["role"], row["status"])
        for row in document["rows"]
        if (row["method"], row["concept"]) == (method, concept)
    }


def test_a_broken_edit_fails_its_cell_alone(fake: ModuleType, tmp_path: Path) -> None:
    def is_it(task: Any) -> bool:
        return task.kind == "erase" and task.method == "dim" and task.concepts[0].name == "red ball"

    outcome, document, worker = broken_run(fake, tmp_path, is_it)
    (failure,) = outcome.failures
    assert (failure.method, failure.concept, failure.stage) == ("dim", "red ball", "erase")
    assert failure.reason == "RuntimeError: this erase task is broken"
    assert "Traceback" in failure.trace
    assert worker.forgotten == 1, "a model that a method failed on is loaded anew"
    roles = ("target", "anchor", "retention")
    assert statuses(document, "dim", "red ball") == {(role, "failed") for role in roles}
    assert statuses(document, "dim", "Blue Cube") == {(role, "ok") for role in roles}
    assert statuses(document, "none", "red ball") == {(role, "ok") for role in roles}
    assert statuses(document, "dim", "overall") == {(role, "failed") for role in roles}
    assert document["failures"] == [
        "dim · red ball · seed 0: erasing: RuntimeError: this erase task is broken"
    ]
    assert "failed" in (tmp_path / "out" / "leaderboard.md").read_text()

    mended = fake.FakeWorker(Store(tmp_path))
    outcome, _ = fake.run(fake.tiny_plan(), tmp_path, tmp_path / "out", mended)
    assert outcome.failures == () and len(mended.calls) == 1 + 3 + 3, "the next run mends just that cell"


def test_broken_pictures_fail_their_role_in_every_cell_that_shares_them(
    fake: ModuleType, tmp_path: Path
) -> None:
    def is_it(task: Any) -> bool:
        return task.kind == "generate" and task.erase.method == "none" and task.images.role == "retention"

    outcome, document, _ = broken_run(fake, tmp_path, is_it)
    assert [(f.concept, f.role, f.evaluator) for f in outcome.failures] == [
        ("red ball", "retention", None),
        ("Blue Cube", "retention", None),
    ]
    assert ("retention", "failed") in statuses(document, "none", "red ball")
    assert ("target", "ok") in statuses(document, "none", "red ball")
    assert statuses(document, "dim", "red ball") == {
        (role, "ok") for role in ("target", "anchor", "retention")
    }


def test_a_broken_score_fails_its_evaluator_and_role(fake: ModuleType, tmp_path: Path) -> None:
    def is_it(task: Any) -> bool:
        return (
            task.kind == "score"
            and task.generate.erase.method == "dim"
            and task.generate.images.role == "target"
        )

    outcome, document, worker = broken_run(fake, tmp_path, is_it)
    assert {(f.concept, f.role, f.evaluator, f.stage) for f in outcome.failures} == {
        ("red ball", "target", "fake", "score"),
        ("Blue Cube", "target", "fake", "score"),
    }
    assert statuses(document, "dim", "red ball") == {
        ("target", "failed"),
        ("anchor", "ok"),
        ("retention", "ok"),
    }
    assert worker.forgotten == 0


def test_a_full_disk_stops_the_run(fake: ModuleType, tmp_path: Path) -> None:
    store = Store(tmp_path)
    worker = fake.FakeWorker(store)

    def full(task: Any) -> bool:
        if task.kind == "score":
            raise StoreError("store: the disk is full")
        return False

    worker.break_on = full
    with pytest.raises(StoreError):
        execute(fake.tiny_plan(), worker, store, Quiet())


def test_evaluators_are_loaded_before_anything_is_drawn(fake: ModuleType, tmp_path: Path) -> None:
    worker = fake.FakeWorker(Store(tmp_path))

    def missing(evaluators: Any) -> None:
        raise BenchError("weights are missing")

    worker.prepare = missing
    with pytest.raises(BenchError, match="weights"):
        execute(fake.tiny_plan(), worker, worker.store, Quiet())
    assert worker.calls == []


def test_reasons_are_one_line() -> None:
    assert reason_of(BenchError("two\nlines")) == "two lines"
    assert reason_of(ValueError("bad")) == "ValueError: bad"


SA = {"batch_size": 16, "micro_batch": None, "gradient_checkpointing": False, "ema_decay": 0.9, "ewc": True}


@pytest.mark.parametrize(
    ("settings", "advice"),
    [
        (
            SA | {"ema_on_cpu": False, "fisher_batch": 4},
            "--method-option dim.micro_batch=1, --method-option dim.gradient_checkpointing=true, "
            "--method-option dim.ema_on_cpu=true, --method-option dim.fisher_batch=1",
        ),
        (
            {"batch_size": 1, "micro_batch": None, "gradient_checkpointing": False},
            "--method-option dim.gradient_checkpointing=true",
        ),
        ({"batch_size": 4}, "--method-option dim.batch_size=1, which changes the edit"),
        ({"strength": 1.0}, "a lighter setting of the method (bench show dim)"),
    ],
)
def test_memory_that_runs_out_while_erasing_advises_what_the_method_has(
    fake: ModuleType, settings: dict[str, Any], advice: str
) -> None:
    plan = fake.tiny_plan(methods=[fake.method("none"), fake.method("dim", **settings)])
    erase = next(task for task in plan.tasks if task.kind == "erase" and task.method == "dim")
    reason = reason_of(RuntimeError("CUDA error: out of memory"), erase)
    assert f"(out of memory while erasing: try {advice}; a narrower --dtype" in reason
    assert "batch-size" not in reason


def test_memory_that_runs_out_while_scoring_advises_the_evaluator(fake: ModuleType) -> None:
    from dataclasses import replace

    score = next(task for task in fake.tiny_plan().tasks if task.kind == "score")
    assert "--evaluator-option clip.batch_size=1" in reason_of(
        MemoryError(), replace(score, evaluator="clip")
    )
    assert "--evaluator-option fake.device=cpu" in reason_of(MemoryError(), score)


def test_a_piped_log_says_how_far_the_run_is_and_what_is_left(
    fake: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each line: how many of all tasks, the time left, and what is being done, however long that takes."""
    import io

    from rich.console import Console

    now = [0.0]
    said = io.StringIO()
    reporter = LiveProgress(
        Console(file=said, force_terminal=False, width=100),
        lambda todo: Estimator(todo, {task.id: None for task in todo}, clock=lambda: now[0]),
    )
    plan = fake.tiny_plan()
    monkeypatch.setattr(reporter, "_ticker", threading.Thread(target=lambda: None))
    reporter.begin(plan.tasks)
    cell = plan.cells[-1]
    reporter.working_on(cell, cell.erase)
    for seconds, tell in (
        (20.0, lambda: reporter.preparing(1, 4, "pictures")),
        (40.0, lambda: reporter.preparing(2, 4, "pictures")),
        (80.0, lambda: reporter.preparing(4, 4, "pictures")),
        (90.0, lambda: reporter.preparing(1, 3, "Fisher samples")),
        (100.0, lambda: reporter.preparing(2, 3, "Fisher samples")),
        (110.0, lambda: reporter.step(1, 10, 0.5)),
        (190.0, lambda: reporter.step(9, 10, 0.5)),
        (195.0, lambda: None),
    ):
        now[0] = seconds
        tell()
        reporter.tick()
    now[0] = 200.0
    reporter.finished(cell.erase, well=True)
    reporter.tick()
    lines = said.getvalue().splitlines()
    start = f"/{len(plan.tasks)} tasks"
    assert all(start in line for line in lines)
    assert [line.partition(start)[2] for line in lines] == [
        left + (f" · dim · Blue Cube · seed 0 · erasing {doing}" if doing else "")
        for left, doing in (
            ("", "1/4 pictures"),
            ("", "2/4 pictures, 0:40 left"),
            ("", "4/4 pictures, 0:00 left"),
            ("", "1/3 Fisher samples"),
            ("", "2/3 Fisher samples, 0:10 left"),
            ("", "1/10 steps, loss 0.5000"),
            (", at least 0:10 left", "9/10 steps, loss 0.5000, 0:10 left"),
            (", at least 0:05 left", "9/10 steps, loss 0.5000, 0:10 left"),
            (", at least 3:20 left", ""),
        )
    ]


def test_a_log_goes_on_while_a_task_says_nothing(
    fake: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import io

    from rich.console import Console

    monkeypatch.setattr("erasure_bench.bench.running.progress.LINE_EVERY_SECONDS", 0.1)
    said = io.StringIO()
    reporter = LiveProgress(Console(file=said, force_terminal=False, width=200))
    worker = fake.FakeWorker(Store(tmp_path))

    def silent(task: Any) -> bool:
        if task.kind == "erase":
            time.sleep(0.5)
        return False

    worker.break_on = silent
    execute(fake.tiny_plan(), worker, worker.store, reporter)
    lines = said.getvalue().splitlines()
    assert len(lines) >= 5
    assert all("tasks" in line for line in lines)
    count = threading.active_count()
    time.sleep(0.3)
    assert said.getvalue().splitlines() == lines and threading.active_count() <= count, "and it ends"


def test_a_time_is_a_clock() -> None:
    assert (clock(59.6), clock(3725)) == ("1:00", "1:02:05")


@pytest.mark.parametrize("terminal", [True, False])
def test_live_progress_goes_through_a_whole_run(fake: ModuleType, tmp_path: Path, terminal: bool) -> None:
    import io

    from rich.console import Console

    said = io.StringIO()
    reporter: Reporter = LiveProgress(Console(file=said, force_terminal=terminal, width=100))
    worker = fake.FakeWorker(Store(tmp_path))
    worker.break_on = lambda task: task.kind == "erase" and task.method == "dim"
    execute(fake.tiny_plan(), worker, worker.store, reporter)
    assert "failed: dim · red ball · seed 0: erasing: RuntimeError" in said.getvalue()


def test_a_task_over_its_limit_fails_by_name_and_the_run_goes_on(fake: ModuleType, tmp_path: Path) -> None:
    def hangs(task: Any) -> bool:
        if task.kind == "erase" and task.method == "dim" and task.concepts[0].name == "red ball":
            time.sleep(60)
        return False

    worker = fake.FakeWorker(Store(tmp_path))
    worker.break_on = hangs
    plan = fake.tiny_plan(RunConfig(suite="tiny", methods=("dim",), task_timeout=4.0))
    outcome, _ = fake.run(plan, tmp_path, tmp_path / "out", worker)
    (failure,) = outcome.failures
    assert (failure.method, failure.concept, failure.stage) == ("dim", "red ball", "erase")
    assert failure.reason == "took longer than 4 s (--task-timeout)"
    assert outcome.done == {"erase": 2, "generate": 8, "score": 9}, "everything else is there"
    assert list((tmp_path / "tmp").iterdir()) == [], "and nothing half-written"

    mended = fake.FakeWorker(Store(tmp_path))
    outcome, _ = fake.run(plan, tmp_path, tmp_path / "out", mended)
    assert outcome.failures == ()
