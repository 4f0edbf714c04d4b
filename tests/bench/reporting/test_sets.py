"""Statistics of sets: from features that are taken once, by the store and a merge, to the leaderboard."""

import math
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from PIL import Image

from erasure_bench.bench.planning.chosen import ChosenEvaluator, choose_evaluator
from erasure_bench.bench.planning.config import RunConfig
from erasure_bench.bench.planning.plan import Plan
from erasure_bench.bench.planning.tasks import FeatureTask
from erasure_bench.bench.reporting import remembered_sets, sets
from erasure_bench.bench.reporting.evidence import of_store
from erasure_bench.bench.reporting.features import FEATURES
from erasure_bench.bench.reporting.leaderboard import Row, to_frame
from erasure_bench.bench.reporting.merging import merged, read_part, whole_config
from erasure_bench.bench.reporting.results import gather
from erasure_bench.bench.running.kept_features import FEATURES_FILE
from erasure_bench.bench.storage.store import Store
from erasure_bench.bench.storage.upkeep import Kept, prune, verify
from erasure_bench.errors import BenchError
from erasure_bench.evaluators.sets import checked_statistics

EVALUATOR = '''
import math
from dataclasses import dataclass
from typing import ClassVar

from erasure_bench.evaluators.base import Metric, by_role
from erasure_bench.evaluators.measuring import Failure
from erasure_bench.evaluators.sets import SetEvaluator, statistic


class Brightness:
    """Fails on pictures whose first pixel is marked."""

    def protocol(self):
        return {"features": "mean"}

    def features(self, pixels):
        if any((each[0, 0] == (1, 2, 3)).all() for each in pixels):
            raise RuntimeError("a marked picture")
        return [[each.mean() / 255, 1.0] for each in pixels]


@dataclass(frozen=True, kw_only=True)
class Shift(SetEvaluator):
    reference: str = "base"
    needs: int = 1
    batch_size: int = 32
    extractor: ClassVar = Brightness()
    metrics: ClassVar[tuple[Metric, ...]] = (
        statistic("shift", "Shift", "share", (0.0, 1.0), by_role("neither", "lower")),
        statistic("spread", "Spread", "share", (0.0, math.inf), by_role("neither", "neither")),
        statistic("twins", "Twins", "pairs", (0.0, math.inf), by_role("neither", "neither")),
    )

    def protocol(self):
        return {"measure": "difference of the means", "needs": self.needs}

    def statistics(self, pictures, reference):
        if len(pictures) < self.needs:
            why = f"{len(pictures)} pictures, {self.needs} are needed"
            return dict.fromkeys(("shift", "spread", "twins"), Failure(why))
        spread = pictures.values[:, 0].std()
        if reference is None:
            return {"spread": spread}
        twins = pictures.twins(reference)
        return {
            "shift": abs(pictures.values[:, 0].mean() - reference.values[:, 0].mean()),
            "spread": spread,
            "twins": 0 if twins is None else twins.sum(),
        }

    def caution(self, pictures):
        return "small" if pictures < 100 else ""
'''


@pytest.fixture(scope="module")
def evaluator_file(tmp_path_factory: pytest.TempPathFactory) -> str:
    file = tmp_path_factory.mktemp("evaluator") / "shift.py"
    file.write_text(EVALUATOR)
    return f"{file}:Shift"


def shift(file: str, **options: str) -> ChosenEvaluator:
    return choose_evaluator(file, None, options, {})


class World:
    """Runs with the evaluator, each in a folder of its own, on one store."""

    def __init__(self, fake: ModuleType, folder: Path, file: str) -> None:
        self.fake, self.folder, self.file = fake, folder, file

    def worker(self, store: str = "store") -> Any:
        worker = self.fake.FakeWorker(Store(self.folder / store))
        worker.set_evaluators = {"Shift": self.file}
        return worker

    def plan(self, *, seeds: tuple[int, ...] = (0,), suite: Any = None, **options: str) -> Plan:
        config = RunConfig(suite="tiny", methods=("dim",), seeds=seeds)
        fake = self.fake.evaluator(detector="arithmetic")
        evaluators = [fake, shift(self.file, **options)]
        plan: Plan = self.fake.tiny_plan(config, suite, evaluators=evaluators)
        return plan

    def rows(
        self, plan: Plan, out: str = "out", worker: Any = None
    ) -> Mapping[tuple[str, str, str, str], Row]:
        worker = worker or self.worker()
        self.fake.run(plan, worker.store.root, self.folder / out, worker)
        with Store(worker.store.root) as store:
            found = gather(plan, of_store(plan, store, ()))
        self.notes = found.document["notes"]
        return {
            (row.method, row.concept, row.role, row.metric): row
            for row in found.rows
            if row.evaluator == "Shift"
        }


@pytest.fixture
def world(fake: ModuleType, tmp_path: Path, evaluator_file: str) -> World:
    return World(fake, tmp_path, evaluator_file)


def means(plan: Plan, store: Path, method: str, concept: str, role: str) -> dict[str, list[float]]:
    """Mean brightness of the pictures by prompt, read from the files themselves."""
    found: dict[str, list[float]] = {}
    for cell in plan.cells:
        if (cell.method.name, cell.case.name) == (method, concept):
            for task in cell.generate:
                if task.images.role == role:
                    folder = store / "generate" / task.id[:2] / task.id
                    for index, image in enumerate(task.images.images):
                        pixels = np.asarray(Image.open(folder / task.file_name(index)), dtype=float)
                        found.setdefault(image.prompt.id, []).append(pixels.mean() / 255)
    return found


def test_a_statistic_is_that_of_the_whole_set_with_the_jackknifes_interval(
    world: World, tmp_path: Path
) -> None:
    from scipy.stats import t

    plan = world.plan()
    row = world.rows(plan)["dim", "red ball", "retention", "shift"]
    of_dim, of_base = (
        means(plan, tmp_path / "store", name, "red ball", "retention") for name in ("dim", "none")
    )

    def difference(without: str = "") -> float:
        dim, base = (
            np.mean([value for name, values in each.items() if name != without for value in values])
            for each in (of_dim, of_base)
        )
        return float(abs(dim - base))

    left = np.array([difference(name) for name in of_dim])
    n = len(left)
    error = math.sqrt((n - 1) / n * ((left - left.mean()) ** 2).sum())
    assert row.value == pytest.approx(difference(), abs=1e-6)
    assert row.low == pytest.approx(difference() - t.ppf(0.975, n - 1) * error, rel=1e-4)
    assert row.high == pytest.approx(difference() + t.ppf(0.975, n - 1) * error, rel=1e-4)
    assert (row.images, row.prompts, row.missing, row.status) == (8, 4, 0, "ok")
    assert (row.verdict, row.change, row.better) == (None, None, "lower")


def test_the_overall_number_is_the_mean_over_concepts(world: World) -> None:
    rows = world.rows(world.plan())
    by_concept = [rows["dim", concept, "target", "shift"].value for concept in ("red ball", "Blue Cube")]
    assert rows["dim", "overall", "target", "shift"].value == pytest.approx(np.mean(by_concept))
    assert rows["dim", "overall", "target", "shift"].better == "neither"


@pytest.mark.parametrize(("seeds", "reference", "twins"), [((0,), "base", 8), ((0, 1), "other-seeds", 0)])
def test_an_evaluator_is_told_which_pictures_are_of_one_noise(
    world: World, seeds: tuple[int, ...], reference: str, twins: int
) -> None:
    row = world.rows(world.plan(seeds=seeds, reference=reference))["dim", "red ball", "target", "twins"]
    assert row.value == twins


def test_the_base_models_own_row_has_a_reason_instead_of_a_distance(world: World) -> None:
    rows = world.rows(world.plan())
    own = rows["none", "overall", "target", "shift"]
    assert (own.value, own.status, own.missing) == (None, "reference", 0)
    assert "its own pictures are the reference" in own.reason
    spread = rows["none", "overall", "target", "spread"]
    assert spread.value is not None and spread.value > 0


def test_other_seeds_give_the_base_model_its_noise_floor(world: World) -> None:
    rows = world.rows(world.plan(seeds=(0, 1), reference="other-seeds"))
    floor, dim = (rows[name, "overall", "target", "shift"] for name in ("none", "dim"))
    assert floor.value is not None and dim.value is not None and dim.change is not None
    assert 0 < floor.value < 0.02 < dim.value
    assert dim.change == pytest.approx(dim.value - floor.value)
    assert dim.verdict is None


@pytest.mark.parametrize(
    ("seeds", "own_seeds", "why"),
    [((0,), False, "no other seeds"), ((0, 1), True, "seeds of their own")],
)
def test_where_there_are_no_other_seeds_the_reason_is_said(
    world: World, fake: ModuleType, seeds: tuple[int, ...], own_seeds: bool, why: str
) -> None:
    plan = world.plan(seeds=seeds, suite=fake.tiny_suite(own_seeds=own_seeds), reference="other-seeds")
    row = world.rows(plan)["dim", "overall", "target", "shift"]
    assert row.value is None and why in row.reason


def test_a_folder_is_the_reference_whatever_its_files_are_called(
    world: World, tmp_path: Path, evaluator_file: str
) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for number in range(70):  # more than one task's
        Image.new("RGB", (8, 8), (100, 100, 100)).save(folder / f"{number:03}.png")
    (folder / "notes.txt").write_text("no picture")
    Image.new("L", (8, 8), 100).save(folder / "grey.jpg")
    plan = world.plan(reference=str(folder))
    row = world.rows(plan)["none", "overall", "target", "shift"]
    pictures = [
        np.mean(
            [
                value
                for values in means(plan, tmp_path / "store", "none", c, "target").values()
                for value in values
            ]
        )
        for c in ("red ball", "Blue Cube")
    ]
    assert row.value == pytest.approx(np.mean([abs(each - 100 / 255) for each in pictures]), abs=1e-4)
    assert any("71 pictures of a folder" in note for note in world.notes)

    folder.rename(tmp_path / "elsewhere")
    again = world.plan(reference=str(tmp_path / "elsewhere"))
    assert again.id == plan.id
    with pytest.raises(BenchError, match="no such folder; valid: base, other-seeds"):
        shift(evaluator_file, reference=str(folder))


def test_a_reference_that_lacks_some_of_its_pictures_is_said_to(world: World, tmp_path: Path) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for number in range(4):
        Image.new("RGB", (8, 8), (100, 100, 100)).save(folder / f"{number}.png")
    (folder / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nno picture")
    world.rows(world.plan(reference=str(folder)))
    (note,) = [note for note in world.notes if "could not be used" in note]
    assert "1 of the reference's pictures could not be used: " in note


def test_another_row_is_the_reference_and_has_no_distance_itself(world: World, tmp_path: Path) -> None:
    plan = world.plan(reference="row:dim")
    rows = world.rows(plan)
    own, other = (rows[name, "red ball", "retention", "shift"] for name in ("dim", "none"))
    assert (own.value, own.status, own.missing) == (None, "reference", 0)
    assert "its own pictures are the reference" in own.reason
    dim, none = (
        np.mean([*means(plan, tmp_path / "store", name, "red ball", "retention").values()])
        for name in ("dim", "none")
    )
    assert other.value == pytest.approx(abs(dim - none), abs=1e-6)
    assert any("beside dim's of the same prompts and noises" in note for note in world.notes)


def test_a_row_that_the_run_has_not_is_a_reason(world: World) -> None:
    row = world.rows(world.plan(reference="row:retrain"))["dim", "red ball", "retention", "shift"]
    assert row.value is None and "no picture of the reference" in row.reason


def test_a_data_sets_pictures_are_those_of_the_classes_that_the_role_asks_for(
    world: World, fake: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dataclasses import replace

    from erasure_bench.models.datasets.registry import load_dataset

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    suite = fake.tiny_suite()
    labels = {"target": "3", "anchor": "no digit"}
    prompts = {
        concept: tuple(replace(prompt, label=labels.get(prompt.role, "7")) for prompt in own)
        for concept, own in suite.prompts.items()
    }
    plan = world.plan(suite=replace(suite, prompts=prompts), reference="data:digits")
    rows = world.rows(plan)
    train = load_dataset("digits").train
    for role, label in (("target", 3), ("retention", 7)):
        real = train.of([label]).pixels.mean() / 255
        found = means(plan, tmp_path / "store", "none", "red ball", role)
        expected = abs(np.mean([*found.values()]) - real)
        assert rows["none", "red ball", role, "shift"].value == pytest.approx(expected, abs=1e-4)
    assert any("1442 pictures of data:digits" in note for note in world.notes)
    with pytest.raises(BenchError, match="unknown data set 'digit'.*digits"):
        shift(world.file, reference="data:digit")


def test_features_are_taken_once_and_a_second_evaluator_with_the_extractor_takes_none(world: World) -> None:
    worker = world.worker()
    plan = world.plan()
    first = world.rows(plan, worker=worker)
    tasks = {task.id for task in plan.tasks if isinstance(task, FeatureTask)}
    assert len(tasks) == 2 * 2 * 3 - 1  # methods, concepts, roles: the base draws retention prompts once
    assert sum(call in tasks for call in worker.calls) == len(tasks)
    worker.calls.clear()
    other = world.rows(world.plan(needs="2"), worker=worker)
    assert worker.calls == []
    assert (
        first["dim", "overall", "target", "shift"].value == other["dim", "overall", "target", "shift"].value
    )


def test_what_a_large_set_came_to_is_computed_once(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    computed: list[int] = []

    def counted(*given: Any) -> Any:
        computed.append(1)
        return checked_statistics(*given)

    monkeypatch.setattr(sets, "checked_statistics", counted)
    plan, store = world.plan(), tmp_path / "store"
    rows = world.rows(plan)

    def count() -> int:
        """Sets that another leaderboard of the same run computes; it is the same."""
        computed.clear()
        with Store(store) as held:
            found = gather(plan, of_store(plan, held, ())).rows
        mine = {
            (row.method, row.concept, row.role, row.metric): row for row in found if row.evaluator == "Shift"
        }
        assert mine == rows
        return len(computed)

    assert count() == 2 * 2 * 3, "methods, concepts and roles: small sets are computed again"
    monkeypatch.setattr(remembered_sets, "WORTH_SECONDS", 0.0)
    assert [count(), count()] == [10, 0], "two concepts share their retention pictures, of both rows"

    note = next((store / remembered_sets.FOLDER).glob("*.json"))
    note.write_text(note.read_text().replace("0.", "0.9", 1))
    assert [each.kind for each in verify(store, move=False)[1]] == [remembered_sets.FOLDER]
    capsys.readouterr()
    assert [count(), count()] == [1, 0] and "is damaged" in capsys.readouterr().err

    computed.clear()
    world.rows(world.plan(needs="2"))
    assert len(computed) == 10, "another setting is another statistic"
    for needs in ("8", "9"):  # no number without a prompt, or none at all
        first = world.rows(world.plan(needs=needs))
        computed.clear()
        assert world.rows(world.plan(needs=needs)) == first and not computed


def test_too_few_pictures_are_a_reason_and_no_number(world: World) -> None:
    row = world.rows(world.plan(needs="9"))["dim", "red ball", "target", "shift"]
    assert (row.value, row.low, row.status, row.missing) == (None, None, "missing", 8)
    assert row.reason == "8 pictures, 9 are needed"


def test_small_sets_are_said_to_be_small(world: World) -> None:
    world.rows(world.plan())
    assert any("sets of 8 pictures" in note for note in world.notes)
    assert "Shift: small" in world.notes


def test_a_failure_of_the_features_is_that_roles_and_that_evaluators_alone(world: World) -> None:
    plan = world.plan()
    worker = world.worker()
    broken = next(
        task
        for task in plan.tasks
        if isinstance(task, FeatureTask) and task.pictures.images.role == "anchor"  # type: ignore[union-attr]
    )
    worker.break_on = lambda task: task.id == broken.id
    outcome, _ = world.fake.run(plan, worker.store.root, world.folder / "out", worker)
    (failure,) = outcome.failures
    assert (failure.stage, failure.role, failure.evaluator) == ("features", "anchor", "Shift")
    with Store(worker.store.root) as store:
        rows = gather(plan, of_store(plan, store, outcome.failures)).rows
    failed = {(row.evaluator, row.role) for row in rows if row.status == "failed"}
    assert failed == {("Shift", "anchor")}

    worker.break_on = lambda task: False
    worker.calls.clear()
    world.rows(plan, worker=worker)
    assert worker.calls == [broken.id], "what was there already is not taken again"


def test_damaged_features_are_taken_anew(world: World, tmp_path: Path) -> None:
    plan = world.plan()
    before = world.rows(plan)
    for file in (tmp_path / "store" / "features").rglob(FEATURES_FILE):
        file.write_bytes(file.read_bytes()[:-4] + b"\0\0\0\0")
    assert world.rows(plan) == before
    assert any((tmp_path / "store" / "damaged").iterdir())


@pytest.mark.parametrize("reference", ["base", "other-seeds"])
def test_seeds_run_apart_and_merged_give_what_they_give_together(
    world: World, tmp_path: Path, reference: str
) -> None:
    for seed in (0, 1):
        world.rows(
            world.plan(seeds=(seed,), reference=reference), f"seed{seed}", world.worker(f"store{seed}")
        )
    parts = [read_part(tmp_path / f"seed{seed}") for seed in (1, 0)]
    whole = world.plan(seeds=(0, 1), reference=reference)
    assert whole_config(parts).seeds == (0, 1)
    world.rows(whole, "together", world.worker("together-store"))

    apart = gather(whole, merged(whole, parts)).rows
    together = gather(whole, merged(whole, [read_part(tmp_path / "together")])).rows

    assert any(row.evaluator == "Shift" and row.value is not None for row in apart)
    assert to_frame(apart).equals(to_frame(together))


def test_a_run_that_lacks_features_or_has_others_is_not_merged(world: World, tmp_path: Path) -> None:
    plan = world.plan()
    world.rows(plan)
    part = read_part(tmp_path / "out")
    part.record["files"].pop(FEATURES)
    with pytest.raises(BenchError, match="features for Shift are missing"):
        merged(plan, [part])
    (tmp_path / "out" / FEATURES).write_bytes(b"something else")
    with pytest.raises(BenchError, match="is not what the run wrote"):
        merged(plan, [read_part(tmp_path / "out")])


def test_features_stay_in_the_store_with_their_pictures(world: World, tmp_path: Path) -> None:
    plan, worker = world.plan(), world.worker()
    world.rows(plan, worker=worker)
    worker.store.close()
    pictures = {task.id for cell in plan.cells for task in cell.generate}

    def gone(kept: set[str]) -> int:
        sizes = prune(tmp_path / "store", Kept(edits=set(), pictures=kept, bases=set()), dry_run=True)
        return sum(size.entries for size in sizes if size.part == "features")

    assert gone(pictures) == 0
    assert gone(set()) == len({task.id for task in plan.tasks if isinstance(task, FeatureTask)})
