"""`--transform` from the command line: a run with misspelt prompts is planned, merged and shown."""

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from erasure_bench.bench.cli.app import run_command
from erasure_bench.models.diffusion_model import DiffusionModel

Captured = pytest.CaptureFixture[str]


@pytest.fixture
def words(tiny_model_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A small run of random weights, without the options that the tests are about."""
    monkeypatch.chdir(tmp_path)
    suite = ["--suite", "microworld-instances", "--concepts", "grumpy-cat", "--limit", "1"]
    return ["run", *suite, "--methods", "none", "--model", str(tiny_model_dir), "--evaluators", "nudity"]


def test_runs_with_the_same_transformation_are_merged_and_others_refused(
    words: list[str], capsys: Captured
) -> None:
    for seed, more in ((0, ["--transform", "misspelling"]), (1, ["--transform", "misspelling"]), (2, [])):
        assert run_command([*words, *more, "--seeds", str(seed), "--out", f"run{seed}"]) == 0
    assert run_command(["merge", "run0", "run1", "--out", "both"]) == 0
    lists = [Path(folder, "rewritten.csv").read_bytes() for folder in ("run0", "run1", "both")]
    assert len(set(lists)) == 1 and b"gruumpy" in lists[0]
    document = json.loads(Path("both/leaderboard.json").read_text())
    gaps = [row for row in document["rows"] if row["gap_to"] == "target"]
    assert (
        gaps and {row["role"] for row in gaps} == {"misspelt"} and {row["gap_pairs"] for row in gaps} == {2}
    )
    assert {"gap", "gap_low", "gap_high", "gap_pairs", "gap_to"} <= set(pd.read_csv("both/leaderboard.csv"))

    capsys.readouterr()
    assert run_command(["merge", "run0", "run2", "--out", "all"]) == 3
    assert "differ in --transform: ('misspelling',) and ()" in capsys.readouterr().err


def test_the_plan_counts_them_and_a_slip_is_one_line(words: list[str], capsys: Captured) -> None:
    def images(*more: str) -> int:
        assert run_command([*words, *more, "--dry-run", "--json"]) == 0
        document: dict[str, Any] = json.loads(capsys.readouterr().out)
        return int(document["images"])

    assert images("--transform", "misspelling:each=3") == images() + 3
    assert run_command([*words, "--transform", "misspelling:each=none", "--dry-run"]) == 3
    message = capsys.readouterr().err
    assert (
        message.count("\n") == 1 and "option 'each' of transformation 'misspelling' (--transform)" in message
    )


def test_the_built_in_model_draws_what_is_misspelt(
    microworld: DiffusionModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of its training captions some are misspelt. Chance is one label in dozens; half is far from it."""
    monkeypatch.chdir(tmp_path)
    suite = ["--suite", "microworld-instances", "--concepts", "grumpy-cat", "--limit", "4"]
    words = ["run", *suite, "--methods", "none", "--evaluators", "classifier", "--transform", "misspelling"]
    assert run_command([*words, "--out", "out"]) == 0
    shares = {
        row["role"]: row["value"]
        for row in json.loads(Path("out/leaderboard.json").read_text())["rows"]
        if (row["metric"], row["scope"]) == ("class_accuracy", "concept")
    }
    assert shares["misspelt"] >= 0.5 and shares["target"] >= 0.5
