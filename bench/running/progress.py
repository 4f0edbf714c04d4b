"""Live progress on stderr: what is being done, how fast, how much time is left."""

import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from rich.console import Console
from rich.progress import TaskID

from erasure_bench.bench.planning.plan import Cell
from erasure_bench.bench.planning.tasks import DOING, GenerateTask, Task, pictures_of
from erasure_bench.bench.running.bars import Bars
from erasure_bench.bench.running.estimating import Estimator, Left
from erasure_bench.bench.running.failures import Failure
from erasure_bench.bench.running.needs import STEPS
from erasure_bench.bench.running.paces import Paces
from erasure_bench.bench.words.showing import one_line

LINE_EVERY_SECONDS = 10.0
SHOW_EVERY_SECONDS = 1.0
KEEP_EVERY_SECONDS = 30.0
"""How often others may learn from the store how fast work goes here."""


class Quiet:
    """Shows nothing."""

    def begin(self, todo: tuple[Task, ...]) -> None: ...

    def working_on(self, cell: Cell, task: Task) -> None: ...

    def waiting(self) -> None: ...

    def preparing(self, made: int, total: int, unit: str) -> None: ...

    def step(self, step: int, steps: int, loss: float) -> None: ...

    def images(self, count: int) -> None: ...

    def aside(self, seconds: float) -> None: ...

    def note(self, line: str) -> None: ...

    def finished(self, task: Task, *, well: bool) -> None: ...

    def skipped(self, task: Task) -> None: ...

    def failed(self, failure: Failure) -> None: ...

    def end(self) -> None: ...


class LiveProgress(Quiet):
    """Two bars on a terminal; on anything else a line every `LINE_EVERY_SECONDS`.

    `estimate` gives what is told of a run with so much to do, and says what is left of it.
    """

    def __init__(
        self, console: Console, estimate: Callable[[tuple[Task, ...]], Estimator] = Estimator
    ) -> None:
        self._console = console
        self._live = console.is_terminal
        self._progress = Bars(console, disable=not self._live)
        self._whole: TaskID | None = None
        self._part: TaskID | None = None
        self._estimate = estimate
        self._estimator = Estimator()
        self._title, self._doing = "", ""
        self._kept = time.monotonic()
        self._lock = threading.RLock()
        self._ended = threading.Event()
        self._ticker = threading.Thread(target=self._tick_on, name="progress", daemon=True)

    def begin(self, todo: tuple[Task, ...]) -> None:
        self._estimator = self._estimate(todo)
        self._progress.start()
        self._whole = self._progress.add_task("all", total=len(todo), unit="tasks", note="loading")
        self._part = self._progress.add_task("", total=1, unit="", note="", visible=False)
        self._ticker.start()

    def working_on(self, cell: Cell, task: Task) -> None:
        with self._lock:
            self._estimator.started(task)
            self._title = f"{one_line(cell.title)} · {DOING[task.kind]}"
            if (pictures := pictures_of(task)) is not None:
                self._title += f" {pictures.images.role}"
            self._doing = ""
            images = len(task.images) if isinstance(task, GenerateTask) else 0
            self._show_part(reset=True, total=images or 1, unit="images" if images else "", note="")

    def preparing(self, made: int, total: int, unit: str) -> None:
        self._erasing(made, total, unit)

    def step(self, step: int, steps: int, loss: float) -> None:
        self._erasing(step, steps, STEPS, f"loss {loss:.4f}")

    def images(self, count: int) -> None:
        with self._lock:
            self._estimator.images(count)
            rate = self._estimator.images_per_second
            note = f"{rate:.1f} images/s" if rate else ""
            done, total = self._estimator.images_done
            self._doing = f"{done}/{total} images" + (f", {note}" if note else "")
            self._show_part(completed=done, total=total, unit="images", note=note)

    def aside(self, seconds: float) -> None:
        with self._lock:
            self._estimator.aside(seconds)

    def note(self, line: str) -> None:
        about = f"{self._title}: " if self._title else ""
        self._console.print(
            f"{about}{one_line(line)}", style="dim", markup=False, highlight=False, soft_wrap=True
        )

    def finished(self, task: Task, *, well: bool) -> None:
        with self._lock:
            self._estimator.finished(well=well)
            self._title, self._doing = "", ""
            self._show_whole()
            if time.monotonic() - self._kept >= KEEP_EVERY_SECONDS:
                self._kept = time.monotonic()
                self._estimator.paces.keep()

    def skipped(self, task: Task) -> None:
        with self._lock:
            self._estimator.skipped(task)

    def failed(self, failure: Failure) -> None:
        self._console.print(
            f"failed: {describe(failure)}", style="red", markup=False, highlight=False, soft_wrap=True
        )

    def end(self) -> None:
        self._ended.set()
        if self._ticker.is_alive():
            self._ticker.join(timeout=1.0)
        self._progress.stop()
        self._estimator.paces.keep()

    def left(self) -> Left:
        """What is left of the run, as far as anybody knows."""
        with self._lock:
            return self._estimator.left()

    def tick(self) -> None:
        """Shows how far the run is now: on a terminal in its bar, else in a line."""
        with self._lock:
            if self._live:
                self._show_whole()
                return
            doing = f" · {self._title} {self._doing}".rstrip() if self._title else ""
            line = f"{self._estimator.done}/{self._estimator.total} tasks{self._left(', ')}{doing}"
        self._console.print(line, markup=False, highlight=False, soft_wrap=True)

    def _tick_on(self) -> None:
        while not self._ended.wait(SHOW_EVERY_SECONDS if self._live else LINE_EVERY_SECONDS):
            with suppress(OSError, ValueError):  # stderr is closed: nobody looks any more
                self.tick()

    def _erasing(self, done: int, total: int, unit: str, about: str = "") -> None:
        with self._lock:
            self._estimator.part(done, total, unit)
            seconds = self._estimator.part_left
            note = ", ".join(
                part for part in (about, "" if seconds is None else f"{clock(seconds)} left") if part
            )
            self._doing = f"{done}/{total} {unit}" + (f", {note}" if note else "")
            self._show_part(completed=done, total=total, unit=unit, note=note)

    def _show_part(self, *, reset: bool = False, **shown: Any) -> None:
        if self._part is None:
            return
        if reset:
            self._progress.reset(self._part, description=self._title, visible=True, **shown)
        else:
            self._progress.update(self._part, **shown)

    def _show_whole(self) -> None:
        if self._whole is not None:
            self._progress.update(
                self._whole,
                completed=self._estimator.done,
                total=self._estimator.total,
                note=self._left(),
            )

    def _left(self, before: str = "") -> str:
        words = in_words(self.left())
        return f"{before}{words} left" if words else ""


class CrewProgress(LiveProgress):
    """The same of several workers: what all of them together have done, and how many do what."""

    def __init__(
        self, console: Console, estimate: Callable[[tuple[Task, ...]], Estimator], workers: int
    ) -> None:
        super().__init__(console, estimate)
        self._workers = workers

    def working(self, doing: Counter[str]) -> None:
        """So many workers do this, so many that."""
        with self._lock:
            self._title = ", ".join(f"{count} {what}" for what, count in sorted(doing.items()))

    def working_on(self, cell: Cell, task: Task) -> None: ...

    def step(self, step: int, steps: int, loss: float) -> None: ...

    def note(self, line: str) -> None:
        self._console.print(one_line(line), style="dim", markup=False, highlight=False, soft_wrap=True)

    def finished(self, task: Task, *, well: bool) -> None:
        with self._lock:
            self._estimator.skipped(task)  # its time was another process'
            if time.monotonic() - self._kept >= KEEP_EVERY_SECONDS:
                self._kept = time.monotonic()
                self._estimator.paces = Paces(self._estimator.paces.file)
            self._show_whole()

    def left(self) -> Left:
        """As long as it takes all workers together."""
        left = super().left()
        return left._replace(seconds={kind: each / self._workers for kind, each in left.seconds.items()})

    def _left(self, before: str = "") -> str:
        words = super()._left(before)
        if not self._live:
            return words
        return ", ".join(part for part in (words, self._title) if part)


def in_words(left: Left) -> str:
    """`about 1:20`, `at least 1:20` where something cannot be told yet, or nothing where nothing can."""
    if left.told is None:
        return ""
    return f"{'at least' if left.unknown else 'about'} {clock(left.told)}"


def in_full(left: Left) -> str:
    """`in_words`, with each kind's share, and what it does not know of."""
    if not left.seconds and not left.unknown:
        return "none: nothing is to do"
    shares = ", ".join(
        f"{DOING[kind]} {clock(seconds)}" for kind, seconds in left.seconds.items() if round(seconds)
    )
    known = f"{in_words(left)}{f' ({shares})' if shares else ''}" if in_words(left) else ""
    unknown = f"not measured on this machine yet: {', '.join(left.unknown)}" if left.unknown else ""
    return "; ".join(part for part in (known, unknown) if part)


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
