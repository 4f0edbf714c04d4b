"""What of a plan is still to do, in the order in which one of any number of workers takes it.

Tasks that share an edit stand together, and whoever has begun with them goes on with them: the edit is in
its model. Else a worker takes the tasks of an edit that nobody works at; where there is none, it helps with
others' from their end. So nobody waits while anything can be done.
"""

import time
from collections import Counter
from collections.abc import Iterable, Iterator, Reversible, Sequence
from typing import NamedTuple

from erasure_bench.bench.planning.tasks import EraseTask, Task, needed_by, pictures_of
from erasure_bench.bench.storage.claims import TaskClaims
from erasure_bench.bench.storage.store import Store

DEAD_EVERY_SECONDS = 10.0
"""How often a busy worker asks whether others live; one that has nothing else to do asks more often."""
IDLE_DEAD_EVERY_SECONDS = 1.0
IDLE_SECONDS = 2.0
EACH_LISTED_SECONDS = 0.01
"""Times the number of claims: so long an idle one waits, that a thousand do not list them all the time."""
PASSED_OVER_SECONDS = 60.0
"""So long a task that failed here is left to other workers, and twice as long each time: they may be busy."""


class Turn(NamedTuple):
    """A task that is ours to do. `after` names the dead process that had it before, if one had."""

    task: Task
    after: str | None


class Agenda:
    """The tasks of `todo` that are not done yet, as far as this worker knows.

    `start`, from 0 to 1, is where among the edits it begins, so that workers that begin together do not all
    begin with the same. Without `ordered`, a task need not wait for what it needs: that is there, or is lost.
    """

    def __init__(
        self,
        todo: Sequence[Task],
        claims: TaskClaims,
        store: Store,
        *,
        start: float = 0.0,
        ordered: bool = True,
    ) -> None:
        self._claims, self._store, self._ordered = claims, store, ordered
        self._by_edit: dict[str, dict[str, Task]] = {}
        self._edit_of: dict[str, str] = {}
        for task in todo:
            self._put(task)
        self._order = list(self._by_edit)
        self._at = int(start * len(self._order))
        self._asked = 0.0
        self._passed_over: dict[str, float] = {}
        self._passes: Counter[str] = Counter()

    def __len__(self) -> int:
        return len(self._edit_of)

    def __contains__(self, task: Task) -> bool:
        return task.id in self._edit_of

    def take(self) -> Turn | None:
        """The next task, claimed; None where all that is left is others' or waits for theirs."""
        self._claims.look()
        self._look_for_dead(DEAD_EVERY_SECONDS)
        if (turn := self._take()) is None and self._look_for_dead(IDLE_DEAD_EVERY_SECONDS):
            turn = self._take()
        return turn

    @property
    def patience(self) -> float:
        """Seconds that a worker with nothing to do waits at most before it looks again: more among many."""
        return max(IDLE_SECONDS, EACH_LISTED_SECONDS * len(self._claims.others))

    def drop(self, task: Task) -> None:
        """The task is done, or will never be."""
        edit = self._edit_of.pop(task.id, None)
        if edit is not None:
            del self._by_edit[edit][task.id]
            if not self._by_edit[edit]:
                del self._by_edit[edit]

    def put_back(self, tasks: Iterable[Task]) -> None:
        """What the store no longer has of these is to do again."""
        for task in tasks:
            if task in self or self._store.has(task.kind, task.id):
                continue
            if (edit := self._put(task)) not in self._order:
                self._order.append(edit)

    def pass_over(self, task: Task) -> None:
        """Leaves the task to others for a while."""
        self._passes[task.id] += 1
        self._passed_over[task.id] = time.monotonic() + PASSED_OVER_SECONDS * 2 ** (self._passes[task.id] - 1)

    def _put(self, task: Task) -> str:
        edit = edit_of(task)
        self._by_edit.setdefault(edit, {})[task.id] = task
        self._edit_of[task.id] = edit
        return edit

    def _take(self) -> Turn | None:
        while True:
            done: list[Task] = []
            found = self._look(done)
            for task in done:
                self.drop(task)
            if found is not None or not done:
                return found

    def _look(self, done: list[Task]) -> Turn | None:
        """Goes through the candidates; asks the disk only for those that could be taken."""
        for at, task in self._candidates():
            if not self._may_take(task):
                continue
            if self._store.has(task.kind, task.id):
                done.append(task)
                continue
            if (claim := self._claims.take(task.id)) is None:
                continue
            if self._store.obtain(task.kind, task.id):  # somebody has just done it, or another machine has
                self._claims.release(task.id)
                done.append(task)
                continue
            self._at = at
            return Turn(task, claim.after)
        return None

    def _candidates(self) -> Iterator[tuple[int, Task]]:
        """Of the edit at hand, of edits that nobody works at, of all others; each with its edit's place."""
        if len(self._order) > 2 * len(self._by_edit) + 10:
            ahead = next((edit for edit in self._order[self._at :] if edit in self._by_edit), None)
            self._order = [edit for edit in self._order if edit in self._by_edit]
            self._at = self._order.index(ahead) if ahead is not None else 0
        places = [*range(self._at, len(self._order)), *range(self._at)]
        busy = {self._edit_of.get(key) for key in self._claims.others if not self._claims.is_free(key)}
        for at in places:
            edit = self._order[at]
            if at == self._at or edit not in busy:
                yield from ((at, task) for task in self._of(edit))
        for at in places:
            edit = self._order[at]
            if at != self._at and edit in busy:
                yield from ((at, task) for task in reversed(self._of(edit)))

    def _of(self, edit: str) -> Reversible[Task]:
        """What may be done with the edit: nothing but the edit itself while it is not made."""
        tasks = self._by_edit.get(edit, {})
        return (tasks[edit],) if self._ordered and edit in tasks else tasks.values()

    def _may_take(self, task: Task) -> bool:
        if not self._claims.is_free(task.id) or self._passed_over.get(task.id, 0.0) > time.monotonic():
            return False
        if not self._ordered:
            return True
        # What is still on the agenda is not done, as far as anybody knows: no need to ask the disk.
        return all(each not in self and self._store.has(each.kind, each.id) for each in needed_by(task))

    def _look_for_dead(self, every: float) -> bool:
        if time.monotonic() - self._asked < every:
            return False
        self._claims.look_for_dead()
        self._asked = time.monotonic()
        return True


def edit_of(task: Task) -> str:
    """What stands for the edit that must be in the model, or for the task where it needs none."""
    drawn = pictures_of(task)
    if drawn is not None:
        return drawn.erase.id
    return task.id if isinstance(task, EraseTask) else f"apart {task.id}"
