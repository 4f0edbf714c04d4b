"""Joining a run by hand: a worker's name is one of its own, and no path."""

from pathlib import Path
from types import ModuleType

import pytest

from erasure_bench.bench.cli.app import run_command
from erasure_bench.bench.running.job import Job, place_of, write_job
from erasure_bench.bench.running.journal import workers_journal

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
