"""`bench score`: a finished run with further evaluators is what it would be had they been there at first."""

import json
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from erasure_bench.bench.cli.app import run_command
from erasure_bench.bench.reporting.record import read_record, write_record
from erasure_bench.bench.running.worker import Worker

Captured = pytest.CaptureFixture[str]
RUN = (
    "run --suite microworld-instances --methods negative-prompt --concepts grumpy-cat --limit 1 --json "
    "--store store --out"
)
FIRST, MORE = "diversity", "distance,coherence"


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory, tiny_model_dir: Path) -> Path:
    """A folder with the store and the results of a run, to be copied."""
    folder = tmp_path_factory.mktemp("score")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.delenv("BENCH_STORE", raising=False)
        assert rerun(tiny_model_dir) == 0
    return folder


def rerun(model: Path) -> int:
    return run_command([*RUN.split(), "out", "--evaluators", FIRST, "--model", str(model)])


@pytest.fixture
def here(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The run's copy, which the working folder is."""
    monkeypatch.delenv("BENCH_STORE", raising=False)
    shutil.copytree(made, tmp_path / "copy")
    monkeypatch.chdir(tmp_path / "copy")
    return tmp_path / "copy"


@pytest.fixture
def never_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise AssertionError("nothing is to be drawn")

    monkeypatch.setattr(Worker, "erase", refuse)
    monkeypatch.setattr(Worker, "generate", refuse)


@pytest.fixture
def score(here: Path, capsys: Captured) -> Callable[..., tuple[int, str, str]]:
    """`bench score out --store store …`: its exit code, and what it said on stdout and stderr."""

    def run(*more: str) -> tuple[int, str, str]:
        capsys.readouterr()
        code = run_command(["score", "out", "--store", "store", *more])
        said = capsys.readouterr()
        return code, said.out, said.err

    return run


Score = Callable[..., tuple[int, str, str]]


def scores_in(store: Path) -> set[str]:
    return {path.parent.name for path in store.glob("score/*/*/manifest.json")}


def test_the_table_is_that_of_a_run_with_all_evaluators(
    here: Path, score: Score, never_drawn: None, tiny_model_dir: Path, capsys: Captured
) -> None:
    shutil.copytree("store", "other")
    code, out, _ = score("--evaluators", MORE, "--json")
    assert code == 0
    with pytest.MonkeyPatch.context() as patch:
        patch.undo()
        words = [*RUN.replace("--store store", "--store other").split(), "whole"]
        evaluators = ["--evaluators", f"{FIRST},{MORE}", "--model", str(tiny_model_dir)]
        assert run_command([*words, *evaluators]) == 0
    whole = json.loads(capsys.readouterr().out)

    assert json.loads(out) == whole == json.loads(Path("out/leaderboard.json").read_text())
    pd.testing.assert_frame_equal(*(pd.read_parquet(f"{name}/scores.parquet") for name in ("out", "whole")))
    assert scores_in(Path("store")) == scores_in(Path("other"))
    records = [json.loads(Path(name, "run.json").read_text()) for name in ("out", "whole")]
    ids = [[cell["id"] for cell in record["cells"]] for record in records]
    assert ids[0] == ids[1] and records[0]["config"]["evaluators"] == [FIRST, *MORE.split(",")]
    assert records[0]["execution"]["tasks_done"].keys() == {"erase", "generate", "score"}
    assert run_command(["table", "out"]) == 0
    assert "SSIM" in capsys.readouterr().out


def test_the_same_command_again_does_nothing_and_a_third_evaluator_joins(
    here: Path, score: Score, never_drawn: None
) -> None:
    assert score("--evaluators", "distance")[0] == 0
    first = Path("out/leaderboard.json").read_text()
    code, _, said = score("--evaluators", "distance")
    assert code == 0 and ", 0 tasks of scoring to do" in said
    assert Path("out/leaderboard.json").read_text() == first
    assert score("--evaluators", "coherence")[0] == 0
    assert [*json.loads(Path("out/leaderboard.json").read_text())["evaluators"]] == [
        "diversity",
        "distance",
        "coherence",
    ]


def test_pruned_pictures_are_named_and_drawn_again_only_if_asked(
    here: Path, score: Score, tiny_model_dir: Path
) -> None:
    before = Path("out/leaderboard.json").read_bytes()
    pictures = sorted(Path("store").glob("generate/*/*"))
    for gone in pictures[:2]:
        shutil.rmtree(gone)
    code, out, said = score("--evaluators", "distance")

    assert code == 3 and out == ""
    (line,) = [line for line in said.splitlines() if line.startswith("bench: ")]
    assert "are no longer in the store store" in line and "nothing was scored" in line
    assert line.endswith("draw them again with: bench score out --evaluators distance --redraw")
    assert Path("out/leaderboard.json").read_bytes() == before
    assert sorted(Path("store").glob("generate/*/*")) == pictures[2:]

    assert score("--evaluators", "distance", "--redraw")[0] == 0
    assert sorted(Path("store").glob("generate/*/*")) == pictures


def test_an_edit_that_was_pruned_is_not_missed(here: Path, score: Score, never_drawn: None) -> None:
    seconds = [row["erase_seconds"] for row in json.loads(Path("out/leaderboard.json").read_text())["rows"]]
    shutil.rmtree("store/erase")
    code, out, _ = score("--evaluators", "distance", "--json")
    assert code == 0
    assert {row["erase_seconds"] for row in json.loads(out)["rows"]} == {*seconds}


def test_a_preset_makes_an_instance_of_that_name(here: Path, score: Score, never_drawn: None) -> None:
    code, out, _ = score("--evaluators", "distance", "--preset", "official")
    assert code == 0 and "1 − SSIM" in out and "repeats another" not in out, "what was added is shown"
    assert "distance@official" in json.loads(Path("out/leaderboard.json").read_text())["evaluators"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--evaluators", "distanse"], "did you mean distance"),
        (["--evaluators", "distance", "--preset", "fast"], "unknown preset 'fast'"),
        (
            ["--evaluators", "distance", "--evaluator-option", "clip.x=1"],
            "unknown name before the dot 'clip'",
        ),
        (
            ["--evaluators", "diversity", "--evaluator-option", "diversity.side=4"],
            "the run has scores by diversity with its defaults: name another instance of it, diversity@LABEL",
        ),
        (
            ["--evaluators", "distance", "--store", "nowhere"],
            "its pictures were in nowhere, which is not there",
        ),
        ([], "--evaluators"),
    ],
)
def test_mistakes_are_one_line(here: Path, score: Score, words: list[str], message: str) -> None:
    code, out, said = score(*words)
    assert code == 3 and out == "" and message in said and said.count("\n") == 1


def test_pictures_of_other_settings_are_refused(here: Path, score: Score) -> None:
    cells = read_record(Path("out"))["cells"]
    role = next(iter(cells[-1]["images"]))
    cells[-1]["images"][role] = ["generate/00/" + "0" * 32]
    changed(cells=cells)
    code, _, said = score("--evaluators", "distance")
    assert code == 3 and "were drawn by other code, settings, weights or prompts" in said


def changed(**parts: Any) -> None:
    """The run's run.json says something else, and is bound anew."""
    record = read_record(Path("out"))
    write_record(Path("out"), {**record, **parts})


def test_an_evaluator_that_has_changed_since_is_said(here: Path, score: Score, never_drawn: None) -> None:
    changed(evaluator_code={"diversity": "earlier"})
    code, _, said = score("--evaluators", "distance")
    assert code == 0 and "diversity: other code, weights or settings than in the run: scored anew" in said


def test_code_that_a_run_names_is_not_run_unasked(here: Path, score: Score) -> None:
    Path("theirs.py").write_text("raise SystemExit('it was run')")
    changed(config={**read_record(Path("out"))["config"], "evaluators": ["./theirs.py:Good"]})
    for words in (["--evaluators", "distance"], ["--scores", "x.csv"], ["--template", "y.csv"]):
        Path("x.csv").write_text("# metric: a:lower:0:1\npicture,value\nx,1\n")
        code, _, said = score(*words)
        assert code == 3 and "names code of its own, ./theirs.py:Good" in said and "--trust-code" in said


def test_a_run_that_was_stopped_goes_on_by_its_own_command(here: Path, capsys: Captured) -> None:
    Path("runs/half").mkdir(parents=True)
    assert run_command(["score", "half", "--evaluators", "distance"]) == 3
    assert "runs/half: the run has no run.json, as it was stopped before its end" in capsys.readouterr().err


def test_a_merged_run_has_no_pictures(here: Path, capsys: Captured) -> None:
    assert run_command(["merge", "out", "--out", "merged", "--store", "store"]) == 0
    capsys.readouterr()
    assert run_command(["score", "merged", "--evaluators", "distance"]) == 3
    assert "was merged and has no pictures of its own: score out, then merge again" in capsys.readouterr().err


def filled(form: Path, value: int) -> None:
    """Every row of the form gets the value."""
    lines = form.read_text().splitlines()
    head = [line for line in lines if line.startswith("#")]
    titles, *rows = lines[len(head) :]
    form.write_text("\n".join([*head, titles, *(f"{row}{value}" for row in rows)]) + "\n")


def test_people_rate_the_form_and_their_ratings_stay_with_the_run(
    here: Path, score: Score, never_drawn: None, tiny_model_dir: Path, capsys: Captured
) -> None:
    code, out, _ = score("--template", "form.csv", "--metric", "quality:higher:1:5", "--name", "people")
    assert (code, out) == (0, "form.csv\n")
    assert sorted(path.suffix for path in Path("form-pictures").iterdir()) == [".png"] * len(
        [line for line in Path("form.csv").read_text().splitlines() if "form-pictures/" in line]
    )
    before = pd.read_parquet("out/scores.parquet")
    sheet = Path("out/images.png").read_bytes()
    filled(Path("form.csv"), 4)
    shutil.move("store", "elsewhere")  # ratings need no pictures

    def rated(value: float) -> dict[str, Any]:
        document: dict[str, Any] = json.loads(Path("out/leaderboard.json").read_text())
        rows = [row for row in document["rows"] if row["evaluator"] == "people"]
        assert rows and {row["value"] for row in rows} == {value}
        return document

    code = run_command(["score", "out", "--scores", "form.csv"])
    assert code == 0 and "one each: whether raters agree is not known" in capsys.readouterr().err
    rated(4.0)
    scores = pd.read_parquet("out/scores.parquet")
    pd.testing.assert_frame_equal(scores[scores["evaluator"] != "people"], before)
    assert Path("out/images.png").read_bytes() == sheet
    assert Path("out/ratings-people.csv").read_bytes() == Path("form.csv").read_bytes()
    assert run_command(["table", "out"]) == 0 and "quality" in capsys.readouterr().out

    filled(Path("form.csv"), 0)  # now every row says 40
    assert run_command(["score", "out", "--scores", "form.csv"]) == 3
    assert "column value: 40 is outside of [1, 5]" in capsys.readouterr().err
    Path("form.csv").write_text(Path("form.csv").read_text().replace(",40\n", ",2\n"))
    assert run_command(["score", "out", "--scores", "form.csv"]) == 0
    rated(2.0)

    shutil.move("elsewhere", "store")
    Path("form.csv").unlink()
    assert score("--evaluators", "distance")[0] == 0
    assert [*rated(2.0)["evaluators"]] == ["diversity", "distance", "people"]

    assert run_command(["merge", "out", "--out", "merged", "--store", "store"]) == 0
    assert "left out: the ratings people of out" in capsys.readouterr().err
    assert "people" not in json.loads(Path("merged/leaderboard.json").read_text())["evaluators"]
    shutil.copy("out/ratings-people.csv", "form.csv")
    assert run_command(["score", "merged", "--scores", "form.csv", "--store", "store"]) == 0
    assert "people" in json.loads(Path("merged/leaderboard.json").read_text())["evaluators"]
    assert json.loads(Path("merged/run.json").read_text())["merged"] == ["out"]

    assert rerun(tiny_model_dir) == 0
    said = capsys.readouterr().err
    commands = [line.partition("again: ")[2] for line in said.splitlines() if "had more than" in line]
    assert "people" not in json.loads(Path("out/leaderboard.json").read_text())["evaluators"]
    assert len(commands) == 2
    for command in commands:
        assert (
            run_command([*shlex.split(command)[1:], *(["--store", "store"] * ("--evaluators" in command))])
            == 0
        )
    assert [*rated(2.0)["evaluators"]] == ["diversity", "distance", "people"]

    Path("out/ratings-people.csv").write_text("# changed")
    capsys.readouterr()
    assert score("--evaluators", "coherence")[0] == 3
    filled_again = ["--scores", "form.csv", "--name", "people"]
    assert score(*filled_again)[0] == 0


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["--scores", "x.csv", "--evaluators", "clip"],
            "give one of --evaluators, --scores, --template, not ",
        ),
        (["--scores", "x.csv", "--redraw"], "are for --evaluators"),
        (["--evaluators", "clip", "--metric", "a:lower:0:1"], "are for people's ratings"),
        (["--scores", "x.csv"], "--scores x.csv: No such file or directory"),
        (["--template", "x.csv"], "what is to be rated? --metric NAME:DIRECTION:MIN:MAX"),
        (["--template", "x.csv", "--metric", "a:lower"], "--metric 'a:lower': write it as NAME:DIRECTION"),
    ],
)
def test_mistakes_with_ratings_are_one_line(here: Path, score: Score, words: list[str], message: str) -> None:
    code, out, said = score(*words)
    assert code == 3 and out == "" and message in said and said.count("\n") == 1
