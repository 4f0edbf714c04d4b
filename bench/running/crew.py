"""Several workers at one plan: starts them, reads what they tell, starts anew those that were lost."""

import time
from collections import Counter
from collections.abc import Callable, Sequence

from erasure_bench.bench.planning.plan import Cell, Plan
from erasure_bench.bench.planning.tasks import DOING, Task, TaskKind
from erasure_bench.bench.running.board import SharedBoard
from erasure_bench.bench.running.events import Event, Told
from erasure_bench.bench.running.executor import KINDS, NOTHING, Outcome, Reporter
from erasure_bench.bench.running.failures import Broken, Failure, Ledger, each_once
from erasure_bench.bench.running.launching import Ended, Handle, Launcher, Start
from erasure_bench.bench.storage.store import Store
from erasure_bench.errors import BenchError

LOOK_SECONDS = 0.25
MOST_LOST = 3
"""How often in a row a worker may end before it has finished a task, until it is given up."""
PAUSE_SECONDS = 2.0
"""Before a lost worker is started anew, doubled each time."""


class NoWorkers(BenchError):
    """All workers are given up: what is left of the run nobody does."""

    exit_code = 1


class _Member:
    """One worker's place in the crew, whichever process is in it."""

    def __init__(self, start: Start, launcher: Launcher) -> None:
        self.start, self._launcher = start, launcher
        self.told = Told(start.place)
        self.handle: Handle | None = launcher.start(start)
        self.lost, self.ended, self._again = 0, Ended(""), 0.0
        self.doing: Task | None = None

    @property
    def over(self) -> bool:
        """Whether it will do no more."""
        return self.handle is None and not self._again

    def look(self) -> Ended | None:
        """How its process ended, once; starts the next where that is due."""
        if self.handle is None:
            if self._again and time.monotonic() >= self._again:
                self._again = 0.0
                self.handle = self._launcher.start(self.start)
            return None
        ended = self.handle.ended()
        if ended is None:
            return None
        self.handle, self.doing, self.ended = None, None, ended
        if ended.why and ended.again and self.lost < MOST_LOST:
            self._again = time.monotonic() + PAUSE_SECONDS * 2**self.lost
            self.lost += 1
        return ended

    def stop(self) -> None:
        self._again = 0.0
        if self.handle is not None:
            self.handle.stop()


class Crew:
    """The workers of one run, and what they have told."""

    def __init__(
        self,
        plan: Plan,
        store: Store,
        starts: Sequence[Start],
        launcher: Launcher,
        reporter: Reporter,
        working: Callable[[Counter[str]], None] = lambda doing: None,
    ) -> None:
        self._plan, self._store, self._launcher = plan, store, launcher
        self._starts, self._reporter, self._working = starts, reporter, working
        self._board = SharedBoard(starts[0].job.parent, len(starts), starts[0].job)
        self._ledger = Ledger(plan, store, {})
        self._left: dict[str, Task] = {}
        self._cells: dict[str, Cell] = {}
        self._done: Counter[TaskKind] = Counter()
        self._told: set[Failure] = set()

    def do(self) -> Outcome:
        """Until the plan is done but for what is broken; `working` is told what is being done.

        Raises NoWorkers where all workers are given up before that, with what the last of them said.
        """
        started = time.perf_counter()
        todo = self._plan.unfinished(self._store)
        if not todo:
            return NOTHING
        self._left = {task.id: task for task in todo}
        for cell in self._plan.cells:
            for task in cell.tasks:
                self._cells.setdefault(task.id, cell)
        self._reporter.begin(todo)
        members: list[_Member] = []
        try:
            for start in self._starts:
                members.append(_Member(start, self._launcher))
            while not self._is_over(members):
                time.sleep(LOOK_SECONDS)
        finally:
            for member in members:
                member.stop()
            for member in members:
                if member.handle is not None:
                    member.handle.wait()
            self._launcher.close()
            self._reporter.end()
        failures = each_once(self._ledger.failures(KINDS))
        seconds = time.perf_counter() - started
        return Outcome(failures, dict(self._done), seconds, self._ledger.broken)

    def _is_over(self, members: Sequence[_Member]) -> bool:
        left_well = False
        for member in members:
            ended = member.look()
            for event in member.told.news():
                self._happened(member, event)
            if ended is not None:
                left_well |= not ended.why
                if ended.why:
                    self._say_lost(member, ended)
        for task_id, why in self._board.news().items():
            self._break(task_id, why)
        self._working(Counter(_doing(member) for member in members if not member.over))
        if not self._left or left_well:
            # Told from the store: another run may have done some of it, or damage has taken some away.
            self._left = {
                task.id: task
                for task in self._plan.unfinished(self._store)
                if self._ledger.cause(task) is None
            }
            if not self._left:
                return True
        if all(member.over for member in members):
            lost = next((member.ended.why for member in members if member.ended.why), "")
            if lost:
                raise NoWorkers(
                    f"no worker is left, and {len(self._left)} tasks are not done: {lost}; what is finished "
                    "is kept: the same command goes on from here"
                )
            return True
        return False

    def _happened(self, member: _Member, event: Event) -> None:
        match event:
            case ["begun", str(task_id)] if task_id in self._cells:
                cell = self._cells[task_id]
                member.doing = next((task for task in cell.tasks if task.id == task_id), None)
            case ["step", int(step), int(steps), float(loss)] if member.doing is not None:
                self._reporter.working_on(self._cells[member.doing.id], member.doing)
                self._reporter.step(step, steps, loss)
            case ["note", str(line)]:
                self._reporter.note(f"{member.start.name}: {line}")
            case ["done", str(task_id), bool(well)]:
                member.doing = None
                task = self._left.pop(task_id, None)
                if task is not None:
                    member.lost = 0
                    self._done[task.kind] += well
                    self._reporter.finished(task, well=well)
            case _:
                pass

    def _break(self, task_id: str, why: Broken) -> None:
        for task, failure in self._ledger.add(task_id, why):
            if self._left.pop(task.id, None) is not None:
                self._reporter.skipped(task)
            if failure not in self._told:
                self._told.add(failure)
                self._reporter.failed(failure)

    def _say_lost(self, member: _Member, ended: Ended) -> None:
        if member.over:
            self._board.give_up(member.start.name)
        then = "it is given up" if member.over else "started anew"
        self._reporter.note(f"worker {member.start.name} is lost ({ended.why}): {then}")


def _doing(member: _Member) -> str:
    return "waiting" if member.doing is None else DOING[member.doing.kind]
