"""Someone's network that does not answer is that row's failure; a full disk of the store's ends the run."""

import errno
import json
import resource
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from erasure_bench.bench.cli.app import run_command
from erasure_bench.bench.planning.folders import folder_pictures
from erasure_bench.bench.planning.tasks import FeatureTask
from erasure_bench.bench.running import drawing, executor
from erasure_bench.bench.running.kept_features import take_features
from erasure_bench.bench.storage.store import Store
from erasure_bench.evaluators.registry import build_evaluator

FILE = """
import errno
import os
from dataclasses import dataclass
from typing import ClassVar

from erasure_bench.evaluators.base import Metric, Scores, ScoreSheet, by_role


def ask_the_network(number):
    raise OSError(number, os.strerror(number))


@dataclass(frozen=True, kw_only=True)
class Erases:
    number: int

    def erase(self, model, concepts, context):
        ask_the_network(self.number)


@dataclass(frozen=True, kw_only=True)
class Judges:
    number: int = 0
    metrics: ClassVar = (Metric("light", "Light", "share", (0.0, 1.0), by_role("lower", "higher")),)

    def protocol(self):
        return {}

    def prepare(self):
        pass

    def score(self, images):
        if self.number and images.pictures[0].prompt.role == "target":
            ask_the_network(self.number)
        sheet = ScoreSheet()
        for picture in images.pictures:
            sheet.add(picture, light=0.5)
        return Scores(sheet.frame())
"""
NUMBERS = (
    errno.ETIMEDOUT,
    pytest.param(errno.EPERM, marks=pytest.mark.slow),
    pytest.param(errno.ENOSPC, marks=pytest.mark.slow),
)
Captured = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("BENCH_STORE", raising=False)
    monkeypatch.setattr(executor, "PATIENCE_SECONDS", -1.0)
    monkeypatch.setattr(executor, "AWAY_SECONDS", 0.0)
    Path("theirs.py").write_text(FILE)


def run(model: Path, methods: str, *more: str) -> int:
    words = "run --suite microworld-instances --concepts grumpy-cat --limit 1 --json --out out --store store"
    own = ["--model", str(model), "--methods", methods, "--evaluators", "./theirs.py:Judges"]
    return run_command([*words.split(), *own, *more])


@pytest.mark.parametrize("number", NUMBERS)
def test_a_methods_own_trouble_with_a_network_is_its_rows(
    tiny_model_dir: Path, capsys: Captured, number: int
) -> None:
    methods = "./theirs.py:Erases,negative-prompt"
    assert run(tiny_model_dir, methods, "--method-option", f"Erases.number={number}") == 1
    document = json.loads(capsys.readouterr().out)
    assert any("Erases" in line and f"erasing: {errno_type(number)}" in line for line in document["failures"])
    assert {row["status"] for row in document["rows"] if row["method"] == "negative-prompt"} == {"ok"}


@pytest.mark.parametrize("number", NUMBERS)
def test_an_evaluators_own_trouble_with_a_network_is_its_scores(
    tiny_model_dir: Path, capsys: Captured, number: int
) -> None:
    assert run(tiny_model_dir, "negative-prompt", "--evaluator-option", f"number={number}") == 1
    document = json.loads(capsys.readouterr().out)
    assert all("target" in line and "scoring: " in line for line in document["failures"])
    assert {row["status"] for row in document["rows"] if row["role"] == "anchor"} == {"ok"}


def test_a_disk_that_is_full_of_pictures_ends_the_run(
    tiny_model_dir: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are written while someone's guidance draws on."""

    def full(path: Path, pixels: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(drawing, "write_png", full)
    assert run(tiny_model_dir, "negative-prompt") == 1
    captured = capsys.readouterr()
    assert "bench: store store: the disk is full" in captured.err and captured.out == ""


def test_features_that_cannot_be_written_say_why_as_the_system_does() -> None:
    """A really full disk needs root; a limit on the size of files comes up in the same place."""
    Path("pictures").mkdir()
    for number in range(64):
        Image.new("RGB", (64, 64)).save(f"pictures/{number}.png")
    (pictures,) = folder_pictures("pictures", "--flag")
    task = FeatureTask(pictures=pictures, evaluator="fidelity@microworld", protocol={}, code="c0de")
    evaluator = build_evaluator(task.evaluator)
    evaluator.prepare()
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
    try:
        with pytest.raises(OSError) as caught:
            take_features(Store(Path("store")), task, evaluator)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert caught.value.errno == errno.EFBIG


def errno_type(number: int) -> str:
    return type(OSError(number, "")).__name__
