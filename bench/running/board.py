"""What workers of one run tell each other of tasks that fail: in memory for one alone, else in a folder.

    <folder>/broken/<task id>.json          why a task, and all that needs it, has no result in this run
    <folder>/tried/<task id>.<worker>       memory ran out over it on that worker
    <folder>/deaths/<task id>.<session>     a worker ended without a word while it was at it
    <folder>/over/<worker>                  a worker that is given up

The next run tries all of them again.
"""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from erasure_bench.bench.planning.tasks import DOING, Task
from erasure_bench.bench.running.failures import Broken
from erasure_bench.bench.storage.atomic import write_text

TRIES = 3
"""On how many workers memory may run out over a task: one's may be full of something else."""
DEATHS = 3
"""How many workers may end without a word over a task: one may have been killed for reasons of its own."""


class Board(Protocol):
    """What a worker asks of it, and tells it."""

    def news(self) -> Mapping[str, Broken]:
        """What others have told since this was asked last."""

    def failed(self, task: Task, why: Broken, *, may_do_elsewhere: bool) -> bool:
        """A task failed here; whether it is broken for all now."""

    def died(self, task: Task, session: str) -> Broken | None:
        """Another process died over the task that we now have; why it is broken, where too many did."""

    def hangs(self, task: Task, why: Broken) -> None:
        """The task hangs, and this process ends with it."""

    def closed(self) -> bool:
        """Whether the run is over for its workers."""


class Alone:
    """Nobody else works at this run."""

    def news(self) -> Mapping[str, Broken]:
        """Nothing."""
        return {}

    def failed(self, task: Task, why: Broken, *, may_do_elsewhere: bool) -> bool:
        """It is."""
        return True

    def died(self, task: Task, session: str) -> Broken | None:
        """That was another run's."""
        return None

    def hangs(self, task: Task, why: Broken) -> None:
        """The run ends."""

    def closed(self) -> bool:
        """It never is."""
        return False


class SharedBoard:
    """In a folder of a run that `workers` processes work at; the run is over when its `mark` is gone.

    `worker` is who asks; it is empty for whoever began the run.
    """

    def __init__(self, folder: Path, workers: int, mark: Path, worker: str = "") -> None:
        names = ("broken", "tried", "deaths", "over")
        self._broken, self._tried, self._deaths, self._over = (folder / name for name in names)
        for place in (self._broken, self._tried, self._deaths, self._over):
            place.mkdir(parents=True, exist_ok=True)
        self._workers, self._mark, self._worker = workers, mark, worker
        self._known: set[str] = set()

    def news(self) -> Mapping[str, Broken]:
        """Read from the folder; a note that cannot be read is news later."""
        found = {}
        for name in _names(self._broken):
            task_id, _, suffix = name.partition(".")
            if suffix != "json" or not task_id or task_id in self._known:
                continue
            try:
                said = json.loads((self._broken / name).read_text(encoding="utf-8"))
                found[task_id] = Broken(said["stage"], said["reason"], said["trace"], tuple(said["losses"]))
            except (OSError, ValueError, KeyError, TypeError):
                continue
            self._known.add(task_id)
        return found

    def failed(self, task: Task, why: Broken, *, may_do_elsewhere: bool) -> bool:
        """Where memory ran out it may be done elsewhere, and is broken when it ran out on several workers."""
        if may_do_elsewhere:
            _touch(self._tried / f"{task.id}.{self._worker}")
            able = self._workers - len(_names(self._over))
            if _count(self._tried, task.id) < min(TRIES, able):
                return False
        self._put(task, why)
        return True

    def died(self, task: Task, session: str) -> Broken | None:
        """Of each dead process once."""
        _touch(self._deaths / f"{task.id}.{session}")
        deaths = _count(self._deaths, task.id)
        if deaths < DEATHS:
            return None
        why = Broken(
            task.kind,
            f"{deaths} workers ended without a word while {DOING[task.kind]} (killed: out of memory?)",
        )
        self._put(task, why)
        return why

    def hangs(self, task: Task, why: Broken) -> None:
        """Others need not hang over it as well."""
        self._put(task, why)

    def closed(self) -> bool:
        """Whether whoever began the run has ended it; a disk that is gone has ended nothing."""
        return not self._mark.exists() and self._mark.parent.parent.exists()

    def give_up(self, worker: str) -> None:
        """The worker will do no more: nobody waits for what it might have done."""
        _touch(self._over / worker)

    def _put(self, task: Task, why: Broken) -> None:
        self._known.add(task.id)
        write_text(self._broken / f"{task.id}.json", json.dumps(why._asdict()))


def _touch(path: Path) -> None:
    path.touch()


def _count(folder: Path, task_id: str) -> int:
    return sum(name.startswith(f"{task_id}.") for name in _names(folder))


def _names(folder: Path) -> list[str]:
    try:
        return os.listdir(folder)
    except OSError:
        return []
