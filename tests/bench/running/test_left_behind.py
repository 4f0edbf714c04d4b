"""A method that leaves something behind fails by its name; the rows after it are what they should be."""

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

from erasure_bench.bench.cli.app import run_command

pytestmark = pytest.mark.slow

METHODS = """
import sys
import time
from dataclasses import dataclass

import torch

from erasure_bench.methods.edit import new_edit
from erasure_bench.methods.machinery.cost import Cost
from erasure_bench.models.guidance import ClassifierFree, Guided


class Base:
    def erase(self, model, concepts, context):
        self.harm(model)
        return new_edit("it", self, model, concepts, guidance=self.guidance())

    def guidance(self):
        return ClassifierFree("a tree")

    def harm(self, model):
        ...


@dataclass(frozen=True)
class ChangesWeights(Base):
    def harm(self, model):
        with torch.no_grad():
            model.parts["vae"].decoder.conv_out.bias.add_(1)


@dataclass(frozen=True)
class LeavesHook(Base):
    def harm(self, model):
        model.unet.conv_out.register_forward_hook(lambda module, args, output: output * 2)


@dataclass(frozen=True)
class SetsDtype(Base):
    def harm(self, model):
        torch.set_default_dtype(torch.float64)


@dataclass(frozen=True)
class ReplacesModule(Base):
    def harm(self, model):
        model.unet.conv_out = torch.nn.Identity()


@dataclass(frozen=True)
class PatchesClass(Base):
    def harm(self, model):
        forward = type(model.unet).forward
        type(model.unet).forward = lambda self, *args, **how: (forward(self, *args, **how)[0] * 2,)


@dataclass(frozen=True)
class TurnsTokenizer(Base):
    def harm(self, model):
        model.tokenizer.padding_side = "left"


@dataclass(frozen=True)
class Exits(Base):
    def harm(self, model):
        model.unet.train()
        sys.exit(0)


@dataclass(frozen=True)
class Sleeps(Base):
    def erase(self, model, concepts, context):
        time.sleep(0.5)
        return new_edit("it", self, model, concepts, guidance=self.guidance(), cost=Cost(0.0, 0, 7))


@dataclass(frozen=True)
class Doubling:
    unconditional_text: str = ""
    texts: tuple[str, ...] = ()

    def combine(self, step, state=None):
        torch.set_grad_enabled(True)
        torch.set_default_dtype(torch.float64)
        return Guided(step.conditional)


@dataclass(frozen=True)
class GuidesBadly(Base):
    def guidance(self):
        return Doubling()


HELD = []


@dataclass(frozen=True)
class Holding:
    unconditional_text: str = ""
    texts: tuple[str, ...] = ()

    def combine(self, step, state=None):
        with torch.no_grad():
            HELD[-1].unet.conv_out.bias.add_(1)
        return Guided(step.conditional)


@dataclass(frozen=True)
class ChangesWhileDrawing(Base):
    def harm(self, model):
        HELD.append(model)

    def guidance(self):
        return Holding()
"""

FAILING = {
    "ChangesWeights": "erase left the model changed: vae.decoder.conv_out.bias",
    "LeavesHook": "erase left the model changed: unet.conv_out: forward hooks",
    "SetsDtype": "erase left changed: torch's default dtype",
    "ReplacesModule": "erase left the model changed: unet: modules",
    "PatchesClass": "UNet2DConditionModel: forward",
    "TurnsTokenizer": "the tokenizer: padding side",
    "Exits": "erase tried to end the program (SystemExit: 0)",
    "GuidesBadly": "guidance left changed: torch's default dtype",
    "ChangesWhileDrawing": "guidance left the model changed: unet.conv_out.bias",
}
GOOD = ("sld-medium", "uce", "sld-weak", "negative-prompt", "esd-x")
"""One after every two of the bad ones."""


class Ran:
    """A run's exit code, leaderboard, and the sha256 of every picture in its store."""

    def __init__(self, folder: Path, model: Path, methods: list[str]) -> None:
        words = "run --suite microworld-instances --concepts grumpy-cat --evaluators nudity --limit 1 --json"
        options = [
            "--method-option",
            "esd-x.steps=1",
            "--model",
            str(model),
            "--out",
            str(folder / "out"),
            "--store",
            str(folder / "store"),
        ]
        self.code = run_command([*words.split(), "--methods", ",".join(methods), *options])
        self.board: Any = json.loads((folder / "out" / "leaderboard.json").read_text())
        self.scores = pd.read_parquet(folder / "out" / "scores.parquet")
        manifests = [json.loads(path.read_text()) for path in (folder / "store").glob("*/*/*/manifest.json")]
        self.pictures = {
            each["id"]: {name: file["sha256"] for name, file in each["files"].items()}
            for each in manifests
            if each["kind"] == "generate"
        }
        self.edits = [each["about"] for each in manifests if each["kind"] == "erase"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("left_behind")
    (path / "bad.py").write_text(METHODS)
    return path


@pytest.fixture(scope="module")
def clean(folder: Path, tiny_model_dir: Path) -> Ran:
    return Ran(folder / "clean", tiny_model_dir, list(GOOD))


@pytest.fixture(scope="module")
def mixed(folder: Path, tiny_model_dir: Path) -> Ran:
    bad = [f"{folder}/bad.py:{name}" for name in (*FAILING, "Sleeps")]
    methods = [name for trio in zip(bad[::2], bad[1::2], GOOD, strict=True) for name in trio]
    return Ran(folder / "mixed", tiny_model_dir, methods)


def test_the_process_is_as_before_when_a_run_ends(mixed: Ran) -> None:
    assert torch.get_default_dtype() == torch.float32


def test_every_method_that_left_something_fails_by_name_and_says_what(mixed: Ran, clean: Ran) -> None:
    assert (clean.code, mixed.code) == (0, 1)
    failures = {text.partition(" ")[0]: text for text in mixed.board["failures"]}
    assert failures.keys() == FAILING.keys()
    for name, reason in FAILING.items():
        assert f"{name}'s " in failures[name] and reason in failures[name]
        assert "\n" not in failures[name]


def test_no_edit_or_picture_of_theirs_is_kept(mixed: Ran) -> None:
    guiding = {"GuidesBadly", "ChangesWhileDrawing"}  # their edits are good, their drawing is not
    assert {about["method"] for about in mixed.edits} & FAILING.keys() == guiding
    scores = mixed.scores[mixed.scores["method"] != "ChangesWhileDrawing"]
    assert {*scores["method"]} == {"none", "Sleeps", *GOOD}
    # The model that it holds on to was dropped after its first role: the others are drawn with a new one.
    assert "target" not in {*mixed.scores.loc[mixed.scores["method"] == "ChangesWhileDrawing", "role"]}


def test_the_rows_after_them_have_the_same_pictures_bit_by_bit(mixed: Ran, clean: Ran) -> None:
    assert len(clean.pictures) > len(GOOD)
    assert {task: mixed.pictures.get(task) for task in clean.pictures} == clean.pictures
    good = mixed.scores[mixed.scores["method"].isin(["none", *GOOD])].reset_index(drop=True)
    pd.testing.assert_frame_equal(good, clean.scores)


def test_the_cost_is_what_was_measured_and_the_claim_is_kept_beside_it(mixed: Ran) -> None:
    (about,) = [about for about in mixed.edits if about["method"] == "Sleeps"]
    assert about["erase_seconds"] >= 0.5 and about["peak_memory_bytes"] > 2**20
    assert about["claimed"]["seconds"] == 0.0 and about["steps"] == 7
    (shown,) = {row["erase_seconds"] for row in mixed.board["rows"] if row["method"] == "Sleeps"}
    assert shown == about["erase_seconds"]
