"""A checkpoint's card has the run's numbers, and the hub's own reader reads its results."""

import dataclasses
from pathlib import Path

import pytest
import yaml
from huggingface_hub import ModelCard, parse_eval_result_entries

from erasure_bench.bench.cli.app import run_command
from erasure_bench.bench.comparing.finished import read_finished
from erasure_bench.bench.sharing.model_card import ErasedCard
from tests.bench.sharing.conftest import SUITE

Captured = pytest.CaptureFixture[str]


def card(run: Path, *more: str) -> list[str]:
    return ["card", str(run), "dim", "--concept", "red-ball", *more]


def test_the_card_and_the_results_are_read_by_the_hubs_library(
    finished: Path, tmp_path: Path, capsys: Captured
) -> None:
    more = ["--dataset", "us/erasing", "--url", "https://example.org/run", "--base-model", "us/fake"]
    assert run_command([*card(finished, "--out", str(tmp_path)), *more]) == 0
    readme, results = map(Path, capsys.readouterr().out.split())
    loaded = ModelCard.load(readme)
    assert loaded.data.base_model == "us/fake" and "concept-erasure" in loaded.data.tags
    text = readme.read_text()
    assert "*red ball* was erased from fake" in text and "dim" in text
    assert "- read from " in text, "the run's cautions are in it"
    assert results == tmp_path / ".eval_results" / f"{SUITE}-red-ball.yaml"
    entries = parse_eval_result_entries(yaml.safe_load(results.read_text()))
    run = read_finished(finished)
    wanted = {
        f"{SUITE}.{row['role']}.{row['evaluator']}.{row['metric']}": row["value"]
        for row in run.document["rows"]
        if (row["method"], row["scope"], row["concept"], row["headline"])
        == ("dim", "concept", "red ball", True)
    }
    assert {entry.task_id: entry.value for entry in entries} == wanted and len(entries) == len(wanted)
    assert {entry.dataset_id for entry in entries} == {"us/erasing"}
    assert all("95% interval [" in (entry.notes or "") for entry in entries)
    assert run_command([*card(finished, "--out", str(tmp_path)), *more]) == 0, "the same again is no other"
    (tmp_path / "README.md").write_text("my own words")
    assert run_command([*card(finished, "--out", str(tmp_path)), *more]) == 3
    assert "there is another README.md already" in capsys.readouterr().err


def test_without_a_dataset_there_are_no_results_for_the_hub(finished: Path, tmp_path: Path) -> None:
    written = ErasedCard(read_finished(finished), "dim", "red ball").write(tmp_path, None, None, None)
    assert [path.name for path in written] == ["README.md"]
    assert "base_model" not in (tmp_path / "README.md").read_text().split("---")[1]


def test_a_model_of_classes_is_no_pipeline_of_diffusers(finished: Path) -> None:
    run = read_finished(finished)
    for facts, library in (({}, "erasure-bench"), ({"prompts_cut": {"cut": 0}}, "diffusers")):
        record = {**run.record, "base_models": {run.record["model"]: facts}}
        changed = dataclasses.replace(run, record=record)
        text = ErasedCard(changed, "dim", "red ball").readme(None)
        assert f"library_name: {library}" in text.split("---")[1]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["none", "--concept", "red-ball"], "none is a base model as it is"),
        (["dimm", "--concept", "red-ball"], "did you mean dim?"),
        (["dim"], "has several concepts: choose one"),
        (["dim", "--concept", "blue-cub"], "did you mean Blue Cube?"),
        (["dim", "--concept", "red-ball", "--dataset", "erasing"], "--dataset erasing: is no id of the hub"),
    ],
)
def test_a_wrong_wish_is_one_line(
    words: list[str], message: str, finished: Path, tmp_path: Path, capsys: Captured
) -> None:
    assert run_command(["card", str(finished), *words, "--out", str(tmp_path / "card")]) == 3
    said = capsys.readouterr().err
    assert message in said and said.count("\n") == 1
    assert not (tmp_path / "card").exists()


def test_collapsed_pictures_are_said_first(finished: Path) -> None:
    run = read_finished(finished)
    rows = [{**row, "collapsed": "9 of 10 pictures are noise"} for row in run.document["rows"]]
    broken = type(run)(run.folder, run.record, {**run.document, "rows": rows}, run.scores)
    text = ErasedCard(broken, "dim", "red ball").readme(None)
    assert text.index("The pictures have collapsed: 9 of 10 pictures are noise") < text.index("| Prompts |")
