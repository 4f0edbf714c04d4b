"""What happens to one worker, as lines of a file that whoever began the run reads on and on."""

import json
import os
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from erasure_bench.bench.planning.plan import Cell
from erasure_bench.bench.planning.tasks import Task
from erasure_bench.bench.running.progress import Quiet

FILE = "events"
EVERY_SECONDS = 1.0
Event = list[Any]
"""`["begun", task id]`, `["step", step, steps, loss]`, `["note", line]`, `["done", task id, how well]`."""


class Events(Quiet):
    """Writes them; a file that cannot be written stops no work, as what is done is in the store."""

    def __init__(self, place: Path) -> None:
        self._file = place / FILE
        self._waiting: list[Event] = []
        self._written = 0.0

    def working_on(self, cell: Cell, task: Task) -> None:
        self._tell(["begun", task.id], now=True)

    def step(self, step: int, steps: int, loss: float) -> None:
        self._tell(["step", step, steps, loss])

    def note(self, line: str) -> None:
        self._tell(["note", line], now=True)

    def finished(self, task: Task, *, well: bool) -> None:
        self._tell(["done", task.id, well], now=True)

    def end(self) -> None:
        self._write()

    def _tell(self, event: Event, *, now: bool = False) -> None:
        self._waiting.append(event)
        if now or time.monotonic() - self._written >= EVERY_SECONDS:
            self._write()

    def _write(self) -> None:
        text = "".join(f"{json.dumps(event)}\n" for event in self._waiting)
        self._waiting.clear()
        self._written = time.monotonic()
        with suppress(OSError):
            handle = os.open(self._file, os.O_CREAT | os.O_APPEND | os.O_WRONLY, 0o666)
            try:
                os.write(handle, text.encode())
            finally:
                os.close(handle)


class Told:
    """Reads what a worker's file has got since it was read last."""

    def __init__(self, place: Path) -> None:
        self._file = place / FILE
        self._read = 0

    def news(self) -> Iterator[Event]:
        """Whole lines only: the last one may still be on its way."""
        try:
            with self._file.open("rb") as file:
                file.seek(self._read)
                data = file.read()
        except OSError:
            return
        whole = data[: data.rfind(b"\n") + 1]
        self._read += len(whole)
        for line in whole.splitlines():
            with suppress(ValueError):
                event = json.loads(line)
                if isinstance(event, list) and event:
                    yield event
