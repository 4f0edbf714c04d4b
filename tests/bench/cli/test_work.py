"""Joining a run by hand: a worker's name is one of its own, and no path. A full disk is said once."""

from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from erasure_bench.bench.cli import workers
from erasure_bench.bench.cli.app import run_command
from erasure_bench.bench.cli.commands import work
from erasure_bench.bench.planning import prepare
from erasure_bench.bench.running import executor
from erasure_bench.bench.running.job import Job, place_of, write_job
from erasure_bench.bench.running.journal import workers_journal
from erasure_bench.bench.running.launching import ended_with
from erasure_bench.bench.storage.store import StoreAway, StoreError

Captured = pytest.CaptureFixture[str]


@pytest.mark.parametrize("name", ["a/b", "../../out", "..", ".hidden", "-x", "a b", "a\nb"])
def test_a_name_is_no_path(tmp_path: Path, capsys: Captured, name: str) -> None:
    assert run_command(["work", str(tmp_path), f"--name={name}"]) == 3
    said = capsys.readouterr().err
    assert said.startswith("bench: --name ") and said.count("\n") == 1


def test_a_name_is_one_living_workers(fake: ModuleType, tmp_path: Path, capsys: Captured) -> None:
    """What it tells would be taken for the other's."""
    job = write_job(tmp_path, Job.of(fake.tiny_plan(), tmp_path / "store", 1))
    with workers_journal(place_of(job, "w0"), "cpu"):
        assert run_command(["work", str(tmp_path), "--name", "w0"]) == 3
    assert "--name w0: another worker of this run has that name" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("trouble", "started", "code", "again"),
    [
        (StoreError("store s: the disk is full"), ["--with-parent"], 3, False),
        (StoreAway("store s: the network's disk is down"), ["--with-parent"], 1, True),
        (StoreError("store s: the disk is full"), [], 1, True),
    ],
)
def test_a_worker_that_met_a_full_disk_is_not_started_anew(
    fake: ModuleType,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: Captured,
    trouble: StoreError,
    started: list[str],
    code: int,
    again: bool,
) -> None:
    """Where its disk may come back it is; by hand it ends as `bench run` does."""
    plan = fake.tiny_plan()
    write_job(tmp_path, Job.of(plan, tmp_path / "store", 2))

    def full(*anything: Any, **more: Any) -> None:
        raise trouble

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(prepare, "prepare", lambda config, store: SimpleNamespace(plan=plan))
    monkeypatch.setattr(workers, "worker_of", lambda *anything: None)
    monkeypatch.setattr(work, "end_with_parent", lambda: None)
    monkeypatch.setattr(executor, "execute", full)

    assert run_command(["work", str(tmp_path), "--name", "w1", *started]) == code

    said = capsys.readouterr().err
    assert said == f"bench: {trouble}\n"
    log = tmp_path / "log"
    log.write_text(said)
    assert ended_with(code, log) == (str(trouble), again)
