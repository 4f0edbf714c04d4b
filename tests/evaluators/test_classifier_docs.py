"""docs/classifiers.md: the commands that need no network are run, the names in it are those of the code."""

import json
import re
import sys
from pathlib import Path
from types import ModuleType

import pytest

from erasure_bench.bench.cli.app import run_command
from erasure_bench.evaluators import efficientnet_lite0, imagenet
from erasure_bench.evaluators.classifier_source import Part
from erasure_bench.evaluators.registry import build_evaluator, evaluator_card

DOCUMENT = (Path(__file__).parents[2] / "docs" / "classifiers.md").read_text(encoding="utf-8")
SHORT = ("--limit", "1", "--dry-run", "--json")


def _commands(program: str, word: str) -> list[list[str]]:
    lines = [line.strip().split() for line in DOCUMENT.splitlines() if line.startswith(f"    {program} ")]
    return [line[1:] for line in lines if any(word in part for part in line)]


def test_the_recipe_of_efficientnet_lite0_works(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (install,) = _commands("pip", "efficientnet")
    for package in install[1:]:
        pytest.importorskip(package.replace("-", "_"), reason=f"pip install {package}")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("BENCH_STORE", raising=False)
    ((_, module, file),) = _commands("python", "efficientnet")
    assert module == efficientnet_lite0.__name__
    monkeypatch.setattr(sys, "argv", [module, file])
    assert efficientnet_lite0.main() == 0
    check, run = _commands("bench", "efficientnet")
    capsys.readouterr()
    assert run_command([*check, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["passed"]
    assert run_command([*run, *SHORT]) == 0
    assert json.loads(capsys.readouterr().out)["cells"]


def test_the_judges_commands_work(
    tiny_judge: Path, tiny_model_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, run = _commands("bench", "judge.model=FOLDER")
    run = [part.replace("FOLDER", str(tiny_judge)) for part in run]
    assert run_command([*run, *SHORT, "--model", str(tiny_model_dir)]) == 0
    assert json.loads(capsys.readouterr().out)["cells"]


def test_what_it_says_of_presets_and_classes_is_so() -> None:
    presets = set(evaluator_card("classifier").presets) - {"official", "microworld"}
    assert presets <= set(re.findall(r"classifier@([\w-]+)", DOCUMENT))
    one_line = " ".join(DOCUMENT.split())
    assert all(f"{name} {place}" in one_line for name, place in imagenet.IMAGENETTE.items())
    metrics = {
        metric.name
        for name in ("classifier@unlearncanvas", "classifier@artists", "judge")
        for metric in build_evaluator(name).metrics
    }
    named = re.findall(r"`((?:judge|class|unlearning|in_domain|cross_domain)_\w+)`", DOCUMENT)
    assert set(named) <= metrics


def test_the_file_of_unlearncanvas_is_read(tiny_judges: ModuleType) -> None:
    (text,) = re.findall(r"```json\n(.*?)```", DOCUMENT, re.DOTALL)
    parts = {head: Part.model_validate(part) for head, part in json.loads(text).items()}
    assert set(parts) == {"style", "object"}
