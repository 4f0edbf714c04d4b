"""Which edit of a run is meant, and what a colleague may read."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
import torch
from safetensors.torch import save_file

from erasure_bench.bench.cli.export import find_edit
from erasure_bench.bench.planning.config import RunConfig
from erasure_bench.bench.planning.tasks import EraseTask
from erasure_bench.bench.reporting.record import read_record, write_record
from erasure_bench.bench.storage.store import DamagedEntry, Store
from erasure_bench.errors import BenchError
from erasure_bench.permissions import follow_umask


@pytest.fixture
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def a_run(fake: ModuleType, place: Path, **config: object) -> Path:
    plan = fake.tiny_plan(RunConfig(suite="tiny", methods=("dim",), **config))
    fake.run(plan, place / "store", place / "out", fake.FakeWorker(Store(place / "store")))
    return place / "out"


@pytest.mark.parametrize("umask", [0o022, 0o077, 0o002], indirect=True)
def test_all_that_a_run_leaves_follows_the_umask(fake: ModuleType, tmp_path: Path, umask: int) -> None:
    a_run(fake, tmp_path)
    files = [path for path in tmp_path.rglob("*") if path.is_file() and path.suffix != ".lock"]
    assert len(files) > 20
    assert {oct(path.stat().st_mode & 0o777) for path in files} == {oct(0o666 & ~umask)}


@pytest.mark.parametrize("umask", [0o022, 0o077], indirect=True)
def test_a_file_that_safetensors_made_private_is_opened(tmp_path: Path, umask: int) -> None:
    save_file({"a": torch.zeros(1)}, tmp_path / "a.safetensors")
    follow_umask(tmp_path)
    assert (tmp_path / "a.safetensors").stat().st_mode & 0o777 == 0o666 & ~umask


def test_of_several_edits_one_is_asked_for_by_the_flags_that_tell_them_apart(
    fake: ModuleType, tmp_path: Path
) -> None:
    run = a_run(fake, tmp_path, seeds=(0, 1))
    with pytest.raises(BenchError, match=r"--concept \(red ball, Blue Cube\) and --seed \(0, 1\)"):
        find_edit(run, "dim", None, None)
    with pytest.raises(BenchError, match=r"choose one with --seed \(0, 1\)$"):
        find_edit(run, "dim", "red ball", None)
    found = find_edit(run, "dim", "blue-cube", 1)
    assert found.entry.folder.is_dir()
    assert (found.origin["row"], found.origin["seed"], found.origin["suite"]) == ("dim", 1, "tiny 1")
    assert found.origin["edit"] == found.entry.folder.name and "erasure-bench" in found.origin["made_by"]


def test_an_edit_that_failed_or_was_merged_says_so(fake: ModuleType, tmp_path: Path) -> None:
    worker = fake.FakeWorker(Store(tmp_path / "store"))
    worker.break_on = lambda task: isinstance(task, EraseTask) and task.method == "dim"
    fake.run(fake.tiny_plan(), tmp_path / "store", tmp_path / "out", worker)
    with pytest.raises(BenchError, match="the erasure of red ball by dim failed: "):
        find_edit(tmp_path / "out", "dim", "red ball", None)

    run = a_run(fake, tmp_path / "other")
    shutil.rmtree(tmp_path / "other" / "store")
    with pytest.raises(BenchError, match="moved or removed"):
        find_edit(run, "dim", "red ball", None)

    write_record(run, read_record(run) | {"store": None, "merged": ["runs/a", "runs/b"]})
    with pytest.raises(BenchError, match="export from runs/a or runs/b"):
        find_edit(run, "dim", "red ball", None)


def test_a_damaged_edit_is_not_exported(fake: ModuleType, tmp_path: Path) -> None:
    run = a_run(fake, tmp_path)
    entry = find_edit(run, "dim", "red ball", None).entry
    path = entry.folder / "edit.json"
    path.write_text(path.read_text()[::-1])
    with pytest.raises(DamagedEntry, match=r"edit.json is damaged .*; run the same bench run again"):
        entry.checked()
    with pytest.raises(BenchError, match="moved or removed; run the same bench run again"):
        find_edit(run, "dim", "red ball", None)
