"""Scores of pictures that are there: nothing is drawn, and what is not there is a failure with its reason."""

from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

from erasure_bench.bench.planning.config import RunConfig
from erasure_bench.bench.planning.plan import Plan
from erasure_bench.bench.reporting.completing import complete
from erasure_bench.bench.running.executor import NOTHING, Outcome, execute, without_pictures
from erasure_bench.bench.running.progress import Quiet
from erasure_bench.bench.storage.store import Store


def plans(fake: ModuleType) -> tuple[Plan, Plan]:
    """The plan of a run, and the same with another evaluator besides."""
    config = RunConfig(suite="tiny", methods=("dim",), concepts=("red ball",))
    first = fake.evaluator(detector="arithmetic")
    second = replace(fake.evaluator(detector="another"), name="second", compares_with="pairs")
    return tuple(fake.tiny_plan(config, evaluators=each) for each in ([first], [first, second]))  # type: ignore[return-value]


def drawn(fake: ModuleType, folder: Path, break_on: Any = lambda task: False) -> tuple[Plan, Outcome]:
    """The larger plan, and the outcome of a run of the smaller one in the store `folder`."""
    small, large = plans(fake)
    worker = fake.FakeWorker(Store(folder))
    worker.break_on = break_on
    return large, execute(small, worker, worker.store, Quiet())


def scoring(fake: ModuleType, plan: Plan, folder: Path, earlier: Outcome = NOTHING) -> tuple[Any, Outcome]:
    worker = fake.FakeWorker(Store(folder))
    worker.break_on = lambda task: task.kind != "score"
    return worker, execute(plan, worker, worker.store, Quiet(), earlier, draw=False)


def remove(store: Store, task: Any) -> None:
    store.folder(task.kind, task.id).rename(store.root / f"gone-{task.kind}-{task.id}")


def test_only_the_new_scores_are_made_and_the_rest_is_as_if_asked_for_at_once(
    fake: ModuleType, tmp_path: Path
) -> None:
    plan, _ = drawn(fake, tmp_path / "a")
    worker, outcome = scoring(fake, plan, tmp_path / "a")

    new = {task.id for cell in plan.cells for task in cell.score if task.evaluator == "second"}
    assert outcome.failures == () and set(worker.calls) == new and len(worker.calls) == len(new)
    again, outcome = scoring(fake, plan, tmp_path / "a")
    assert again.calls == [] and outcome == NOTHING

    whole = fake.completed(plan, tmp_path / "b").results
    assert fake.completed(plan, tmp_path / "a").results.document == whole.document


def test_an_edit_that_is_gone_is_not_made_again_where_its_pictures_are_there(
    fake: ModuleType, tmp_path: Path
) -> None:
    plan, _ = drawn(fake, tmp_path)
    remove(Store(tmp_path), plan.cells[-1].erase)

    _, outcome = scoring(fake, plan, tmp_path)
    assert outcome.failures == () and set(outcome.done) == {"score"}


def test_pictures_that_failed_in_the_run_stay_that_failure(fake: ModuleType, tmp_path: Path) -> None:
    def is_it(task: Any) -> bool:
        return task.kind == "generate" and task.erase.method == "dim" and task.images.role == "target"

    plan, first = drawn(fake, tmp_path, is_it)
    known = without_pictures(plan, Store(tmp_path), first.failures)
    assert known.failures == first.failures and len(first.failures) == 1

    worker, outcome = scoring(fake, plan, tmp_path, known)
    assert outcome.failures == first.failures
    assert len(worker.calls) == 6 - 1

    mended = fake.FakeWorker(Store(tmp_path))
    execute(plan, mended, mended.store, Quiet())
    assert without_pictures(plan, Store(tmp_path), first.failures) == NOTHING


def test_a_picture_that_turns_out_damaged_fails_what_needs_it_and_is_not_drawn(
    fake: ModuleType, tmp_path: Path
) -> None:
    plan, _ = drawn(fake, tmp_path)
    store = Store(tmp_path)
    task = next(task for task in plan.cells[-1].generate if task.images.role == "anchor")
    file = store.folder(task.kind, task.id) / "000.png"
    file.write_bytes(b"x" * file.stat().st_size)

    with store:
        worker = fake.FakeWorker(store)
        done = complete(plan, worker, store, Quiet, draw=False)

    (failure,) = done.outcome.failures
    assert (failure.method, failure.role, failure.stage) == ("dim", "anchor", "generate")
    assert "000.png is damaged" in failure.reason and "run the same bench run again" in failure.reason
    assert not store.has(task.kind, task.id)
