"""Damage of any kind, found wherever it is: what is damaged is made anew, in the same command, and said."""

import random
import shutil
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from erasure_bench.bench.planning.config import RunConfig
from erasure_bench.bench.reporting.completing import complete
from erasure_bench.bench.running.progress import Quiet
from erasure_bench.bench.storage.store import KINDS, DamagedEntry, Store, StoreError

TABLES = ("leaderboard.json", "leaderboard.csv", "leaderboard.md", "scores.parquet", "images.png")


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[random.Random(len(data)).randrange(len(data))] ^= 0x10
    path.write_bytes(data)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def grow(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b"\0")


def remove_entry(path: Path) -> None:
    shutil.rmtree(path.parent)


def become_a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def become_a_file(path: Path) -> None:
    folder = path.parent
    shutil.rmtree(folder)
    folder.write_text("?")


DAMAGES = (flip, cut, grow, Path.unlink, remove_entry, become_a_folder, become_a_file)


def files(store: Path) -> list[Path]:
    return sorted(path for kind in KINDS for path in store.glob(f"{kind}/*/*/*"))


@pytest.mark.parametrize("damage", DAMAGES)
def test_the_same_command_gives_the_same_results_whatever_file_is_damaged(
    fake: ModuleType, tmp_path: Path, damage: Callable[[Path], None], capsys: pytest.CaptureFixture[str]
) -> None:
    config = RunConfig(suite="tiny", methods=("dim",), concepts=("red ball",))
    plan = fake.tiny_plan(config, fake.tiny_suite(prompts=1, images_per_prompt=1))
    store, out = tmp_path / "store", tmp_path / "out"
    fake.run(plan, store, tmp_path / "expected")
    every = [path.relative_to(store) for path in files(store)]
    of_each_kind = {(path.parts[0], path.name): path for path in every}
    assert {name for _, name in of_each_kind} == {"manifest.json", "edit.json", "000.png", "scores.parquet"}
    paths = every if damage is flip else list(of_each_kind.values())
    redone = 0
    for path in paths:
        damage(store / path)
        capsys.readouterr()
        worker = fake.FakeWorker(Store(store))
        outcome, _ = fake.run(plan, store, out, worker)

        assert outcome.failures == () and set(worker.calls) <= {path.parent.name}
        redone += len(worker.calls)
        said = capsys.readouterr().err
        assert said.count("\n") == len(worker.calls) * (damage is not remove_entry)
        for name in TABLES:
            assert (out / name).read_bytes() == (tmp_path / "expected" / name).read_bytes(), (path, name)
    read_in_any_run = [path for path in paths if path.name in ("manifest.json", "scores.parquet")]
    assert redone >= len(read_in_any_run)


FIRST_FILE = {"erase": "edit.json", "generate": "000.png"}


class Vandal:
    """Damages an entry at the moment when another task is about to read it."""

    def __init__(self, store: Path, kind: str, before: str, times: int = 1) -> None:
        self.store, self.kind, self.before, self.times = store, kind, before, times

    def __call__(self, task: Any) -> bool:
        if task.kind == self.before and self.times:
            self.times -= 1
            needed = task.erase if self.kind == "erase" else task.generate
            flip(Store(self.store).folder(self.kind, needed.id) / FIRST_FILE[self.kind])
        return False


@pytest.mark.parametrize(("kind", "before"), [("erase", "generate"), ("generate", "score")])
def test_damage_found_by_a_task_is_mended_before_it(
    fake: ModuleType, tmp_path: Path, kind: str, before: str
) -> None:
    plan = fake.tiny_plan(suite=fake.tiny_suite(prompts=1, images_per_prompt=1))
    fake.run(plan, tmp_path / "whole", tmp_path / "expected")
    said: list[str] = []
    worker = fake.FakeWorker(Store(tmp_path / "store", said.append))
    worker.break_on = Vandal(tmp_path / "store", kind, before)
    outcome, _ = fake.run(plan, tmp_path / "store", tmp_path / "out", worker)

    assert outcome.failures == () and outcome.done[kind] == sum(task.kind == kind for task in plan.tasks) + 1
    (line,) = said
    assert f" {kind} " in line and "to be made anew" in line
    for name in TABLES:
        assert (tmp_path / "out" / name).read_bytes() == (tmp_path / "expected" / name).read_bytes(), name


@pytest.mark.parametrize("name", ["scores.parquet", "000.png"])
def test_damage_found_while_the_results_are_read_is_mended_in_the_same_run(
    fake: ModuleType, tmp_path: Path, name: str
) -> None:
    plan = fake.tiny_plan()
    fake.run(plan, tmp_path / "whole", tmp_path / "expected")
    worker = fake.FakeWorker(Store(tmp_path / "store", lambda line: None))

    def after_the_first_pass() -> None:
        worker.close = lambda: None
        for path in sorted((tmp_path / "store").glob(f"*/*/*/{name}"))[:3]:
            flip(path)

    worker.close = after_the_first_pass
    outcome, _ = fake.run(plan, tmp_path / "store", tmp_path / "out", worker)

    assert outcome.failures == () and len(worker.calls) == len(plan.tasks) + 3
    for table in TABLES:
        assert (tmp_path / "out" / table).read_bytes() == (tmp_path / "expected" / table).read_bytes(), table


def test_what_failed_is_not_tried_again_when_damage_is_mended(fake: ModuleType, tmp_path: Path) -> None:
    plan = fake.tiny_plan()
    worker = fake.FakeWorker(Store(tmp_path / "store", lambda line: None))
    worker.break_on = lambda task: task.kind == "erase" and task.method == "dim"

    def after_the_first_pass() -> None:
        worker.close = lambda: None
        flip(min((tmp_path / "store").glob("score/*/*/scores.parquet")))

    worker.close = after_the_first_pass
    outcome, _ = fake.run(plan, tmp_path / "store", tmp_path / "out", worker)

    tried = [task.id for task in plan.tasks if task.kind == "erase" and task.method == "dim"]
    assert [worker.calls.count(task) for task in tried] == [1] * len(tried)
    assert len(outcome.failures) == len(tried)


def test_a_disk_that_keeps_nothing_ends_the_run_with_one_line(fake: ModuleType, tmp_path: Path) -> None:
    worker = fake.FakeWorker(store := Store(tmp_path / "store", lambda line: None))
    worker.break_on = Vandal(tmp_path / "store", "erase", "generate", times=100)
    with pytest.raises(StoreError, match="made anew 3 times and is damaged again"):
        complete(fake.tiny_plan(), worker, store, Quiet)


def test_someones_code_that_cries_damage_fails_by_name_and_does_not_go_on_for_ever(
    fake: ModuleType, tmp_path: Path
) -> None:
    def cry(task: Any) -> bool:
        if task.kind == "score":
            raise DamagedEntry("not so")
        return False

    plan = fake.tiny_plan(suite=fake.tiny_suite(prompts=1, images_per_prompt=1))
    worker = fake.FakeWorker(Store(tmp_path / "store", lambda line: None))
    worker.break_on = cry
    outcome, _ = fake.run(plan, tmp_path / "store", tmp_path / "out", worker)

    assert {failure.stage for failure in outcome.failures} == {"score"}
    assert all("not so" in failure.reason for failure in outcome.failures)
