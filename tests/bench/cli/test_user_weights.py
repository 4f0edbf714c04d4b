"""Checkpoints that a user brings become rows, and edits go out as weights that give the same pictures."""

import json
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from erasure_bench.bench.cli.app import run_command

SMALL = ["--suite", "microworld-instances", "--concepts", "grumpy-cat", "--limit", "1"]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of a very short erasure on the built-in model; store beside it."""
    place = tmp_path_factory.mktemp("weights")
    options = [
        "--method-option",
        "steps=2",
        "--method-option",
        "trajectories=1",
        "--evaluators",
        "classifier",
    ]
    code = run_command(
        ["run", *SMALL, "--methods", "esd-x-strict", *options]
        + ["--store", str(place / "store"), "--out", str(place / "run")]
    )
    assert code == 0
    return place


def document(folder: Path, name: str = "leaderboard.json") -> dict:
    return json.loads((folder / name).read_text())


def targets(folder: Path, method: str) -> dict:
    return {
        (row["role"], row["metric"]): row["value"]
        for row in document(folder)["rows"]
        if row["method"] == method and row["scope"] == "overall"
    }


@pytest.mark.usefixtures("microworld")
def test_an_exported_edit_comes_back_as_a_row_with_the_same_numbers(run: Path, capsys) -> None:
    delta = run / "delta.safetensors"
    code = run_command(["export", str(run / "run"), "esd-x-strict", "--format", "delta", "--out", str(delta)])
    assert code == 0
    assert capsys.readouterr().out.strip() == str(delta)
    assert all(".attn2.to_" in name for name in load_file(delta))
    usual = run / "plain"
    usual.touch()
    assert delta.stat().st_mode == usual.stat().st_mode, "colleagues can read it where the umask lets them"
    with safe_open(delta, "pt") as file:
        about = json.loads(file.metadata()["erasure_bench"])
    record = document(run / "run", "run.json")
    (cell,) = [cell for cell in record["cells"] if cell["method"] == "esd-x-strict"]
    assert (about["row"], about["method"], about["seed"]) == ("esd-x-strict", "esd", 0)
    assert about["concepts"] == ["grumpy cat"] and about["settings"]["steps"] == 2
    assert about["base_digest"] == record["model_digest"] and about["edit"] == Path(cell["edit"]).name
    assert about["made_by"] == f"erasure-bench {record['versions']['erasure-bench']}"

    code = run_command(
        ["run", *SMALL, "--methods", "none", "--edit", f"mine={delta}", "--evaluators", "classifier"]
        + ["--store", str(run / "store"), "--out", str(run / "again")]
    )

    assert code == 0
    board = document(run / "again")
    assert board["methods"] == ["none", "mine"]
    assert targets(run / "again", "mine") == targets(run / "run", "esd-x-strict")
    (note,) = [note for note in board["notes"] if note.startswith("Row mine")]
    assert "delta.safetensors" in note and "differ" in note
    assert {row["erase_seconds"] for row in board["rows"] if row["method"] == "mine"} == {None}


@pytest.mark.usefixtures("microworld")
def test_mistakes_are_one_line(run: Path, tmp_path: Path, capsys) -> None:
    stranger = tmp_path / "stranger.safetensors"
    save_file({"weight": torch.zeros(3)}, stranger)
    where = ["--store", str(tmp_path / "store"), "--out", str(tmp_path / "run")]
    start = ["run", *SMALL, "--methods", "none", *where]
    known = ["export", str(run / "run")]
    for words, said in (
        ([*start, "--edit", "mine"], "NAME=PATH"),
        ([*start, "--edit", f"mine={tmp_path}/nothing.pt"], "nothing.pt"),
        ([*start, "--edit", f"none={stranger}"], "there is a row 'none' already"),
        ([*start, "--edit", f"mine={stranger}", "--method-option", "mine.scal=2"], "did you mean scale"),
        ([*start, "--edit", f"mine={stranger}", "--method-option", "mine.scale=nan"], "finite"),
        ([*start, "--edit", f"mine={stranger}", "--method-option", "mine.scale=-inf"], "finite"),
        ([*start, "--edit", f"mine={stranger}", "--method-option", "mine.digest=aaa"], "scale, weights"),
        ([*start, "--edit", f"mine={stranger}"], "--edit mine: "),
        ([*known, "esd-y", "--out", str(tmp_path / "x")], "valid: esd-x-strict, none"),
        ([*known, "none", "--out", str(tmp_path / "x")], "nothing to export"),
        ([*known, "esd-x-strict", "--concept", "cat", "--out", str(tmp_path / "x")], "grumpy cat"),
    ):
        assert run_command(words) == 3
        line = capsys.readouterr().err.strip().splitlines()[-1]
        assert line.startswith("bench: ") and said in line
    assert not (tmp_path / "store" / "generate").exists()


@pytest.mark.usefixtures("microworld")
@pytest.mark.parametrize("fixture", ["tiny_taesd_model_dir", "tiny_v_model_dir"])
def test_another_base_model_is_a_row(run: Path, fixture: str, request: pytest.FixtureRequest) -> None:
    """Also one that predicts v instead of noise, as SD 2.1; --methods is not needed then."""
    directory: Path = request.getfixturevalue(fixture)
    code = run_command(
        ["run", *SMALL, "--reference", str(directory), "--evaluators", "classifier"]
        + ["--store", str(run / "store"), "--out", str(run / "reference")]
    )

    assert code == 0
    board = document(run / "reference")
    assert board["methods"] == ["none", directory.name]
    is_v = any(f"{directory.name}: v-prediction" in note for note in board["notes"])
    assert is_v == (fixture == "tiny_v_model_dir")
    assert document(run / "reference", "run.json")["base_models"].keys() == {"microworld", directory.name}
    other, base = targets(run / "reference", directory.name), targets(run / "reference", "none")
    assert other[("target", "class_probability")] < 0.5 < base[("target", "class_probability")]
