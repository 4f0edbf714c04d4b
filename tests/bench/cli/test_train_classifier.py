"""`bench train` leaves a base and the classifier that judges its pictures."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from erasure_bench.bench.cli.app import run_command
from erasure_bench.models.classifiers import places
from erasure_bench.models.classifiers.recipes import RECIPES
from erasure_bench.models.microworld.settings import Schedule


def train(capsys: pytest.CaptureFixture[str], folder: Path) -> dict[str, str]:
    arguments = ("train", "digits-vae", "--steps", "2", "--device", "cpu", "--json")
    assert run_command([*arguments, "--out", str(folder / "base"), "--store", str(folder / "store")]) == 0
    found: dict[str, str] = json.loads(capsys.readouterr().out)
    return found


def test_the_classifier_that_ships_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert Path(train(capsys, tmp_path)["classifier"]) == places.SHIPPED / "digits"


def test_one_that_is_not_there_is_trained_beside_the_base(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(places, "SHIPPED", tmp_path / "nowhere")
    monkeypatch.setenv("BENCH_MODELS", str(tmp_path / "models"))
    toy = replace(RECIPES["digits"], schedule=Schedule(steps=3, batch=16, lr=1e-3, warmup=1))
    monkeypatch.setitem(RECIPES, "digits", toy)
    classifier = Path(train(capsys, tmp_path)["classifier"])
    assert classifier == tmp_path / "models" / "classifiers" / "digits"
    assert json.loads((classifier / "oracle.json").read_text())["held_out"]["n"] == 355
    assert train(capsys, tmp_path)["classifier"] == str(classifier)
