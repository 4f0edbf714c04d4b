"""Does a plan's unfinished tasks in this process, one after the other.

Any number of processes may do so at once, on one machine or many: they share the tasks by claims in the
store, and in a bucket behind it (`storage.claims`), and what fails by a board.
"""

import time
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import NamedTuple, Protocol, get_args

from erasure_bench.bench.planning.plan import Cell, Plan
from erasure_bench.bench.planning.tasks import (
    DOING,
    EraseTask,
    FeatureTask,
    GenerateTask,
    ScoreTask,
    Task,
    TaskKind,
    needed_by,
)
from erasure_bench.bench.running.agenda import Agenda, Turn
from erasure_bench.bench.running.board import Alone, Board
from erasure_bench.bench.running.failures import Broken, Failure, Ledger, broken_by, each_once
from erasure_bench.bench.running.reasons import ran_out_of_memory
from erasure_bench.bench.running.watcher import Watcher
from erasure_bench.bench.running.worker import Worker
from erasure_bench.bench.storage.bucket_claims import claims_of
from erasure_bench.bench.storage.checkpoints import remove_finished
from erasure_bench.bench.storage.claims import TaskClaims
from erasure_bench.bench.storage.store import DamagedEntry, Store, StoreAway, StoreError
from erasure_bench.foreign.time_limit import end_this_process, time_limit
from erasure_bench.prompt_suites.concepts import Concept


class Outcome(NamedTuple):
    """What an execution did: failures, tasks done by kind, seconds; and why tasks failed, by their ids."""

    failures: tuple[Failure, ...]
    done: Mapping[TaskKind, int]
    seconds: float
    broken: Mapping[str, Broken]


NOTHING = Outcome((), {}, 0.0, {})
KINDS: frozenset[TaskKind] = frozenset(get_args(TaskKind))
DRAWING: frozenset[TaskKind] = frozenset({"erase", "generate"})
"""The tasks that make pictures; all others only look at them."""
WAIT_SECONDS = 0.05
"""Between two looks whether others have done what the rest waits for; twice as long after each in vain."""
AWAY_SECONDS = 2.0
"""Between two looks whether a store that is gone is back."""
PATIENCE_SECONDS = 600.0
"""How long a run waits for a store that is gone."""
RESTARTS = 10
"""How often a task may find what it needs damaged; the store gives up long before, someone's code may not."""


class Reporter(Watcher, Protocol):
    """Shows progress; every call is cheap."""

    def begin(self, todo: tuple[Task, ...]) -> None: ...

    def working_on(self, cell: Cell, task: Task) -> None: ...

    def waiting(self) -> None: ...

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
    broken: dict[str, Broken] = {}
    stays: dict[Failure, None] = {}
    for failure in failures:
        if failure.stage not in DRAWING:
            continue
        why = Broken(failure.stage, failure.reason, failure.trace, failure.losses)
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
    board: Board | None = None,
    start: float = 0.0,
) -> Outcome:
    """Does what the store lacks and nobody else is doing, until all of it is there.

    A task that fails, or takes longer than the config's `task_timeout`, is recorded with its reason for
    every cell that needs it, and the rest goes on; what failed in an `earlier` pass of the same run, which
    the outcome includes, is not tried again. What turns out to be damaged when a task needs it is made anew.
    Without `draw` no edit and no picture is made: scores that need one which is not there fail.
    `board` is where the other workers of this run tell what failed, `start` where among the edits to begin
    (`agenda.Agenda`).
    Raises StoreError where nothing can be finished any more (full disk), BenchError where an evaluator
    cannot be loaded, and passes KeyboardInterrupt on; what was finished stays finished.
    """
    started = time.perf_counter()
    kinds = KINDS if draw else KINDS - DRAWING
    ledger = Ledger(plan, store, earlier.broken)
    todo = tuple(task for task in plan.unfinished(store) if task.kind in kinds and ledger.cause(task) is None)
    store.clean()
    remove_finished(store)
    if not todo:
        return earlier
    reporter.begin(todo)
    try:
        measuring = (task for task in todo if isinstance(task, ScoreTask | FeatureTask))
        worker.prepare(list(dict.fromkeys(task.evaluator for task in measuring)))
        with claims_of(store) as claims:
            agenda = Agenda(todo, claims, store, start=start, ordered=draw)
            done = _Execution(
                plan, worker, store, reporter, ledger, agenda, claims, board or Alone(), draw
            ).do()
            if not agenda:
                claims.remove_dead({task.id for task in plan.tasks})
    finally:
        worker.close()
        reporter.end()
    failures = each_once((*earlier.failures, *ledger.failures(kinds)))
    seconds = earlier.seconds + time.perf_counter() - started
    return Outcome(failures, dict(Counter(earlier.done) + done), seconds, ledger.broken)


class _Execution:
    """One worker's way through its agenda."""

    def __init__(
        self,
        plan: Plan,
        worker: Worker | Work,
        store: Store,
        reporter: Reporter,
        ledger: Ledger,
        agenda: Agenda,
        claims: TaskClaims,
        board: Board,
        draw: bool,
    ) -> None:
        self.worker, self.store, self.reporter = worker, store, reporter
        self.ledger, self.agenda, self.claims, self.board = ledger, agenda, claims, board
        self.limit, self.draw = plan.config.task_timeout, draw
        self.cells: dict[str, Cell] = {}
        for cell in plan.cells:
            for task in cell.tasks:
                self.cells.setdefault(task.id, cell)
        self.restarts: Counter[str] = Counter()
        self.away_since: float | None = None
        self.told: set[Failure] = set()

    def do(self) -> Counter[TaskKind]:
        """How many tasks were done, by kind."""
        done: Counter[TaskKind] = Counter()
        before: str | None = None
        wait = WAIT_SECONDS
        while not self.board.closed():
            for task_id, why in self.board.news().items():
                self._break(task_id, why)
            try:
                turn = self.agenda.take()
            except (OSError, StoreAway) as error:
                self._away(str(getattr(error, "strerror", None) or error))
                continue
            if not self.store.is_there():
                self._away("it is gone")
                continue
            if before is not None and (turn is None or turn.task.id != before):
                self.claims.release(before)  # only now: so long the edit was seen to be somebody's
            before = None
            if turn is not None:
                before, wait = turn.task.id, WAIT_SECONDS
                done[turn.task.kind] += self._turn(turn)
            elif not self.agenda:
                break
            else:
                self.away_since = None  # it has been looked into, and told that others are at work
                self.reporter.waiting()
                time.sleep(wait)
                wait = min(2 * wait, self.agenda.patience)
        return done

    def _turn(self, turn: Turn) -> bool:
        """Does the task, or finds why it cannot be done; whether it is done."""
        task, cell = turn.task, self.cells[turn.task.id]
        if turn.after is not None and (why := self.board.died(task, turn.after)) is not None:
            self._break(task.id, why)
            return False
        self.reporter.working_on(cell, task)
        try:
            self._do(task, cell)
        except StoreAway as error:
            self._away(str(error))
            return False
        except StoreError:
            raise
        except Exception as error:
            if self.store.is_there():
                self.away_since = None
                self._failed(task, error)
            return False
        self.away_since = None
        self.agenda.drop(task)
        self.reporter.finished(task, well=True)
        return True

    def _away(self, why: str) -> None:
        """Waits a moment for a store that is gone; raises StoreAway where it has been for too long."""
        now = time.monotonic()
        if self.away_since is None:
            self.away_since = now
            self.reporter.note(f"the store {self.store.root} is away ({why}): waiting for it")
        elif now - self.away_since > PATIENCE_SECONDS:
            raise StoreAway(
                f"store {self.store.root}: away for {PATIENCE_SECONDS / 60:.0f} minutes ({why}); when it is "
                "back, run the same command again"
            )
        time.sleep(AWAY_SECONDS)

    def _do(self, task: Task, cell: Cell) -> None:
        def hangs(line: str) -> None:
            self.board.hangs(task, Broken(task.kind, f"took longer than {self.limit:g} s and hung"))
            end_this_process(line)

        with time_limit(self.limit, f"{cell.title}: {DOING[task.kind]}", end_process=hangs):
            if isinstance(task, EraseTask):
                self.worker.erase(task, cell.concept, self.reporter)
            elif isinstance(task, GenerateTask):
                self.worker.generate(task, self.reporter)
            elif isinstance(task, ScoreTask):
                self.worker.score(task)
            else:
                self.worker.features(task)

    def _failed(self, task: Task, error: Exception) -> None:
        self.restarts[task.id] += 1
        if isinstance(error, DamagedEntry) and self.draw and self.restarts[task.id] <= RESTARTS:
            # What the task needs is no longer there: of another edit's, it may be the base's.
            self.agenda.put_back(needed_by(task))
            return
        cause = task if self.draw else self._lost(task)
        why = broken_by(cause, error)
        if isinstance(task, EraseTask | GenerateTask):
            self.worker.forget_model()
        if not self.board.failed(cause, why, may_do_elsewhere=ran_out_of_memory(error)):
            self.reporter.note(f"{why.reason}: left to another worker")
            self.agenda.pass_over(task)
            return
        self.agenda.drop(task)
        self.reporter.finished(task, well=False)
        self._break(cause.id, why)

    def _break(self, task_id: str, why: Broken) -> None:
        """Nothing that needs the broken task is done any more."""
        for task, failure in self.ledger.add(task_id, why):
            if task in self.agenda:
                self.agenda.drop(task)
                self.reporter.skipped(task)
            if failure not in self.told and (self.draw or task.kind not in DRAWING):
                self.told.add(failure)
                self.reporter.failed(failure)

    def _lost(self, task: Task) -> Task:
        """The pictures that the task needs and the store no longer has; the task itself where it has all."""
        needed = (each for each in needed_by(task) if isinstance(each, GenerateTask))
        return next((each for each in needed if not self.store.has(each.kind, each.id)), task)
