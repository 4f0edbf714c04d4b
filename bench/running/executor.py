"""The local executor: does a plan's unfinished tasks in this process, one after the other."""

import time
import traceback
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from erasure_bench.bench.planning.plan import Cell, Plan, unfinished
from erasure_bench.bench.planning.tasks import (
    DOING,
    EraseTask,
    FeatureTask,
    GenerateTask,
    ScoreTask,
    Task,
    TaskKind,
    needed_by,
    pictures_of,
)
from erasure_bench.bench.running.reasons import reason_of
from erasure_bench.bench.running.worker import Watcher, Worker
from erasure_bench.bench.storage.checkpoints import remove_finished
from erasure_bench.bench.storage.store import DamagedEntry, Store, StoreError
from erasure_bench.foreign.time_limit import time_limit
from erasure_bench.prompt_suites.concepts import Concept
from erasure_bench.prompt_suites.suite import Role


@dataclass(frozen=True, kw_only=True)
class Failure:
    """Why a cell, or a part of it, has no result.

    `role` and `evaluator` narrow it down; None means all of them. `losses` is the curve of a
    training that stopped.
    """

    method: str
    concept: str
    seed: int
    stage: TaskKind
    reason: str
    role: Role | None = None
    evaluator: str | None = None
    trace: str = field(default="", compare=False)
    losses: tuple[float, ...] = field(default=(), compare=False)


class _Broken(NamedTuple):
    stage: TaskKind
    reason: str
    trace: str
    losses: tuple[float, ...]


class Outcome(NamedTuple):
    """What an execution did: failures, tasks done by kind, seconds; and why tasks failed, by their ids."""

    failures: tuple[Failure, ...]
    done: Mapping[TaskKind, int]
    seconds: float
    broken: Mapping[str, _Broken]


NOTHING = Outcome((), {}, 0.0, {})
DRAWING: frozenset[TaskKind] = frozenset({"erase", "generate"})
"""The tasks that make pictures; all others only look at them."""
RESTARTS = 10
"""How often a task may find what it needs damaged; the store gives up long before, someone's code may not."""


class Reporter(Watcher, Protocol):
    """Shows progress; every call is cheap."""

    def begin(self, todo: tuple[Task, ...]) -> None: ...

    def working_on(self, cell: Cell, task: Task) -> None: ...

    def finished(self, task: Task, *, well: bool) -> None: ...

    def skipped(self, task: Task) -> None: ...

    def failed(self, failure: Failure) -> None: ...

    def end(self) -> None: ...


class Work(Protocol):
    """What does the tasks (`bench.running.worker.Worker`)."""

    def prepare(self, evaluators: list[str]) -> None: ...

    def erase(self, task: EraseTask, concept: Concept, watcher: Watcher) -> None: ...

    def generate(self, task: GenerateTask, watcher: Watcher) -> None: ...

    def score(self, task: ScoreTask) -> None: ...

    def features(self, task: FeatureTask) -> None: ...

    def forget_model(self) -> None: ...

    def close(self) -> None: ...


def without_pictures(plan: Plan, store: Store, failures: Iterable[Failure]) -> Outcome:
    """The outcome of an earlier run of the plan whose pictures are not to be drawn now.

    Of its `failures` those stay that explain why the store lacks pictures.
    """
    broken: dict[str, _Broken] = {}
    stays: dict[Failure, None] = {}
    for failure in failures:
        if failure.stage not in DRAWING:
            continue
        why = _Broken(failure.stage, failure.reason, failure.trace, failure.losses)
        for cell in plan.cells:
            if (cell.method.name, cell.case.name, cell.seed) != (
                failure.method,
                failure.concept,
                failure.seed,
            ):
                continue
            for task in cell.generate:
                if failure.role in (None, task.images.role) and not store.has(task.kind, task.id):
                    broken[task.id] = why
                    stays[failure] = None
    return Outcome(tuple(stays), {}, 0.0, broken)


def execute(
    plan: Plan,
    worker: Worker | Work,
    store: Store,
    reporter: Reporter,
    earlier: Outcome = NOTHING,
    *,
    draw: bool = True,
) -> Outcome:
    """Does what the store lacks, cell by cell.

    A task that fails, or takes longer than the config's `task_timeout`, is recorded with its reason for
    every cell that needs it, and the rest goes on; what failed in an `earlier` pass of the same run, which
    the outcome includes, is not tried again. What turns out to be damaged when a task needs it is made anew.
    Without `draw` no edit and no picture is made: scores that need one which is not there fail.
    Raises StoreError where nothing can be finished any more (full disk), BenchError where an evaluator
    cannot be loaded, and passes KeyboardInterrupt on; what was finished stays finished.
    """
    started = time.perf_counter()
    broken = dict(earlier.broken)
    todo = tuple(
        task
        for task in unfinished(plan.cells, store)
        if (draw or task.kind not in DRAWING) and _cause(task, broken) is None
    )
    done: Counter[TaskKind] = Counter(earlier.done)
    skipped: set[str] = set()
    restarts: Counter[str] = Counter()
    failures: dict[Failure, None] = dict.fromkeys(earlier.failures)
    store.clean()
    remove_finished(store)
    if not todo:
        return earlier
    reporter.begin(todo)
    try:
        measuring = (task for task in todo if isinstance(task, ScoreTask | FeatureTask))
        worker.prepare(list(dict.fromkeys(task.evaluator for task in measuring)))
        for cell in plan.cells:
            left = list(cell.tasks)
            while left:
                task = left.pop(0)
                if store.has(task.kind, task.id) or (task.kind in DRAWING and not draw):
                    continue
                if _cause(task, broken) is None:
                    reporter.working_on(cell, task)
                    well = False
                    try:
                        with time_limit(plan.config.task_timeout, f"{cell.title}: {DOING[task.kind]}"):
                            _do(task, cell, worker, reporter)
                        done[task.kind] += 1
                        well = True
                    except StoreError:
                        raise
                    except Exception as error:
                        restarts[task.id] += 1
                        if isinstance(error, DamagedEntry) and draw and restarts[task.id] <= RESTARTS:
                            # What the task needs is no longer there: of another cell's, it may be the base's.
                            left = [*needed_by(task), *cell.tasks]
                            continue
                        cause = task if draw else _lost(task, store)
                        broken[cause.id] = _broken(cause, error)
                        if isinstance(task, EraseTask | GenerateTask):
                            worker.forget_model()
                    reporter.finished(task, well=well)
                elif task.id not in broken and task.id not in skipped:
                    skipped.add(task.id)
                    reporter.skipped(task)
                why = _cause(task, broken)
                if why is not None and (failure := _failure(cell, task, why)) not in failures:
                    failures[failure] = None
                    reporter.failed(failure)
    finally:
        worker.close()
        reporter.end()
    seconds = earlier.seconds + time.perf_counter() - started
    return Outcome(tuple(failures), dict(done), seconds, broken)


def _do(task: Task, cell: Cell, worker: Worker | Work, reporter: Reporter) -> None:
    if isinstance(task, EraseTask):
        worker.erase(task, cell.concept, reporter)
    elif isinstance(task, GenerateTask):
        worker.generate(task, reporter)
    elif isinstance(task, ScoreTask):
        worker.score(task)
    else:
        worker.features(task)


def _lost(task: Task, store: Store) -> Task:
    """The pictures that the task needs and the store no longer has; the task itself where it has all."""
    needed = (each for each in needed_by(task) if isinstance(each, GenerateTask))
    return next((each for each in needed if not store.has(each.kind, each.id)), task)


def _broken(task: Task, error: Exception) -> _Broken:
    losses = tuple(getattr(error, "losses", ()))
    return _Broken(task.kind, reason_of(error, task), traceback.format_exc(), losses)


def _cause(task: Task, broken: Mapping[str, _Broken]) -> _Broken | None:
    """What already failed of the task itself or of what it needs."""
    chain: list[Task] = [task]
    if (pictures := pictures_of(task)) is not None:
        chain += [pictures, pictures.erase]
    found = next((broken[each.id] for each in chain if each.id in broken), None)
    return _of_base(task, broken) if found is None else found


def _of_base(task: Task, broken: Mapping[str, _Broken]) -> _Broken | None:
    """What failed of the base model's pictures that scores compare with: these scores' failure alone."""
    found = next((broken[each.id] for each in needed_by(task) if each.id in broken), None)
    return found and found._replace(stage="score", reason=f"the base model's pictures: {found.reason}")


def _failure(cell: Cell, task: Task, why: _Broken) -> Failure:
    """The failure of what the broken task was to give: a cell, a role, or a role's scores by an evaluator."""
    pictures = pictures_of(task)
    measuring = task if isinstance(task, ScoreTask | FeatureTask) and why.stage == task.kind else None
    return Failure(
        method=cell.method.name,
        concept=cell.case.name,
        seed=cell.seed,
        stage=why.stage,
        reason=why.reason,
        role=pictures.images.role if pictures and why.stage != "erase" else None,
        evaluator=measuring.evaluator if measuring else None,
        trace=why.trace,
        losses=why.losses,
    )
