"""What the project commits under results/ is what its run.json says, and its table can be read."""

import hashlib
import json
from pathlib import Path

import pytest

from erasure_bench.bench.cli.app import run_command
from erasure_bench.bench.reporting.reading import read_document, read_robustness
from erasure_bench.bench.reporting.run_file import ROBUSTNESS
from erasure_bench.bench.sharing.guard import _texts
from erasure_bench.bench.sharing.machine_paths import found_in

RESULTS = Path(__file__).parents[3] / "results"
RUNS = sorted(path.parent for path in RESULTS.rglob("run.json"))


def name_of(folder: Path) -> str:
    return str(folder.relative_to(RESULTS))


@pytest.mark.parametrize("folder", RUNS, ids=name_of)
def test_a_committed_run_is_whole_and_is_read(folder: Path) -> None:
    files: dict[str, str] = json.loads((folder / "run.json").read_text())["files"]
    for name, digest in files.items():
        assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == digest, name
        assert [path for text in _texts(name, (folder / name).read_bytes()) for path in found_in(text)] == []
    if (folder / f"{ROBUSTNESS}.json").is_file():
        assert read_robustness(folder).rows
    else:
        assert read_document(folder)["rows"]


def test_there_are_committed_runs() -> None:
    assert {"digits/digits-vae", "microworld/microworld-instances", "gate"} <= set(map(name_of, RUNS))


@pytest.mark.parametrize("form", ["md", "csv", "json", "summary"])
def test_what_a_gate_keeps_is_a_run_for_every_form_of_the_table(
    form: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """run.json, leaderboard.json and scores.parquet, as docs/gate.md has it."""
    assert run_command(["table", str(RESULTS / "gate"), "--format", form]) == 0
    assert "uce" in capsys.readouterr().out
