"""`bench check`: a line for each promise, exit code 0 or 1, JSON, and one-line mistakes."""

import json
from pathlib import Path

import pytest

from erasure_bench.bench.cli.app import run_command
from erasure_bench.bench.cli.check_pictures import NAME as PICTURES
from erasure_bench.methods.machinery.contract import CHECKS

METHOD = """
from dataclasses import dataclass

import torch

from erasure_bench.methods.base import Progress
from erasure_bench.methods.machinery.cost import Cost
from erasure_bench.methods.edit import new_edit

NAME = "unet.conv_out.weight"


@dataclass(frozen=True, kw_only=True)
class Mine:
    steps: int = 1000
    forgets: bool = False

    def erase(self, model, concepts, context):
        weight = model.named_tensors()[NAME].detach()
        factor = 1 + torch.rand((), generator=torch.Generator().manual_seed(context.seed))
        if self.forgets:
            weight.mul_(factor)
        losses = tuple(1 / step for step in range(1, self.steps + 1))
        for step, loss in enumerate(losses):
            context.report(Progress(step, self.steps, loss))
        cost = Cost(1.0, 1, self.steps)
        return new_edit(
            "mine", self, model, concepts, tensors={NAME: weight * factor}, cost=cost, losses=losses
        )
"""
NOISE = """
from dataclasses import dataclass

import torch

from erasure_bench.methods.edit import new_edit
from erasure_bench.models.guidance import Guided


@dataclass(frozen=True)
class NoNoisePredicted:
    unconditional_text: str = ""

    @property
    def texts(self):
        return ()

    def combine(self, step, state=None):
        return Guided(torch.zeros_like(step.conditional), state)


@dataclass(frozen=True, kw_only=True)
class Refuses:
    def erase(self, model, concepts, context):
        return new_edit("refuses", self, model, concepts, guidance=NoNoisePredicted())
"""
ALL_CHECKS = [*CHECKS, PICTURES]
Captured = pytest.CaptureFixture[str]


@pytest.fixture
def words(tmp_path: Path, tiny_model_dir: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A check of a good method on a tiny model."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("COLUMNS", raising=False)
    (tmp_path / "mine.py").write_text(METHOD)
    return ["check", "./mine.py:Mine", "--model", str(tiny_model_dir)]


def test_a_line_for_each_check_and_what_passed(words: list[str], capsys: Captured) -> None:
    assert run_command(words) == 0
    said = capsys.readouterr()
    title, *lines, summary = said.out.splitlines()

    assert title.startswith("Mine with steps=3 on tiny")
    assert [name for name in ALL_CHECKS if not any(name in line for line in lines)] == []
    marked = [line for line in lines if line.startswith(("  ok ", "  skipped "))]  # a long reason wraps
    assert len(marked) == len(ALL_CHECKS)
    assert not any(line.startswith("  failed ") for line in lines)
    assert summary == "12 of 12 checks passed, 2 skipped"
    assert said.err == ""


def test_a_promise_that_is_not_kept_gives_exit_code_1(words: list[str], capsys: Captured) -> None:
    assert run_command([*words, "--method-option", "Mine.forgets=true"]) == 1
    out = capsys.readouterr().out
    (failed,) = [line for line in out.splitlines() if line.startswith("  failed")]
    assert "restores the base bit by bit" in failed and "unet.conv_out.weight" in failed
    assert out.splitlines()[-1] == "11 of 12 checks passed, 2 skipped"


def test_json_has_every_check_and_the_settings(words: list[str], capsys: Captured) -> None:
    assert run_command([*words, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["passed"] and found["method"] == "Mine"
    assert found["settings"] == {"steps": 3, "forgets": False}
    assert [check["name"] for check in found["checks"]] == ALL_CHECKS

    assert run_command([*words, "--json", "--method-option", "forgets=true"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert not found["passed"]
    assert [check["verdict"] for check in found["checks"]].count("failed") == 1


def test_training_is_short_unless_the_user_says_how_long(words: list[str], capsys: Captured) -> None:
    assert run_command([*words, "--json", "--method-option", "steps=5"]) == 0
    assert json.loads(capsys.readouterr().out)["settings"]["steps"] == 5


def test_a_registered_method_can_be_checked_by_name(words: list[str], capsys: Captured) -> None:
    assert run_command(["check", "negative-prompt", *words[2:], "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert {check["name"] for check in found["checks"] if check["verdict"] == "skipped"} == {
        "reports every step",
        "goes on after an interruption",
    }


@pytest.mark.slow
def test_the_built_in_model_is_the_one_that_is_meant_and_a_refusal_is_found_on_it(
    words: list[str], microworld: object, capsys: Captured
) -> None:
    Path("noise.py").write_text(NOISE)
    assert run_command(["check", "./noise.py:Refuses", "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert found["model"]["name"] == "microworld"
    (failed,) = [check for check in found["checks"] if check["verdict"] == "failed"]
    assert failed["name"] == PICTURES
    assert failed["why"].startswith("asked for the concept it draws no pictures: incoherent, 12")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (["check", "./nowhere.py:Mine"], "./nowhere.py: no such file"),
        (["check", "./mine.py:Mein"], "unknown name in ./mine.py 'Mein': did you mean Mine?"),
        (["check", "esdx"], "did you mean esd-x"),
        (
            ["check", "./mine.py:Mine", "--method-option", "Yours.steps=1"],
            "unknown name before the dot 'Yours'",
        ),
        (["check", "./mine.py:Mine", "--method-option", "step=1"], "did you mean steps"),
        (["check", "./mine.py:Mine", "--method-option", "steps=many"], "--method-option steps=many"),
        (["check", "./mine.py:Mine", "--model", "./nothing"], "./nothing: no such directory"),
        (["check", "clip", "--data-dir", "."], "--data-dir: clip is an evaluator"),
    ],
)
def test_a_mistake_is_one_line_on_stderr_and_exit_code_3(
    words: list[str], change: list[str], message: str, capsys: Captured
) -> None:
    assert run_command([*change, *([] if "--model" in change else words[2:])]) == 3
    said = capsys.readouterr()
    assert said.out == "" and message in said.err and said.err.count("\n") == 1


def test_prompts_of_all_kinds_are_looked_for_in_the_data_folder(
    tmp_path: Path, tiny_model_dir: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("BENCH_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    where = ["--model", str(tiny_model_dir), "--data-dir", str(tmp_path), "--offline"]
    assert run_command(["check", "sa", *where]) == 3
    assert f"looked in {tmp_path}" in capsys.readouterr().err
