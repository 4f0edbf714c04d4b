"""A tracker that can neither stop a run nor hold it up.

It lives in a thread of its own and is told things through a queue. The first error, or an end that takes
longer than `PATIENCE` seconds, is one line on stderr; after it the tracker is told nothing more.
"""

import queue
import threading
from collections.abc import Callable, Mapping
from pathlib import Path

from erasure_bench.bench.tracking.base import TrackedRun, Tracker
from erasure_bench.bench.words.showing import one_line

PATIENCE = 60.0
"""Seconds that the end of a run waits for what a tracker still has to send."""
_IN_A_HURRY = 5.0
MOST_WAITING = 100_000
"""Calls."""


class Guarded:
    """`build` makes the tracker, in its thread; `say` is told the one line, where there is one to tell."""

    def __init__(
        self, name: str, build: Callable[[], Tracker], say: Callable[[str], None], patience: float = PATIENCE
    ) -> None:
        self._name, self._build, self._say, self._patience = name, build, say, patience
        self._calls: queue.Queue[Callable[[Tracker], None] | None] = queue.Queue(MOST_WAITING)
        self._broken = threading.Event()
        self._thread = threading.Thread(target=self._work, name=f"tracker {name}", daemon=True)
        self._thread.start()

    def begin(self, run: TrackedRun) -> None:
        self._tell(lambda tracker: tracker.begin(run))

    def log(self, row: str, values: Mapping[str, float], step: int) -> None:
        self._tell(lambda tracker: tracker.log(row, values, step))

    def keep(self, file: Path) -> None:
        self._tell(lambda tracker: tracker.keep(file))

    def end(self, *, well: bool) -> None:
        """Waits until all is told, or for `patience` seconds; not so long where somebody stopped the run."""
        self._tell(lambda tracker: tracker.end(well=well))
        self._tell(None)
        patience = self._patience if well else min(self._patience, _IN_A_HURRY)
        self._thread.join(patience)
        if self._thread.is_alive():
            self._give_up(f"not done after {patience:g} s")

    def _tell(self, call: Callable[[Tracker], None] | None) -> None:
        if self._broken.is_set():
            return
        try:
            self._calls.put_nowait(call)
        except queue.Full:
            self._give_up("it is too slow")

    def _work(self) -> None:
        try:
            tracker = self._build()
            while (call := self._calls.get()) is not None and not self._broken.is_set():
                call(tracker)
        except BaseException as error:  # SystemExit too, which libraries raise where a key is missing
            self._give_up(one_line(error) or type(error).__name__)

    def _give_up(self, why: str) -> None:
        if not self._broken.is_set():
            self._broken.set()
            self._say(
                f"tracker {self._name}: {why[:300]}; the run goes on, and its results are in its folder"
            )
