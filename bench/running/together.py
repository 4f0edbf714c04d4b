"""Several reporters of one run."""

from collections.abc import Sequence

from erasure_bench.bench.planning.plan import Cell
from erasure_bench.bench.planning.tasks import Task
from erasure_bench.bench.running.executor import Reporter
from erasure_bench.bench.running.failures import Failure
from erasure_bench.bench.running.progress import Quiet


class Together:
    """Tells each of them all that happens, in their order."""

    def __init__(self, reporters: Sequence[Reporter]) -> None:
        self._reporters = tuple(reporters)

    def begin(self, todo: tuple[Task, ...]) -> None:
        for reporter in self._reporters:
            reporter.begin(todo)

    def working_on(self, cell: Cell, task: Task) -> None:
        for reporter in self._reporters:
            reporter.working_on(cell, task)

    def preparing(self, made: int, total: int, unit: str) -> None:
        for reporter in self._reporters:
            reporter.preparing(made, total, unit)

    def step(self, step: int, steps: int, loss: float) -> None:
        for reporter in self._reporters:
            reporter.step(step, steps, loss)

    def images(self, count: int) -> None:
        for reporter in self._reporters:
            reporter.images(count)

    def aside(self, seconds: float) -> None:
        for reporter in self._reporters:
            reporter.aside(seconds)

    def note(self, line: str) -> None:
        for reporter in self._reporters:
            reporter.note(line)

    def waiting(self) -> None:
        for reporter in self._reporters:
            reporter.waiting()

    def finished(self, task: Task, *, well: bool) -> None:
        for reporter in self._reporters:
            reporter.finished(task, well=well)

    def skipped(self, task: Task) -> None:
        for reporter in self._reporters:
            reporter.skipped(task)

    def failed(self, failure: Failure) -> None:
        for reporter in self._reporters:
            reporter.failed(failure)

    def end(self) -> None:
        for reporter in self._reporters:
            reporter.end()


class OnlyCounts(Quiet):
    """Tells a reporter what is done and what failed, and not what is at hand: that is several tasks."""

    def __init__(self, reporter: Reporter) -> None:
        self._reporter = reporter

    def begin(self, todo: tuple[Task, ...]) -> None:
        self._reporter.begin(todo)

    def finished(self, task: Task, *, well: bool) -> None:
        self._reporter.finished(task, well=well)

    def skipped(self, task: Task) -> None:
        self._reporter.skipped(task)

    def failed(self, failure: Failure) -> None:
        self._reporter.failed(failure)

    def end(self) -> None:
        self._reporter.end()
