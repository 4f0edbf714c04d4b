"""`load_run` gives data frames; the example notebook of the documents runs as it stands."""

import ast
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from pandas import DataFrame

import erasure_bench
from erasure_bench import load_run
from erasure_bench.bench.reporting.leaderboard import COLUMNS
from erasure_bench.bench.reporting.scores import RUN_COLUMNS
from erasure_bench.bench.sharing.packing import pack
from erasure_bench.errors import BenchError, UnknownName

ROOT = Path(__file__).resolve().parents[3]
NOTEBOOK = ROOT / "docs" / "notebooks" / "reading-a-run.ipynb"


def test_a_run_is_data_frames(finished: Path) -> None:
    run = load_run(finished)
    board = run.leaderboard
    assert isinstance(board, DataFrame) and tuple(board.columns) == COLUMNS
    assert board["value"].dtype == np.float64 and board["best_p"].dtype == np.float64
    bright = board.query("scope == 'overall' and role == 'target' and metric == 'brightness'")
    values = bright.set_index("method")["value"]
    assert values["dim"] < values["none"]
    assert tuple(run.scores.columns) == RUN_COLUMNS and len(run.scores) == 288
    own = run.scores.query("method == 'dim' and metric == 'brightness' and role == 'target'")["value"]
    assert own.mean() == pytest.approx(values["dim"])
    assert run.failures.empty and list(run.failures.columns)[0] == "method"
    assert run.protocol["drawing"]["steps"] == 3 and run.protocol["seeds"] == [0]
    assert run.protocol["evaluators"] == {"fake": {"detector": "arithmetic"}}
    assert "dim" in repr(run) and "<b>" in run._repr_html_()


def test_pictures_are_those_that_were_scored(finished: Path) -> None:
    run = load_run(str(finished))
    assert len(run.pictures) == 96 and run.pictures["file"].notna().all()
    assert set(run.pictures.query("prompt_id == 'keep/0'")["text"]) == {"picture of keep/0"}
    row = run.scores.query("metric == 'raw' and method == 'dim' and role == 'target'").iloc[5]
    picture = run.picture("dim", row["concept"], row["prompt_id"], row["image_index"])
    assert np.asarray(picture).mean() == pytest.approx(row["value"])
    with pytest.raises(UnknownName, match="unknown method 'dimm'"):
        run.picture("dimm", row["concept"], row["prompt_id"])


def test_a_packed_run_has_all_but_the_pictures(finished: Path, tmp_path: Path) -> None:
    path, _ = pack(finished, tmp_path / "mine.tar.gz")
    run, whole = load_run(path), load_run(finished)
    assert run.scores.equals(whole.scores)
    assert run.leaderboard.equals(whole.leaderboard)
    assert run.pictures["file"].isna().all()
    with pytest.raises(BenchError, match="has no such picture here"):
        run.picture("dim", "red ball", "red ball/t0")
    with pytest.raises(BenchError, match="no run 'nowhere'"):
        load_run("nowhere")


def test_the_package_stays_light_and_has_no_other_attributes() -> None:
    with pytest.raises(AttributeError, match="no attribute 'load_runs'"):
        _ = erasure_bench.load_runs
    code = (
        "import sys, erasure_bench\n"
        "assert not {'torch', 'pandas', 'numpy', 'pydantic'} & set(sys.modules)\n"
        "from bench import load_run\n"
        "assert load_run is erasure_bench.load_run and 'torch' not in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_the_example_notebook_runs_and_is_committed_without_outputs(
    finished: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nbformat = pytest.importorskip("nbformat")
    nbclient = pytest.importorskip("nbclient")
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbformat.validate(notebook)
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert all(not cell.outputs and cell.execution_count is None for cell in cells)
    for cell in cells:
        ast.parse(cell.source)
    monkeypatch.setenv("BENCH_RUN", str(finished))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    done = nbclient.NotebookClient(notebook, timeout=120, kernel_name="python3").execute()
    texts = [str(output) for cell in done.cells for output in cell.get("outputs", [])]
    assert any("brightness" in text for text in texts) and any("image/png" in text for text in texts)
