"""Why tasks failed, and what of a plan's cells has no result for it."""

import traceback
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

from erasure_bench.bench.planning.plan import Cell, Plan
from erasure_bench.bench.planning.tasks import (
    EraseTask,
    FeatureTask,
    ScoreTask,
    Task,
    TaskKind,
    needed_by,
    pictures_of,
)
from erasure_bench.bench.running.reasons import reason_of
from erasure_bench.bench.storage.store import Store
from erasure_bench.prompt_suites.suite import Role


@dataclass(frozen=True, kw_only=True)
class Failure:
    """Why a cell, or a part of it, has no result.

    `role` and `evaluator` narrow it down; None means all of them. `losses` is the curve of a
    training that stopped.
    """

    method: str
    concept: str
    seed: int
    stage: TaskKind
    reason: str
    role: Role | None = None
    evaluator: str | None = None
    trace: str = field(default="", compare=False)
    losses: tuple[float, ...] = field(default=(), compare=False)


class Broken(NamedTuple):
    """Why a task failed, and everything that needs it."""

    stage: TaskKind
    reason: str
    trace: str = ""
    losses: tuple[float, ...] = ()


class Ledger:
    """The tasks of a plan that are broken, by their ids, and the failures that follow."""

    def __init__(self, plan: Plan, store: Store, broken: Mapping[str, Broken]) -> None:
        self._plan, self._store = plan, store
        self.broken = dict(broken)

    def cause(self, task: Task) -> Broken | None:
        """What failed of the task itself or of what it needs."""
        return cause(task, self.broken)

    def add(self, task_id: str, why: Broken) -> list[tuple[Task, Failure]]:
        """What now has no result: each task that needs the broken one, for each of its cells."""
        self.broken[task_id] = why
        found = []
        for cell, task in self._needing.get(task_id, ()):
            if not self._store.has(task.kind, task.id) and (ends := self.cause(task)):
                found.append((task, failure(cell, task, ends)))
        return found

    def failures(self, kinds: frozenset[TaskKind]) -> Iterator[Failure]:
        """Of all tasks of these kinds, in the plan's order, whoever did the others; some of them twice."""
        if not self.broken:
            return
        for cell in self._plan.cells:
            for task in cell.tasks:
                ends = self.cause(task) if task.kind in kinds else None
                if ends is not None and not self._store.has(task.kind, task.id):
                    yield failure(cell, task, ends)

    @cached_property
    def _needing(self) -> Mapping[str, list[tuple[Cell, Task]]]:
        """By a task's id: itself and all that need it. Large, and only made where something fails."""
        found: defaultdict[str, list[tuple[Cell, Task]]] = defaultdict(list)
        for cell in self._plan.cells:
            for task in cell.tasks:
                for needed in {task.id, *(each.id for each in needed_by(task))}:
                    found[needed].append((cell, task))
        return found


def broken_by(task: Task, error: Exception) -> Broken:
    """Why the task failed, while the error is handled."""
    losses = tuple(getattr(error, "losses", ()))
    return Broken(task.kind, reason_of(error, task), traceback.format_exc(), losses)


def cause(task: Task, broken: Mapping[str, Broken]) -> Broken | None:
    """What failed of the task itself or of what it needs."""
    if not broken:
        return None
    chain: list[Task] = [task]
    if (pictures := pictures_of(task)) is not None:
        chain += [pictures, pictures.erase]
    chain += [each for one in chain if isinstance(one, EraseTask) for each in one.earlier]
    found = next((broken[each.id] for each in chain if each.id in broken), None)
    return _of_base(task, broken) if found is None else found


def failure(cell: Cell, task: Task, why: Broken) -> Failure:
    """The failure of what the broken task was to give: a cell, a role, or a role's scores by an evaluator."""
    pictures = pictures_of(task)
    measuring = task if isinstance(task, ScoreTask | FeatureTask) and why.stage == task.kind else None
    role: Role | None = pictures.images.role if pictures and why.stage != "erase" else None
    erase = task if isinstance(task, EraseTask) else pictures and pictures.erase
    own = {each.id for each in (cell.erase, *cell.erase.earlier)}
    if erase is not None and erase.id not in own:  # an attack's control: the cell's own edit is well
        role = "attack"
    return Failure(
        method=cell.method.name,
        concept=cell.case.name,
        seed=cell.seed,
        stage=why.stage,
        reason=why.reason,
        role=role,
        evaluator=measuring.evaluator if measuring else None,
        trace=why.trace,
        losses=why.losses,
    )


def each_once(failures: Iterable[Failure]) -> tuple[Failure, ...]:
    """The failures in their order."""
    return tuple(dict.fromkeys(failures))


def _of_base(task: Task, broken: Mapping[str, Broken]) -> Broken | None:
    """What failed of the base model's pictures that scores compare with: these scores' failure alone."""
    found = next((broken[each.id] for each in needed_by(task) if each.id in broken), None)
    return found and found._replace(stage="score", reason=f"the base model's pictures: {found.reason}")
