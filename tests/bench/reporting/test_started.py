"""A run whose own files lie where it was started, scored and merged from elsewhere."""

from pathlib import Path
from types import ModuleType

import pytest

from erasure_bench.bench.cli.app import run_command
from erasure_bench.bench.planning.config import RunConfig
from erasure_bench.bench.reporting.record import portable, read_record
from erasure_bench.bench.reporting.started import STARTED
from erasure_bench.bench.sharing.packing import portable_files


def config(**named: object) -> RunConfig:
    return RunConfig.model_validate({"suite": "tiny", "methods": ("none", "dim"), **named})


@pytest.mark.parametrize(
    ("named", "file"),
    [
        ({"suite": "mine.yaml"}, "mine.yaml"),
        ({"suite": "./suites/mine.yml"}, "suites/mine.yml"),
        ({"edits": {"own": "delta.safetensors"}}, "delta.safetensors"),
        ({"evaluators": ("own.py:Measure",)}, "own.py"),
    ],
)
@pytest.mark.parametrize("command", ["score", "merge"])
def test_a_command_from_elsewhere_is_told_where_the_runs_files_are(
    fake: ModuleType,
    named: dict[str, object],
    file: str,
    command: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    home, elsewhere = tmp_path / "home", tmp_path / "elsewhere"
    for folder in (home, elsewhere, (home / file).parent):
        folder.mkdir(exist_ok=True)
    (home / file).write_text("")
    monkeypatch.chdir(home)
    fake.run(fake.tiny_plan(config(**named)), tmp_path / "store", home / "out")
    monkeypatch.chdir(elsewhere)

    run = str(home / "out")
    more = (
        ["--evaluators", "clip", "--store", str(tmp_path / "store")] if command == "score" else ["--out", "m"]
    )
    assert run_command([command, run, *more, "--trust-code"]) != 0
    (line,) = [line for line in capsys.readouterr().err.splitlines() if "start the command there" in line]
    assert f"{run}: the run's {file} is not here, but in {home}: start the command there" in line


def test_where_it_was_started_leaves_no_machine_and_is_in_no_other_run(
    fake: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    fake.run(fake.tiny_plan(config(suite="mine.yaml")), tmp_path / "store", tmp_path / "own")
    record = read_record(tmp_path / "own")
    assert record[STARTED] == str(tmp_path)
    assert STARTED not in portable(record)
    assert STARTED.encode() not in portable_files(tmp_path / "own")["run.json"]

    fake.run(
        fake.tiny_plan(config(suite=str(tmp_path / "mine.yaml"))), tmp_path / "store", tmp_path / "plain"
    )
    assert STARTED not in read_record(tmp_path / "plain")
