"""`python -m benchmarks.many_workers`: up to a thousand workers share one plan by claims in one store.

Claims, sessions, listings and the order in which each worker takes tasks are the real ones, on a real disk;
what is simulated is the work: a task's time passes on a clock of its own, which each worker follows, and its
entry is an empty folder. So all workers' looks and claims are made one after the other by this one process:
`claims_per_second` is what one core of this machine can do, and times the number of workers' machines what
they can ask of a disk. A network's disk answers slower: its time for one operation times `operations` is what
a look costs there. Writes `results/performance/many-workers.json`.
"""

import argparse
import heapq
import random
import statistics
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from benchmarks.made_up import given, planned
from benchmarks.recording import MEMORY, record
from erasure_bench.bench.planning.plan import Plan
from erasure_bench.bench.planning.tasks import Task, TaskKind
from erasure_bench.bench.running.agenda import Agenda
from erasure_bench.bench.storage.claims import Claims, OnDisk
from erasure_bench.bench.storage.store import EntryKind, Store

SECONDS: dict[TaskKind, float] = {"erase": 120.0, "generate": 30.0, "score": 5.0, "features": 5.0}
"""On average; each task takes between half and one and a half times as long."""


class Marks(Store):
    """A store whose entries are empty folders."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self._known: set[str] = set()

    def has(self, kind: EntryKind, task_id: str) -> bool:
        """Asks the disk once for what is not there, and never again for what is."""
        if task_id not in self._known and self.folder(kind, task_id).exists():
            self._known.add(task_id)  # the plan's own text: a thousand workers know of twenty thousand
        return task_id in self._known

    def put(self, task: Task) -> bool:
        """Whether it was not there already."""
        there = self.has(task.kind, task.id)
        self.folder(task.kind, task.id).mkdir(parents=True, exist_ok=True)
        return not there


class _Worker:
    def __init__(self, plan: Plan, root: Path, number: int, of: int, stack: ExitStack) -> None:
        self.store = stack.enter_context(Marks(root))
        self.claims = stack.enter_context(Claims(OnDisk(self.store)))
        self.agenda = Agenda(plan.tasks, self.claims, self.store, start=number / of)
        self.at: Task | None = None


def simulate(plan: Plan, workers: int, seed: int, place: Path | None) -> dict[str, Any]:
    """The whole plan by so many workers, all of whom begin at once."""
    chance = random.Random(seed)
    seconds = {task.id: SECONDS[task.kind] * chance.uniform(0.5, 1.5) for task in plan.tasks}
    takes: list[float] = []
    twice = waits = most_claims = 0
    busy = end = 0.0
    with tempfile.TemporaryDirectory(dir=place) as folder, ExitStack() as stack:
        crew = [_Worker(plan, Path(folder), number, workers, stack) for number in range(workers)]
        due = [(0.0, number) for number in range(workers)]
        began = time.process_time()
        while due:
            now, number = heapq.heappop(due)
            worker = crew[number]
            before, worker.at = worker.at, None
            if before is not None:
                twice += not worker.store.put(before)
                worker.agenda.drop(before)
                end = max(end, now)
            started = time.perf_counter()
            turn = worker.agenda.take()
            takes.append(time.perf_counter() - started)
            most_claims = max(most_claims, len(worker.claims.others))
            if before is not None:
                worker.claims.release(before.id)
            if turn is not None:
                worker.at = turn.task
                busy += seconds[turn.task.id]
                heapq.heappush(due, (now + seconds[turn.task.id], number))
            elif worker.agenda:
                waits += 1
                heapq.heappush(due, (now + worker.agenda.patience, number))
        on_a_core = time.process_time() - began
    takes.sort()
    return {
        "workers": workers,
        "tasks": len(plan.tasks),
        "edits": len({cell.erase.id for cell in plan.cells}),
        "done_twice": twice,
        "most_claims_at_once": most_claims,
        "milliseconds_of_a_look_and_claim": {
            "median": round(1000 * statistics.median(takes), 3),
            "95_percent": round(1000 * takes[int(0.95 * len(takes))], 3),
            "most": round(1000 * takes[-1], 3),
        },
        "claims_per_second": round(len(plan.tasks) / on_a_core, 1),
        "looks_in_vain": waits,
        "simulated_seconds": round(end, 1),
        "share_of_the_time_at_work": round(busy / (workers * end), 3),
        "times_as_long_as_without_any_wait": round(end / max(busy / workers, _longest(plan, seconds)), 3),
    }


def _longest(plan: Plan, seconds: dict[str, float]) -> float:
    """No number of workers is done before the longest edit with one of its pictures and their scores is."""
    return max(
        seconds[score.generate.erase.id] + seconds[score.generate.id] + seconds[score.id]
        for cell in plan.cells
        for score in cell.score
    )


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.many_workers", description=__doc__)
    parser.add_argument("--cells", type=int, default=2000)
    parser.add_argument("--workers", default="1,10,100,1000")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--memory", action="store_true", help="the store in memory, not on the disk")
    parser.add_argument("--out", type=Path, default=Path("results/performance/many-workers.json"))
    asked = parser.parse_args()
    plan = planned(given(asked.cells))
    place = MEMORY if asked.memory else None
    runs = [simulate(plan, int(number), asked.seed, place) for number in asked.workers.split(",")]
    record({"store": "memory" if asked.memory else "disk", "runs": runs}, asked.out)


if __name__ == "__main__":
    main()
