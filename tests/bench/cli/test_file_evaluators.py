"""A user's evaluator: its row, options, ids, what `bench check` finds, and what a run makes of mistakes."""

import json
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from erasure_bench.bench.cli.app import run_command
from erasure_bench.bench.planning.chosen import check_unchanged, check_weights, choose_evaluator
from erasure_bench.bench.running.scoring import loaded
from erasure_bench.errors import BenchError
from erasure_bench.evaluators.contract import CHECKS
from erasure_bench.evaluators.registry import build_evaluator

EVALUATORS = '''
import random
import sys
from dataclasses import dataclass
from typing import ClassVar

import pandas
import torch

from evaluators.base import EvaluatorCard, ImageSet, Metric, Picture, Scores, ScoreSheet, by_role


@dataclass(frozen=True, kw_only=True)
class Good:
    """How bright a picture is."""

    factor: float = 1.0
    device: str = "cpu"
    batch_size: int = 4

    metrics: ClassVar = (Metric("light", "Light", "share", (0.0, 1.0), by_role("lower", "higher")),)

    def protocol(self):
        return {"measure": "light"}

    def prepare(self):
        pass

    def score(self, images):
        sheet = ScoreSheet()
        for picture in images.pictures:
            if picture.pixels.size:
                sheet.add(picture, light=self.value(picture))
            else:
                sheet.missing(picture, ["light"], "no pixels")
        return Scores(sheet.frame())

    def value(self, picture):
        return self.factor * picture.pixels.mean() / 255


CARD = EvaluatorCard(name="bright", title="Bright", paper="", formula="", build=Good)
TWIN = EvaluatorCard(name="Good", title="", paper="", formula="", build=Good)
TAKEN = EvaluatorCard(name="clip", title="", paper="", formula="", build=Good)


class Exits(Good):
    def score(self, images):
        sys.exit(0)


class SetsDtype(Good):
    def score(self, images):
        torch.set_default_dtype(torch.float64)
        return super().score(images)


class DropsRows(Good):
    def score(self, images):
        return Scores(super().score(images).values.iloc[1:])


class OutOfBounds(Good):
    def value(self, picture):
        return 1.5


class NoScores(Good):
    def score(self, images):
        return super().score(images).values


class StrangeDetails(Good):
    def score(self, images):
        details = pandas.DataFrame({"x": [1, "a", object()]})
        return Scores(super().score(images).values, details)


class Crashes(Good):
    def score(self, images):
        raise ValueError("no\\nluck")


class Draws(Good):
    def value(self, picture):
        return random.random()


class Counts(Good):
    def score(self, images):
        values = super().score(images).values
        values["value"] = values["value"] * 0 + len(images) / 100
        return Scores(values)


class Ranks(Good):
    def score(self, images):
        values = super().score(images).values
        values["value"] = [number / 100 for number in range(len(values))]
        return Scores(values)


class Paints(Good):
    def score(self, images):
        scores = super().score(images)
        for picture in images.pictures:
            picture.pixels[:] = 0
        return scores


class Moody(Good):
    def protocol(self):
        return {"at": random.random()}


class Unsayable(Good):
    def protocol(self):
        return {"at": float("nan")}


class Fragile(Good):
    def score(self, images):
        sheet = ScoreSheet()
        for picture in images.pictures:
            sheet.add(picture, light=0.5)
        return Scores(sheet.frame())


class ExitsEarly(Good):
    def protocol(self):
        sys.exit(0)


class ExitsPreparing(Good):
    def prepare(self):
        sys.exit(0)


class Unbounded(Good):
    metrics: ClassVar = (Metric("light", "Light", "share", (1.0, 0.0), by_role("lower")),)


class NoPrepare:
    def score(self, images): ...

    def protocol(self): ...


def plain(): ...
'''
Captured = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("BENCH_STORE", raising=False)
    path = tmp_path / "mine.py"
    path.write_text(EVALUATORS)
    return path


def run(model: Path, evaluators: list[str], *more: str) -> int:
    names = ",".join(f"./mine.py:{name}" for name in evaluators)
    words = (
        "run --suite microworld-instances --methods negative-prompt --concepts grumpy-cat --limit 1 --json"
    )
    return run_command(
        [
            *words.split(),
            "--model",
            str(model),
            "--evaluators",
            names,
            "--out",
            "out",
            "--store",
            "store",
            *more,
        ]
    )


def test_every_evaluator_of_a_run_stands_for_itself(tiny_model_dir: Path, capsys: Captured) -> None:
    """What one does wrong is its own failure; the scores of the others are right, and the exit code is 1."""
    bad = ["Exits", "SetsDtype", "DropsRows", "OutOfBounds", "NoScores", "StrangeDetails", "Crashes"]
    assert run(tiny_model_dir, ["Exits", "SetsDtype", "Good", *bad[2:], "CARD"]) == 1
    document = json.loads(capsys.readouterr().out)

    failures = " ".join(document["failures"])
    for said in (
        "Exits's score tried to end the program (SystemExit: 0)",
        "SetsDtype's score left changed: torch's default dtype",
        "DropsRows: scoring: light: no row for picture 0 of ",
        "OutOfBounds: scoring: light: picture 0 of ",
        "1.5 is outside of [0, 1]",
        "NoScores: scoring: score gave a DataFrame instead of Scores",
        "StrangeDetails: scoring: StrangeDetails: Arrow",
        "ValueError: no luck",
    ):
        assert said in failures, failures
    scores = pd.read_parquet("out/scores.parquet")
    assert {*scores["evaluator"]} == {"Good", "bright"}
    assert (scores["status"] == "ok").all()
    good, bright = (scores[scores["evaluator"] == name]["value"].tolist() for name in ("Good", "bright"))
    assert good == bright and len(good) == 10 and len({*good}) > 4


def test_settings_and_code_are_part_of_the_id_and_the_batch_size_is_not(
    tiny_model_dir: Path, file: Path, capsys: Captured
) -> None:
    def to_do(*more: str) -> int:
        assert run(tiny_model_dir, ["Good"], "--dry-run", *more) == 0
        return int(json.loads(capsys.readouterr().out)["tasks_to_do"]["score"])

    assert run(tiny_model_dir, ["Good"], "--evaluator-option", "Good.factor=0.5") == 0
    row = json.loads(capsys.readouterr().out)["evaluators"]["Good"]
    assert row["protocol"] == {"measure": "light", "factor": 0.5}
    assert to_do("--evaluator-option", "factor=0.5") == 0
    assert to_do("--evaluator-option", "Good.factor=0.5", "--evaluator-option", "Good.batch_size=2") == 0
    assert to_do() == 10
    file.write_text("# a comment\n" + EVALUATORS)
    assert to_do("--evaluator-option", "factor=0.5") == 0
    file.write_text(EVALUATORS.replace("/ 255", "/ 256"))
    assert to_do("--evaluator-option", "factor=0.5") == 10


def check(capsys: Captured, name: str) -> tuple[int, dict[str, str]]:
    """The exit code of `bench check` and what it said of each promise that is not kept."""
    code = run_command(["check", f"./mine.py:{name}", "--json"])
    document: Any = json.loads(capsys.readouterr().out)
    assert [each["name"] for each in document["checks"]] == [*CHECKS]
    assert document["passed"] == (code == 0)
    return code, {each["name"]: each["why"] for each in document["checks"] if each["verdict"] == "failed"}


@pytest.mark.parametrize("name", ["Good", "CARD"])
def test_a_good_evaluator_passes(name: str, capsys: Captured) -> None:
    assert check(capsys, name) == (0, {})


RUNS, PROCESS, PICTURES, SAME, ORDER, ALONE, BROKEN, NO_BASE, NONE, PROTOCOL, DETAILS, MISTAKES = CHECKS


@pytest.mark.parametrize(
    ("name", "failed", "why"),
    [
        ("Exits", {RUNS}, "it tried to end the program (line "),
        ("Crashes", {RUNS}, "ValueError: no luck"),
        ("DropsRows", {RUNS}, "light: no row for picture 0"),
        ("OutOfBounds", {RUNS}, "1.5 is outside"),
        ("SetsDtype", {PROCESS}, "left changed: torch's default dtype"),
        ("Draws", {PROCESS, ORDER, ALONE, BROKEN}, "drew from or seeded Python's global generator"),
        ("Counts", {ALONE}, "alone"),
        ("Ranks", {ORDER, ALONE, BROKEN}, "in another order"),
        ("Paints", {PICTURES}, "it changes the pixels"),
        ("Moody", {PROTOCOL}, "not the same every time"),
        ("Unsayable", {PROTOCOL}, "no JSON"),
        ("Fragile", {BROKEN}, "gets a score instead of a missing value"),
        ("StrangeDetails", {DETAILS}, ""),
        ("ExitsEarly", {PROTOCOL}, "it tried to end the program"),
        ("ExitsPreparing", {RUNS, PROTOCOL}, "it tried to end the program"),
        ("Unbounded", {RUNS}, "bounds (1.0, 0.0) are no range"),
    ],
)
def test_a_broken_promise_is_found_and_named(name: str, failed: set[str], why: str, capsys: Captured) -> None:
    code, said = check(capsys, name)
    assert code == 1
    if RUNS in failed:
        assert said.keys() == {RUNS}  # the others are not tried
    else:
        assert said.keys() == failed
    assert any(why in text for text in said.values())


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["check", "./mine.py:NoPrepare"], "it has no prepare; an evaluator is a frozen dataclass"),
        (["check", "./mine.py:plain"], "neither a method nor an evaluator: valid: Good"),
        (["check", "./mine.py:Goood"], "did you mean Good"),
        (["check", "./mine.py"], "which of it? write ./mine.py:NAME"),
        (
            ["check", "./mine.py:Good", "--method-option", "steps=1"],
            "./mine.py:Good is an evaluator",
        ),
        (["check", "./mine.py:Good", "--evaluator-option", "factr=1"], "did you mean factor"),
        (["show", "./mine.py:TAKEN", "--json"], ""),
    ],
)
def test_mistakes_are_one_line(words: list[str], message: str, capsys: Captured) -> None:
    code = run_command(words)
    said = capsys.readouterr()
    assert (code == 3 and message in said.err and said.err.count("\n") == 1) if message else code == 0


@pytest.mark.parametrize(
    ("evaluators", "message"),
    [
        (["TAKEN"], "the name 'clip' is taken by a registered evaluator"),
        (["Good", "TWIN"], "there is an evaluator 'Good' already"),
        (["Goood"], "did you mean Good"),
        (["Unbounded"], "evaluator 'Unbounded': metric 'light': bounds (1.0, 0.0) are no range"),
        (["Unsayable"], ""),
    ],
)
def test_what_cannot_be_planned_is_one_line(
    tiny_model_dir: Path, evaluators: list[str], message: str, capsys: Captured
) -> None:
    code = run(tiny_model_dir, evaluators, "--dry-run")
    said = capsys.readouterr()
    assert (code == 3 and message in said.err) if message else code in (0, 3)


@pytest.mark.parametrize("name", ["ExitsEarly", "ExitsPreparing"])
def test_leaving_before_anything_is_drawn_is_no_success(
    tiny_model_dir: Path, name: str, capsys: Captured
) -> None:
    assert run(tiny_model_dir, [name]) == 1
    said = capsys.readouterr()
    assert said.out == "" and "tried to end the program (SystemExit: 0)" in said.err


def test_a_card_is_shown(capsys: Captured) -> None:
    assert run_command(["show", "./mine.py:CARD", "--json"]) == 0
    card = json.loads(capsys.readouterr().out)
    assert (card["kind"], card["name"], card["title"]) == ("evaluators", "bright", "Bright")
    assert card["settings"]["factor"]["default"] == "1.0"
    assert "Light [share]" in card["facts"]["metric light"]


def test_a_chosen_evaluator_is_found_from_any_folder(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen = choose_evaluator("./mine.py:CARD", None, {}, {})
    monkeypatch.chdir(tmp_path.parent)
    assert chosen.file == f"{file}:CARD"
    assert choose_evaluator(chosen.registered, None, {}, {}).code == chosen.code


def test_an_id_covers_the_cards_file_and_what_lies_beside_it(file: Path) -> None:
    file.with_name("measure.py").write_text(EVALUATORS)
    file.with_name("card.py").write_text(
        "from evaluators.base import EvaluatorCard\nfrom measure import Good\n"
        'CARD = EvaluatorCard(name="light", title="", paper="", formula="", build=Good)\n'
    )
    chosen = choose_evaluator("./card.py:CARD", None, {}, {})
    check_unchanged(chosen)
    file.with_name("measure.py").write_text(EVALUATORS.replace("/ 255", "/ 256"))
    assert choose_evaluator("./card.py:CARD", None, {}, {}).code != chosen.code
    with pytest.raises(BenchError, match=r"card\.py:CARD: the code changed while the run was going on"):
        check_unchanged(chosen)


def test_the_files_classes_are_our_own(file: Path) -> None:
    """`from evaluators.base import …` is no second copy."""
    with pytest.raises(BenchError, match="no evaluator"):
        choose_evaluator("./mine.py:NoPrepare", None, {}, {})
    assert "evaluators" not in sys.modules


def test_weights_that_are_no_longer_those_of_the_plan_are_refused(tmp_path: Path) -> None:
    """Their scores would be kept under the planned weights' name."""
    labels = tmp_path / "labels.txt"
    labels.write_text("cat\ndog\n")
    network = tmp_path / "network.pt"
    network.write_bytes(b"one")
    options = {"model": str(network), "labels": str(labels)}
    chosen = choose_evaluator("classifier", None, options, {})
    check_weights(chosen, build_evaluator("classifier", None, options))

    network.write_bytes(b"other")

    with pytest.raises(BenchError, match="'classifier': weights_sha256 is not what the run was planned with"):
        loaded(chosen, "cpu")
