"""`bench details`: what an evaluator keeps of each picture beside its scores can be read."""

import io
import shutil
from pathlib import Path

import pandas as pd
import pytest

from erasure_bench.bench.cli.app import run_command
from erasure_bench.bench.reporting.details import WHOSE, of_pictures, together

Captured = pytest.CaptureFixture[str]
RUN = (
    "run --suite microworld-instances --methods negative-prompt --concepts grumpy-cat --limit 1 --store store"
)


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory, tiny_model_dir: Path) -> Path:
    """A folder with a run that the classifier and another evaluator measure; treat as read-only."""
    folder = tmp_path_factory.mktemp("details")
    options = ["--evaluators", "classifier@microworld,distance", "--model", str(tiny_model_dir)]
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.delenv("BENCH_STORE", raising=False)
        assert run_command([*RUN.split(), "--out", "out", *options]) == 0
    return folder


@pytest.fixture
def made(measured: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured) -> None:
    """The same in the working folder."""
    for name in ("out", "store"):
        shutil.copytree(measured / name, tmp_path / name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("BENCH_STORE", raising=False)
    capsys.readouterr()


@pytest.mark.usefixtures("made", "microworld")
def test_every_prediction_behind_the_scores_is_there(capsys: Captured) -> None:
    assert run_command(["details", "out", "classifier@microworld"]) == 0
    found = pd.read_csv(io.StringIO(capsys.readouterr().out))

    scores = pd.read_parquet("out/scores.parquet")
    right = scores[(scores.metric == "class_accuracy") & (scores.status == "ok")]
    assert tuple(found.columns[:4]) == WHOSE
    keys = ["method", "prompt_id", "image_index"]
    both = found.merge(right, on=keys, suffixes=("", "_scored"))
    assert len(both) == len(found) == len(right) > 4
    said = both.predicted == both.label.str.rpartition("/")[2]
    assert (said == both.value.astype(bool)).all()

    assert run_command(["details", "out", "classifier@microworld", "--out", "all.parquet"]) == 0
    assert len(pd.read_parquet("all.parquet")) == len(found)
    assert "rows in all.parquet" in capsys.readouterr().err


def test_pictures_of_which_there_is_nothing_to_say_change_no_type() -> None:
    """Else a seed is 0.0 where a detector found nothing on somebody's pictures."""
    boxes = pd.DataFrame({"prompt_id": ["p"], "image_index": [0], "score": [0.5]})
    some, none = (of_pictures(("m", "c", 0, "target"), each) for each in (boxes, boxes.iloc[:0]))
    assert together([none, some]).to_csv(index=False).splitlines()[1] == "m,c,0,target,p,0,0.5"
    assert list(together([none]).columns) == [*WHOSE, *boxes.columns] and len(together([none, none])) == 0
    assert list(together([]).columns) == list(WHOSE)


@pytest.mark.usefixtures("made", "microworld")
@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["out", "clasifier"], "unknown evaluator of out 'clasifier' (EVALUATOR): did you mean classifier"),
        (["out", "distance"], "distance keeps nothing beside its scores here"),
        (["out", "distance", "--out", "x.txt"], "valid: FILE.csv, FILE.parquet"),
        (["out", "classifier@microworld", "--out", "no/where.csv"], "--out no/where.csv: "),
        (["nowhere", "distance"], "nowhere"),
    ],
)
def test_mistakes_are_one_line(words: list[str], said: str, capsys: Captured) -> None:
    assert run_command(["details", *words]) == 3
    told = capsys.readouterr()
    assert told.out == "" and said in told.err and told.err.count("\n") == 1
