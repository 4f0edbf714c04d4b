"""Live progress on stderr: what is being done, how fast, how much time is left."""

import time
from collections import Counter, defaultdict
from typing import NamedTuple

from rich.console import Console
from rich.progress import TaskID

from erasure_bench.bench.planning.plan import Cell
from erasure_bench.bench.planning.tasks import DOING, EraseTask, GenerateTask, Task, TaskKind
from erasure_bench.bench.running.bars import Bars
from erasure_bench.bench.running.executor import Failure
from erasure_bench.bench.words.showing import one_line

LINE_EVERY_SECONDS = 10.0


class Quiet:
    """Shows nothing."""

    def begin(self, todo: tuple[Task, ...]) -> None: ...

    def working_on(self, cell: Cell, task: Task) -> None: ...

    def preparing(self, made: int, total: int, unit: str) -> None: ...

    def step(self, step: int, steps: int, loss: float) -> None: ...

    def images(self, count: int) -> None: ...

    def note(self, line: str) -> None: ...

    def finished(self, task: Task) -> None: ...

    def failed(self, failure: Failure) -> None: ...

    def end(self) -> None: ...


class Pace:
    """How long each kind of task took so far, and what that makes of the rest."""

    def __init__(self, todo: tuple[Task, ...]) -> None:
        self.total = len(todo)
        self.done = 0
        self._left: Counter[TaskKind] = Counter()
        for task in todo:
            self._left[task.kind] += _size(task)
        self._sizes: Counter[TaskKind] = Counter()
        self._seconds: defaultdict[TaskKind, float] = defaultdict(float)

    def finished(self, task: Task, seconds: float) -> None:
        """Counts a task that took so long."""
        self.done += 1
        self._left[task.kind] -= _size(task)
        self._sizes[task.kind] += _size(task)
        self._seconds[task.kind] += seconds

    @property
    def images_per_second(self) -> float | None:
        """Pictures drawn per second of drawing; None before the first."""
        seconds = self._seconds["generate"]
        return self._sizes["generate"] / seconds if seconds else None

    @property
    def seconds_left(self) -> float | None:
        """An estimate from each kind's mean so far; None while a kind still to come has not been seen."""
        if any(left and not self._sizes[kind] for kind, left in self._left.items()):
            return None
        return sum(
            left * self._seconds[kind] / self._sizes[kind] for kind, left in self._left.items() if left
        )


class _Part(NamedTuple):
    """Pictures, Fisher samples or steps of one edit, and when and how far they were first told of.

    Time left is counted from there, as what came before may have been all sorts of setting up.
    """

    unit: str
    total: int
    done: int
    since: float

    def left(self, done: int) -> str:
        """`0:12 left`, or nothing as long as there is no pace."""
        if done <= self.done:
            return ""
        pace = (time.perf_counter() - self.since) / (done - self.done)
        return f"{clock(pace * (self.total - done))} left"


NO_PART = _Part("", 0, 0, 0.0)


class LiveProgress(Quiet):
    """Two bars on a terminal; on anything else a line now and then."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live = console.is_terminal
        self._progress = Bars(console, disable=not self._live)
        self._whole: TaskID | None = None
        self._part: TaskID | None = None
        self._pace = Pace(())
        self._task_started = self._last_line = time.perf_counter()
        self._erasing_part = NO_PART
        self._title = ""

    def begin(self, todo: tuple[Task, ...]) -> None:
        self._pace = Pace(todo)
        self._progress.start()
        self._whole = self._progress.add_task("all", total=len(todo), unit="tasks", note="loading the model")
        self._part = self._progress.add_task("", total=1, unit="", note="", visible=False)

    def working_on(self, cell: Cell, task: Task) -> None:
        self._task_started = time.perf_counter()
        self._erasing_part = NO_PART
        self._title = f"{one_line(cell.title)} · {DOING[task.kind]}"
        if not isinstance(task, EraseTask):
            self._title += f" {(task if isinstance(task, GenerateTask) else task.generate).images.role}"
        if self._part is not None:
            images = len(task.images) if isinstance(task, GenerateTask) else 0
            self._progress.reset(
                self._part,
                total=images or 1,
                description=self._title,
                unit="images" if images else "",
                note="",
                visible=True,
            )

    def preparing(self, made: int, total: int, unit: str) -> None:
        self._erasing(made, total, unit)

    def step(self, step: int, steps: int, loss: float) -> None:
        self._erasing(step, steps, "steps", f"loss {loss:.4f}")

    def images(self, count: int) -> None:
        if self._part is None:
            return
        self._progress.advance(self._part, count)
        part = next(task for task in self._progress.tasks if task.id == self._part)
        rate = part.completed / max(time.perf_counter() - self._task_started, 1e-9)
        self._progress.update(self._part, note=f"{rate:.1f} images/s")
        self._line(f"{self._title} {part.completed:.0f}/{part.total or 0:.0f} images, {rate:.1f} images/s")

    def note(self, line: str) -> None:
        about = f"{self._title}: " if self._title else ""
        self._console.print(f"{about}{line}", style="dim", markup=False, highlight=False, soft_wrap=True)

    def finished(self, task: Task) -> None:
        self._pace.finished(task, time.perf_counter() - self._task_started)
        note = self._note()
        if self._whole is not None:
            self._progress.update(self._whole, completed=self._pace.done, note=note)
        self._line(f"{self._pace.done}/{self._pace.total} tasks, {note}")

    def failed(self, failure: Failure) -> None:
        self._console.print(
            f"failed: {describe(failure)}", style="red", markup=False, highlight=False, soft_wrap=True
        )

    def end(self) -> None:
        self._progress.stop()

    def _erasing(self, done: int, total: int, unit: str, about: str = "") -> None:
        if (unit, total) != self._erasing_part[:2]:
            self._erasing_part = _Part(unit, total, done, time.perf_counter())
        note = ", ".join(part for part in (about, self._erasing_part.left(done)) if part)
        if self._part is not None:
            self._progress.update(self._part, completed=done, total=total, unit=unit, note=note)
        self._line(f"{self._title} {done}/{total} {unit}" + (f", {note}" if note else ""))

    def _note(self) -> str:
        rate, left = self._pace.images_per_second, self._pace.seconds_left
        parts = [
            f"{rate:.1f} images/s" if rate else "",
            f"about {clock(left)} left" if left is not None else "",
        ]
        return ", ".join(part for part in parts if part)

    def _line(self, text: str) -> None:
        now = time.perf_counter()
        if not self._live and now - self._last_line >= LINE_EVERY_SECONDS:
            self._last_line = now
            self._console.print(text, markup=False, highlight=False, soft_wrap=True)


def describe(failure: Failure) -> str:
    """A failure in one line."""
    about = [
        failure.method,
        failure.concept,
        f"seed {failure.seed}",
        failure.role or "",
        failure.evaluator or "",
    ]
    return one_line(f"{' · '.join(part for part in about if part)}: {DOING[failure.stage]}: {failure.reason}")


def clock(seconds: float) -> str:
    """Seconds as m:ss or h:mm:ss."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def _size(task: Task) -> int:
    return len(task.images) if isinstance(task, GenerateTask) else 1
