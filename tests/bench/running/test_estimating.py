"""The time left: with fake tasks of known durations, every estimate is held against the truth."""

import math
import random
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from erasure_bench.bench.planning.config import RunConfig
from erasure_bench.bench.planning.tasks import EraseTask, GenerateTask, Task
from erasure_bench.bench.running.estimating import Estimator, Left
from erasure_bench.bench.running.needs import Needed, made_for_themselves, needs_of_plan
from erasure_bench.bench.running.paces import Paces, paces_file
from erasure_bench.bench.running.progress import in_full, in_words
from erasure_bench.bench.storage.cache import StoreCache
from erasure_bench.bench.storage.store import Store
from erasure_bench.methods.base import Need

METHODS = ("none", "dim", "train", "guide")
CLOSE = 1.5


class World:
    """A machine on which every kind of task takes a time of its own, told by a clock that only it moves."""

    def __init__(self, plan: Any, seed: int) -> None:
        pick = random.Random(seed)
        self.now = 0.0
        self.tasks: tuple[Task, ...] = plan.tasks
        self.pick = pick
        # Kinds differ by factors of thousands: an edit in no time, another in an hour.
        self.edit = {name: 10 ** pick.uniform(0, 3.5) for name in METHODS} | {"none": 0.0}
        self.image = {name: 10 ** pick.uniform(-1, 1) for name in METHODS}
        self.score = {name: 10 ** pick.uniform(-2, 0.5) for name in ("fake", "second")}

    def seconds(self, task: Task) -> float:
        if isinstance(task, EraseTask):
            return self.edit[task.method]
        if isinstance(task, GenerateTask):
            return self.image[task.erase.method] * len(task.images)
        return self.score[task.evaluator] * len(task.generate.images)

    def kind(self, task: Task) -> tuple[str, str]:
        if isinstance(task, EraseTask):
            return task.kind, task.method
        return task.kind, task.erase.method if isinstance(task, GenerateTask) else task.evaluator


def plan_of(fake: ModuleType, methods: tuple[str, ...] = METHODS, seeds: tuple[int, ...] = (0, 1)) -> Any:
    chosen = [fake.method(name, number=number) for number, name in enumerate(methods)]
    # The methods' guidance differs as their settings' class does.
    chosen = [type(one)(**{**vars(one), "settings_class": f"fake:{one.name}"}) for one in chosen]
    evaluators = [fake.evaluator(detector="one")]
    evaluators += [type(evaluators[0])(**{**vars(evaluators[0]), "name": "second"})]
    return fake.tiny_plan(
        RunConfig(suite="tiny", methods=methods[1:], seeds=seeds), methods=chosen, evaluators=evaluators
    )


def test_once_each_kind_is_seen_the_estimate_is_close_to_the_truth(fake: ModuleType) -> None:
    """At every moment, within tasks too, with durations that scatter by a fifth and a slow start."""
    plan = plan_of(fake)
    assert sum(compared_with_the_truth(World(plan, seed)) for seed in range(20)) > 1000


def compared_with_the_truth(world: World) -> int:
    """At how many moments of a whole run the estimate was close."""
    estimator = Estimator(world.tasks, clock=lambda: world.now)
    kinds = {world.kind(task) for task in world.tasks}
    durations = {task.id: world.seconds(task) * world.pick.uniform(0.8, 1.2) for task in world.tasks}
    unseen, compared = set(kinds), 0
    whole = left = sum(durations.values())

    def compare(truth: float) -> None:
        nonlocal compared
        told = estimator.left()
        if unseen or truth < whole / 50:  # a share of the very last task is anybody's guess
            return
        assert told.unknown == ()
        assert truth / CLOSE <= told.total <= truth * CLOSE, (truth, told)
        compared += 1

    for number, task in enumerate(world.tasks):
        estimator.started(task)
        if number == 0:
            world.now += 1000.0
            estimator.aside(1000.0)  # the model was loaded: no other edit has that before it
        took = durations[task.id]
        for part in range(1, 5):
            world.now += took / 4
            left -= took / 4
            if isinstance(task, EraseTask) and took:
                estimator.part(part * 25, 100, "steps")
            if isinstance(task, GenerateTask):
                estimator.images(len(task.images) // 4)
            compare(left)
        estimator.finished()
        unseen.discard(world.kind(task))
        compare(left)
    assert estimator.left().total < 1e-6 and estimator.done == estimator.total
    return compared


def test_what_has_never_been_measured_is_named_and_makes_the_rest_a_lower_bound(fake: ModuleType) -> None:
    plan = plan_of(fake, ("none", "dim"))
    estimator = Estimator(plan.tasks, {task.id: None for task in plan.tasks})
    told = estimator.left()
    assert told.seconds == {} and set(told.unknown) == {"none", "dim", "fake", "second"}


def test_an_edit_in_no_time_says_nothing_of_other_methods(fake: ModuleType) -> None:
    """What made the time left four times too low: the base model's own edit takes none."""
    plan = plan_of(fake, ("none", "dim"))
    now = [0.0]
    estimator = Estimator(plan.tasks, {task.id: None for task in plan.tasks}, clock=lambda: now[0])
    estimator.started(plan.tasks[0])
    estimator.finished()
    assert "dim" in estimator.left().unknown


def test_a_method_that_was_never_measured_is_estimated_by_its_passes(fake: ModuleType) -> None:
    plan = plan_of(fake, ("none", "dim"), seeds=(0,))
    now = [0.0]
    erases = [task for task in plan.tasks if isinstance(task, EraseTask) and task.method == "dim"]
    needs = {task.id: (Needed(Need(unit="steps", count=100, passes=24.0), None),) for task in erases}
    none = next(task for task in plan.tasks if isinstance(task, EraseTask) and task.method == "none")
    estimator = Estimator(plan.tasks, {**needs, none.id: ()}, resolution=512, clock=lambda: now[0])
    drawing = next(task for task in plan.tasks if isinstance(task, GenerateTask))
    estimator.started(drawing)
    now[0] += 30.0
    estimator.finished()
    pixels = drawing.images.images[0].height * drawing.images.images[0].width
    passes = len(drawing.images) * drawing.steps * 2 * pixels / 512**2
    expected = len(erases) * 100 * 24 * 30.0 / passes
    assert estimator.left().seconds["erase"] == pytest.approx(expected)


def shared_needs(fake: ModuleType, store: Store, there: Mapping[str, Any] | None = None) -> Any:
    """The needs of two concepts' edits that share general pictures; each has some of its own."""
    plan = plan_of(fake, ("none", "dim"), seeds=(0,))
    if there is not None:
        import torch

        StoreCache(store, plan.model.digest, "float32").fetch(
            "erasure_bench.methods.machinery.base_images", there, lambda: {"images": torch.zeros(1)}
        )
    edits = [task for task in plan.tasks if isinstance(task, EraseTask) and task.method == "dim"]
    return edits, needs_of_plan(plan, edits, store, ())


class Sharing:
    def needs(self, concepts: Any, context: Any) -> list[Need]:
        maker = "erasure_bench.methods.machinery.base_images"
        return [
            Need(unit="pictures", count=100, passes=10, maker=maker, key={"prompts": "general"}),
            Need(unit="pictures", count=8, passes=10, maker=maker, key={"prompts": concepts[0].name}),
            Need(unit="steps", count=50, passes=3),
        ]


@pytest.fixture
def sharing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("erasure_bench.bench.running.needs.build_method", lambda *about: Sharing())


@pytest.mark.usefixtures("sharing")
def test_what_edits_share_is_counted_once_and_not_when_it_is_there(fake: ModuleType, tmp_path: Path) -> None:
    with Store(tmp_path) as store:
        _, needs = shared_needs(fake, store)
        assert made_for_themselves(needs) == {"pictures": 100 + 2 * 8}
        _, needs = shared_needs(fake, store, {"prompts": "general"})
        assert made_for_themselves(needs) == {"pictures": 2 * 8}


@pytest.mark.usefixtures("sharing")
def test_pictures_that_an_edit_draws_are_no_part_of_what_the_next_edit_takes(
    fake: ModuleType, tmp_path: Path
) -> None:
    """The first edit draws what they share, for 540 s; every edit trains for 60 s."""
    now = [0.0]
    erases, needs = shared_needs(fake, Store(tmp_path))
    estimator = Estimator(erases, needs, clock=lambda: now[0])
    estimator.started(erases[0])
    for made in (50, 100):
        now[0] += 250.0
        estimator.part(made, 100, "pictures")
    assert estimator.left() == ({"erase": 2 * 8 * 5.0}, ("dim",)), "nobody knows yet how long they train"
    now[0] += 40.0
    estimator.part(8, 8, "pictures")
    now[0] += 60.0
    estimator.finished()
    assert len(erases) == 2
    assert estimator.left().seconds["erase"] == pytest.approx(8 * 5.0 + 60.0)


def broken_needs(self: Any, concepts: Any, context: Any) -> Any:
    raise SystemExit(3)


def test_needs_that_fail_cost_nothing_but_the_estimate(
    fake: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sharing: None
) -> None:
    monkeypatch.setattr(Sharing, "needs", broken_needs)
    _, needs = shared_needs(fake, Store(tmp_path))
    assert set(needs.values()) == {None}


def test_tasks_that_cannot_be_done_are_no_longer_to_come(fake: ModuleType, tmp_path: Path) -> None:
    """An edit that fails takes its pictures and scores with it."""
    from erasure_bench.bench.running.executor import execute
    from erasure_bench.bench.running.progress import Quiet

    class Watching(Quiet):
        def begin(self, todo: tuple[Task, ...]) -> None:
            self.estimator = Estimator(todo)

        def working_on(self, cell: Any, task: Task) -> None:
            self.estimator.started(task)

        def finished(self, task: Task, *, well: bool) -> None:
            self.estimator.finished(well=well)

        def skipped(self, task: Task) -> None:
            self.estimator.skipped(task)

    worker = fake.FakeWorker(Store(tmp_path))
    worker.break_on = lambda task: task.kind == "erase" and task.method == "dim"
    watching = Watching()
    execute(fake.tiny_plan(), worker, worker.store, watching)
    assert watching.estimator.done == watching.estimator.total
    assert watching.estimator.left() == ({}, ())


def test_the_next_run_knows_what_this_one_measured(fake: ModuleType, tmp_path: Path) -> None:
    world = World(plan_of(fake), 3)
    file = paces_file(tmp_path, "a test")
    estimator = Estimator(world.tasks, paces=Paces(file), clock=lambda: world.now)
    for task in world.tasks:
        estimator.started(task)
        world.now += world.seconds(task)
        estimator.finished()
    estimator.paces.keep()

    expected = sum(map(world.seconds, world.tasks))
    told = Estimator(world.tasks, paces=Paces(file)).left()
    assert told.unknown == () and told.total == pytest.approx(expected)
    assert Estimator(world.tasks, paces=Paces(paces_file(tmp_path, "another"))).left().unknown


@pytest.mark.parametrize("damage", [b"", b"{", b"[]", b'{"value": {"a": 1}, "sha256": "0"}', b"\xff\x00"])
def test_a_damaged_memory_is_no_memory(tmp_path: Path, damage: bytes, capsys: Any) -> None:
    file = paces_file(tmp_path, "a test")
    paces = Paces(file)
    paces.measured("edit", 10.0, 2.0)
    paces.keep()
    assert Paces(file).of("edit") == 5.0
    file.write_bytes(damage)
    assert Paces(file).of("edit") is None
    assert "damaged" in capsys.readouterr().err


def test_numbers_that_are_no_paces_are_not_taken(tmp_path: Path) -> None:
    from erasure_bench.bench.storage.memory import remember

    file = paces_file(tmp_path, "a test")
    remember(file, {"a": -1.0, "b": "fast", "c": 2.0, "d": None})
    assert [Paces(file).of(kind) for kind in "abcd"] == [None, None, 2.0, None]


def test_two_runs_remember_beside_each_other(tmp_path: Path) -> None:
    file = paces_file(tmp_path, "a test")
    one, other = Paces(file), Paces(file)
    one.measured("a", 1.0, 1.0)
    other.measured("b", 2.0, 1.0)
    one.keep()
    other.keep()
    assert (Paces(file).of("a"), Paces(file).of("b")) == (1.0, 2.0)


def test_recent_measurements_count_most() -> None:
    paces = Paces()
    for _ in range(5):
        paces.measured("a", 1.0, 1.0)
    for _ in range(8):
        paces.measured("a", 10.0, 1.0)
    found = paces.of("a")
    assert found is not None and math.isclose(found, 10.0, rel_tol=0.1)


def test_an_attack_that_has_searched_draws_from_none(fake: ModuleType) -> None:
    """Steps of a search are no pictures, and a picture's time is none of the search's."""
    plan = fake.tiny_plan(attacks=[fake.attack("search", 2, "chance")])
    task = next(task for task in plan.tasks if isinstance(task, GenerateTask) and task.attack)
    now = [0.0]
    estimator = Estimator([task], clock=lambda: now[0])
    estimator.started(task)
    for step in (50, 100):
        now[0] += 50.0
        estimator.part(step, 100, "steps")
    now[0] += 2.0
    estimator.images(4)
    assert estimator.images_done == (4, len(task.images)) and estimator.images_per_second == 2.0
    assert estimator.left().total == pytest.approx((len(task.images) - 4) / 2)


def test_what_takes_no_time_is_no_estimate_of_what_nobody_knows() -> None:
    """The base model's own edit takes none: a run of which nothing is known was told to be at its end."""
    left = Left({"erase": 0.0}, ("none", "clip"))
    assert left.told is None and in_words(left) == ""
    assert in_full(left) == "not measured on this machine yet: none, clip"
    assert Left({}, ()).told == 0.0 and in_words(Left({"erase": 60.0}, ("clip",))) == "at least 1:00"
