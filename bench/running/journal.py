"""How far a run is, written beside its results while it goes on, for `bench status` and others to read.

    <run>/.running/plan.json   its cells with their tasks, once
    <run>/.running/now.json    what it is doing, replaced at most every second
    <run>/.running/lock        held by the living process, free when it is dead
    <run>/.running/workers/…   now.json and lock of each worker, where it has several

The folder is there from a run's start until its results are written: where it stays, the run was interrupted.
What is finished is in the store, and only there. A journal that cannot be written stops no run.
"""

import fcntl
import json
import os
import platform
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from erasure_bench.bench.planning.plan import Cell, Plan
from erasure_bench.bench.planning.tasks import DOING, GenerateTask, Task, pictures_of
from erasure_bench.bench.running.estimating import Left
from erasure_bench.bench.running.failures import Failure
from erasure_bench.bench.running.progress import Quiet
from erasure_bench.bench.storage.store import Store
from erasure_bench.bench.words.showing import one_line

FOLDER, PLAN, NOW, LOCK = ".running", "plan.json", "now.json", "lock"
FORMAT = "erasure-bench status 1"
LEFT = "nothing was left to do"
"""Why a worker stopped that did not fail."""
EVERY_SECONDS = 1.0
TRIES, TRY_AGAIN_SECONDS = 5, 0.05
Json = dict[str, Any]


class Journal(Quiet):
    """Writes what it is told into `place`; `left` says what is left, where somebody knows."""

    def __init__(self, place: Path, device: str | None = None) -> None:
        self._folder, self._device = place, device
        self._handle: int | None = None
        self.left: Callable[[], Left] = lambda: Left({}, ())
        self._doing: Json | None = None
        self._of_task: int | None = None
        self._failures: list[Json] = []
        self._total = self._done = 0
        self._images, self._drawing_seconds = 0, 0.0
        self._started = self._since = time.time()
        self._written = 0.0

    @property
    def is_open(self) -> bool:
        """Whether this process has the folder."""
        return self._handle is not None

    def open(self, plan: Json | None = None) -> None:
        """Takes the folder, unless another living process has it: then this one writes nothing."""
        with suppress(OSError):
            self._folder.mkdir(parents=True, exist_ok=True)
            handle = os.open(self._folder / LOCK, os.O_CREAT | os.O_RDWR, 0o666)
            if not _locked(handle):
                os.close(handle)
                return
            self._handle = handle
            if plan is not None:
                self._put(PLAN, plan)
            self._write()

    def close(self, why: str | None) -> None:
        """Lets go of the folder: removes it, or leaves in it `why` the work has stopped."""
        if self._handle is None:
            return
        with suppress(OSError):
            if why is None:
                shutil.rmtree(self._folder, ignore_errors=True)
            else:
                self._write(stopped=why)
        os.close(self._handle)
        self._handle = None

    def begin(self, todo: tuple[Task, ...]) -> None:
        self._total, self._done = len(todo), 0
        self._tell(now=True)

    def working_on(self, cell: Cell, task: Task) -> None:
        pictures = pictures_of(task)
        self._of_task = len(task.images) if isinstance(task, GenerateTask) else None
        self._since = time.time()
        self._doing = {
            "cell": one_line(cell.title),
            "kind": task.kind,
            "doing": DOING[task.kind],
            "role": pictures.images.role if pictures else None,
            "done": 0,
            "total": self._of_task,
            "unit": "images" if isinstance(task, GenerateTask) else None,
        }
        self._tell()

    def preparing(self, made: int, total: int, unit: str) -> None:
        self._part(made, total, unit)

    def step(self, step: int, steps: int, loss: float) -> None:
        self._part(step, steps, "steps")

    def images(self, count: int) -> None:
        if self._doing is not None:
            begun = self._doing["done"] if self._doing["unit"] == "images" else 0  # an attack searched before
            self._part(begun + count, self._of_task, "images")

    def finished(self, task: Task, *, well: bool) -> None:
        self._done += 1
        if well and isinstance(task, GenerateTask):
            self._images += len(task.images)
            self._drawing_seconds += time.time() - self._since
        self._doing = None
        self._tell()

    def waiting(self) -> None:
        self._tell()

    def skipped(self, task: Task) -> None:
        self._done += 1
        self._tell()

    def failed(self, failure: Failure) -> None:
        about = ("method", "concept", "seed", "stage", "role", "evaluator", "reason")
        self._failures.append({name: getattr(failure, name) for name in about})
        self._tell(now=True)

    def end(self) -> None:
        self._doing = None
        self._tell(now=True)

    def _part(self, done: int, total: int | None, unit: str) -> None:
        if self._doing is not None:
            self._doing |= {"done": done, "total": total, "unit": unit}
        self._tell()

    def _tell(self, *, now: bool = False) -> None:
        if self._handle is not None and (now or time.time() - self._written >= EVERY_SECONDS):
            with suppress(OSError):
                self._write()

    def _write(self, stopped: str | None = None) -> None:
        self._written = time.time()
        left = self.left()
        document = {
            "format": FORMAT,
            "process": os.getpid(),
            "machine": platform.node(),
            "device": self._device,
            "started": self._started,
            "active": self._written,
            "stopped": stopped,
            "tasks": {"done": self._done, "total": self._total},
            "doing": self._doing,
            "left_seconds": None if left.told is None else round(left.told, 1),
            "left_unknown": list(left.unknown),
            "images_per_second": _rate(self._images, self._drawing_seconds),
            "failures": self._failures,
        }
        self._put(NOW, document)

    def _put(self, name: str, document: Json) -> None:
        """In place whole, but not flushed to the disk: what counts after a crash is the store."""
        draft = self._folder / f"{name}.new"
        draft.write_text(json.dumps(document), encoding="utf-8")
        os.replace(draft, self._folder / name)


def _locked(handle: int) -> bool:
    """Whether the lock is ours now; who only asks whether it is held (`is_held`) has it for a moment."""
    for again in reversed(range(TRIES)):
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except OSError:
            time.sleep(TRY_AGAIN_SECONDS if again else 0)
    return False


@contextmanager
def journal_of(folder: Path, plan: Plan, store: Store) -> Iterator[Journal]:
    """A run's journal that is open for the block; it goes where the block ends well."""
    with _opened(Journal(folder / FOLDER), _of_plan(plan, store), None) as journal:
        yield journal


@contextmanager
def workers_journal(place: Path, device: str) -> Iterator[Journal]:
    """One worker's, which stays: `bench status` tells of it until the run is over."""
    with _opened(Journal(place, device), None, LEFT) as journal:
        yield journal


@contextmanager
def _opened(journal: Journal, plan: Json | None, well: str | None) -> Iterator[Journal]:
    journal.open(plan)
    why: str | None = "it ended before its results were written"
    try:
        yield journal
        why = well
    except KeyboardInterrupt:
        why = "it was interrupted"
        raise
    except BaseException as error:
        why = one_line(error) or type(error).__name__
        raise
    finally:
        journal.close(why)


def is_held(place: Path) -> bool:
    """Whether a living process of this machine writes the journal there; it may be somebody else's."""
    try:
        handle = os.open(place / LOCK, os.O_RDONLY)
    except OSError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)  # which who only reads may ask for, too
        return False
    except OSError:
        return True
    finally:
        os.close(handle)


def _of_plan(plan: Plan, store: Store) -> Json:
    return {
        "format": FORMAT,
        "suite": f"{plan.suite.name} {plan.suite.version}",
        "model": plan.model.name,
        "store": str(store.root.resolve()),
        "cells": [_of_cell(cell) for cell in plan.cells],
    }


def _of_cell(cell: Cell) -> Mapping[str, Any]:
    return {
        "method": cell.method.name,
        "concept": cell.case.name,
        "seed": cell.seed,
        "tasks": [
            [task.kind, task.id, len(task.images) if isinstance(task, GenerateTask) else 0]
            for task in cell.tasks
        ],
    }


def _rate(count: int, seconds: float) -> float | None:
    return round(count / seconds, 3) if count and seconds > 0 else None
