"""The progress of one training on stderr: a bar on a terminal, else a line every few seconds."""

import time
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Self

from rich.console import Console

from erasure_bench.bench.running.bars import PARTS, Bars
from erasure_bench.bench.running.progress import clock
from erasure_bench.bench.words.showing import one_line

if TYPE_CHECKING:
    from erasure_bench.methods.base import Progress

LINE_EVERY_SECONDS = 10.0


class TrainingBar:
    """Told of every step, it shows the loss, the pace and the time that is left."""

    def __init__(self, console: Console, title: str, now: Callable[[], float] = time.perf_counter) -> None:
        self._console, self._title, self._now = console, title, now
        self._bars = Bars(console, disable=not console.is_terminal)
        self._first: tuple[int, float] | None = None
        self._said = now()

    def __enter__(self) -> Self:
        self._bars.start()
        self._task = self._bars.add_task(self._title, total=None, unit="steps", note="")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bars.stop()

    def say(self, line: str) -> None:
        """A remark."""
        self._console.print(one_line(line), highlight=False, markup=False, soft_wrap=True)

    def step(self, progress: "Progress") -> None:
        """One step more is done."""
        now = self._now()
        if self._first is None:
            self._first = progress.step, now
        over = progress.step == progress.steps
        said = f"{self._title}{PARTS}loss {progress.loss:.4g}"
        rest = "" if over else self._left(progress, now)
        self._bars.update(
            self._task, total=progress.steps, completed=progress.step, description=said, note=rest
        )
        if not self._console.is_terminal and (over or now - self._said >= LINE_EVERY_SECONDS):
            self._said = now
            self.say(PARTS.join(filter(None, [said, f"{progress.step}/{progress.steps} steps", rest])))

    def _left(self, progress: "Progress", now: float) -> str:
        """Pace and time left, by the steps since the first that was told of."""
        first, since = self._first or (progress.step, now)
        if progress.step == first or now == since:
            return ""
        pace = (progress.step - first) / (now - since)
        return f"{pace:.1f}/s, {clock((progress.steps - progress.step) / pace)} left"
