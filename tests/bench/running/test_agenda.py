"""In what order workers take tasks: one edit after the other, together where there is nothing else."""

import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from erasure_bench.bench.planning.tasks import Task
from erasure_bench.bench.running.agenda import Agenda, edit_of
from erasure_bench.bench.storage.claims import Claims, OnDisk
from erasure_bench.bench.storage.store import Store


class Hand:
    """A worker that does a task only when told to."""

    def __init__(self, plan: Any, root: Path, stack: ExitStack, start: float = 0.0) -> None:
        self.store = stack.enter_context(Store(root))
        self.claims = stack.enter_context(Claims(OnDisk(self.store)))
        self.agenda = Agenda(plan.tasks, self.claims, self.store, start=start)
        self.at: Task | None = None

    def take(self) -> Task | None:
        turn, before = self.agenda.take(), self.at
        self.at = turn.task if turn else None
        if before is not None:
            self.claims.release(before.id)
        return self.at

    def do(self) -> None:
        assert self.at is not None
        with self.store.writing(self.at.kind, self.at.id) as draft:
            (draft.folder / "result").write_text("done")
        self.agenda.drop(self.at)


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as opened:
        yield opened


def test_one_worker_goes_through_the_plan_in_its_order(
    fake: ModuleType, tmp_path: Path, stack: ExitStack
) -> None:
    plan = fake.tiny_plan()
    hand = Hand(plan, tmp_path, stack)
    taken = []
    while (task := hand.take()) is not None:
        taken.append(task)
        hand.do()
    assert taken == list(plan.tasks) and not hand.agenda


def test_each_goes_on_with_its_edit_and_then_helps_from_the_end(
    fake: ModuleType, tmp_path: Path, stack: ExitStack
) -> None:
    plan = fake.tiny_plan()
    edits = list(dict.fromkeys(map(edit_of, plan.tasks)))
    assert len(edits) == 3
    one, two = Hand(plan, tmp_path, stack), Hand(plan, tmp_path, stack, start=1 / 3)
    assert (edit_of(one.take()), edit_of(two.take())) == (edits[0], edits[1])  # type: ignore[arg-type]
    own = [task for task in plan.tasks if edit_of(task) == edits[1]]
    for task in own:
        assert two.at == task, "its own edit's tasks, in their order"
        two.do()
        two.take()
    last = [task for task in plan.tasks if edit_of(task) == edits[2]]
    assert two.at == last[0], "then an edit that nobody has begun"
    for _ in last:
        two.do()
        two.take()
    assert two.at is None, "the rest waits for an edit that another worker is making"
    one.do()
    one.take()
    assert one.at is not None and one.at.kind == "generate"
    helped = two.take()
    assert helped is not None and edit_of(helped) == edits[0]
    drawn = [task for task in plan.tasks if task.kind == "generate" and edit_of(task) == edits[0]]
    assert helped == drawn[-1], "what can be done of it, from the end"
    assert one.at == drawn[0]


def test_a_look_asks_the_disk_only_for_what_could_be_taken(
    fake: ModuleType, tmp_path: Path, stack: ExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a thousand idle workers would ask a network's disk for every task that is left, all the time."""
    plan = fake.tiny_plan(methods=[fake.method("none")])
    busy, idle = Hand(plan, tmp_path, stack), Hand(plan, tmp_path, stack)
    assert busy.take() is not None
    asked: list[str] = []
    has = Store.has
    monkeypatch.setattr(Store, "has", lambda self, kind, key: asked.append(key) or has(self, kind, key))
    assert idle.take() is None and len(idle.agenda) == len(plan.tasks)
    assert asked == []


def test_a_task_that_failed_here_is_left_to_others_for_a_while(
    fake: ModuleType, tmp_path: Path, stack: ExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("erasure_bench.bench.running.agenda.PASSED_OVER_SECONDS", 0.2)
    plan = fake.tiny_plan(methods=[fake.method("none")])
    hand = Hand(plan, tmp_path, stack)
    first = hand.take()
    assert first is not None
    hand.agenda.pass_over(first)
    assert hand.take() is None
    later = time.monotonic() + 1
    monkeypatch.setattr("time.monotonic", lambda: later)
    assert hand.take() == first


def test_what_the_store_no_longer_has_is_taken_again(
    fake: ModuleType, tmp_path: Path, stack: ExitStack
) -> None:
    plan = fake.tiny_plan(methods=[fake.method("none")])
    hand = Hand(plan, tmp_path, stack)
    erase = hand.take()
    assert erase is not None
    hand.do()
    drawn = hand.take()
    assert drawn is not None and drawn.kind == "generate"
    (hand.store.folder("erase", erase.id) / "result").write_text("damaged")
    hand.store.set_aside("erase", erase.id, "it is damaged")
    hand.agenda.put_back([erase])
    assert hand.take() == erase


def test_a_dead_workers_task_is_found_among_many_others(
    fake: ModuleType, tmp_path: Path, stack: ExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An idle worker asks of few claims at a time; none is left for ever."""
    monkeypatch.setattr("erasure_bench.bench.running.agenda.IDLE_DEAD_EVERY_SECONDS", 0.0)
    plan = fake.tiny_plan(methods=[fake.method("none")])
    idle, busy = Hand(plan, tmp_path, stack), Hand(plan, tmp_path, stack)
    first = plan.tasks[0]
    folder = tmp_path / "claims"
    (folder / f"{first.id}.0").symlink_to("1234-gone")
    for number in range(300):
        (folder / f"elsewhere-{number}.0").symlink_to(busy.store.session.name)
    looks = 0
    while (task := idle.take()) is None:
        looks += 1
        assert looks < 20
    assert task == first
