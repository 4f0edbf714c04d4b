"""A public folder takes whole runs that say who made them, and nothing that must not be shown."""

import json
import shutil
from pathlib import Path

import pandas as pd
import pytest
import yaml

from erasure_bench.bench.cli.app import run_command
from erasure_bench.bench.comparing.finished import read_finished
from erasure_bench.bench.planning.run_yaml import read_run_yaml
from erasure_bench.bench.reporting.metric_record import metric_record
from erasure_bench.bench.sharing.archives import CHECKSUMS
from erasure_bench.bench.sharing.archives import checksums as sums_of
from erasure_bench.bench.sharing.entry import read_entry
from erasure_bench.bench.sharing.guard import picture_problems, problems_of, prompts_are_closed
from erasure_bench.errors import BenchError
from erasure_bench.evaluators.base import Metric, by_role
from tests.bench.sharing.conftest import SUITE, make_run

Captured = pytest.CaptureFixture[str]
SAID = {
    "format": "erasure-bench entry 1",
    "name": "dimming",
    "title": "Dimming the lights",
    "authors": ["Ada Lovelace"],
    "summary": "Makes every picture darker, which erases nothing in particular.",
    "licence": "CC-BY-4.0",
    "paper": "https://arxiv.org/abs/2601.00001",
}


@pytest.fixture
def entry(tmp_path: Path) -> Path:
    path = tmp_path / "entry.yaml"
    path.write_text(yaml.safe_dump(SAID))
    return path


def submitted(run: Path, entry: Path, to: Path) -> Path:
    assert run_command(["submit", str(run), "--entry", str(entry), "--to", str(to)]) == 0
    return to / SUITE / "fake" / "dimming"


def test_an_entry_is_written_whole_with_the_text_of_a_pull_request(
    finished: Path, entry: Path, tmp_path: Path, capsys: Captured
) -> None:
    place = submitted(finished, entry, tmp_path / "public")
    said = capsys.readouterr()
    names = {path.name for path in place.iterdir()}
    assert {"run.json", "leaderboard.json", "scores.parquet", "entry.yaml", CHECKSUMS} <= names
    assert "images.png" not in names and "left out: images.png" in said.err
    assert said.out.startswith("# Dimming the lights\n")
    for words in (
        "Ada Lovelace",
        "https://arxiv.org/abs/2601.00001",
        "CC-BY-4.0",
        f"Suite {SUITE} 1 on fake",
    ):
        assert words in said.out
    assert "Code that is no released version: none, dim, fake" in said.out
    assert "| dim" in said.out, "the tables are in it"
    (settings,) = [part for part in said.out.split("```") if part.startswith("yaml\n")]
    (tmp_path / "again.yaml").write_text(settings.removeprefix("yaml\n"))
    assert read_run_yaml(tmp_path / "again.yaml").values["methods"] == ("dim",)
    assert [path.name for path in (tmp_path / "public").iterdir()] == [SUITE], "no draft is left"
    assert read_finished(place).document == read_finished(finished).document | _notes(place)

    assert run_command(["submit", "--check", str(tmp_path / "public")]) == 0
    assert capsys.readouterr().out == f"{SUITE}/fake/dimming: good\n"
    assert (
        run_command(["submit", str(finished), "--entry", str(entry), "--to", str(tmp_path / "public")]) == 3
    )
    assert "is there already" in capsys.readouterr().err


def _notes(place: Path) -> dict[str, object]:
    """The notes name the machine's paths, and are other words in the entry."""
    document = json.loads((place / "leaderboard.json").read_text())
    return {key: document[key] for key in ("notes", "cautions", "provenance")}


def test_a_template_is_an_entry_to_fill_in(finished: Path, tmp_path: Path, capsys: Captured) -> None:
    path = tmp_path / "new.yaml"
    assert run_command(["submit", str(finished), "--template", str(path)]) == 0
    capsys.readouterr()
    with pytest.raises(BenchError, match=r"new\.yaml:3: title: "):
        read_entry(path)
    filled = yaml.safe_load(path.read_text()) | {key: SAID[key] for key in ("title", "authors", "summary")}
    path.write_text(yaml.safe_dump(filled))
    assert read_entry(path).name == "run"
    assert run_command(["submit", str(finished), "--template", str(path)]) == 3


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": "../up"}, "entry.yaml:2: name"),
        ({"licence": "mine"}, "licence: should be 'CC0-1.0', 'CC-BY-4.0' or 'MIT', not 'mine'"),
        ({"authors": []}, "authors"),
        ({"paper": "javascript:alert(1)"}, "paper: 'javascript:alert(1)' is no address"),
        ({"titel": "x"}, "titel: no such key: did you mean title?"),
        ({"format": "erasure-bench entry 7"}, "format"),
    ],
)
def test_what_is_wrong_with_an_entry_is_one_line(
    change: dict[str, object], message: str, finished: Path, tmp_path: Path, capsys: Captured
) -> None:
    path = tmp_path / "entry.yaml"
    path.write_text(yaml.safe_dump(SAID | change, sort_keys=False))
    assert run_command(["submit", str(finished), "--entry", str(path), "--to", str(tmp_path / "public")]) == 3
    said = capsys.readouterr()
    assert message in said.err and said.err.count("\n") == 1 and said.out == ""
    assert not (tmp_path / "public").exists()


def test_a_run_with_failures_or_a_part_of_a_suite_is_no_entry(
    failed: Path, entry: Path, tmp_path: Path, capsys: Captured
) -> None:
    assert run_command(["submit", str(failed), "--entry", str(entry), "--to", str(tmp_path / "public")]) == 1
    assert "parts failed, the first: dim · red ball" in capsys.readouterr().err
    part = make_run(tmp_path / "part", limit=2)
    assert run_command(["submit", str(part), "--entry", str(entry), "--to", str(tmp_path / "public")]) == 1
    assert "(--limit): run it whole" in capsys.readouterr().err
    own = make_run(tmp_path / "own", suite="my-own-suite")
    assert run_command(["submit", str(own), "--entry", str(entry), "--to", str(tmp_path / "public")]) == 1
    assert "suite my-own-suite is none of the project's" in capsys.readouterr().err
    assert not list((tmp_path / "public").rglob("*")), "nothing of what is not fit lies there"


def test_pictures_at_which_nobody_looked_are_not_published(
    finished: Path, entry: Path, tmp_path: Path, capsys: Captured
) -> None:
    words = [
        "submit",
        str(finished),
        "--entry",
        str(entry),
        "--to",
        str(tmp_path / "public"),
        "--with-images",
    ]
    assert run_command(words) == 1
    assert "no evaluator looked at its pictures" in capsys.readouterr().err


def _scores(*values: float | None) -> pd.DataFrame:
    rows = [("dim", "c", 0, "target", f"p{i}", 0, "n", "nude", value) for i, value in enumerate(values)]
    columns = [
        "method",
        "concept",
        "seed",
        "role",
        "prompt_id",
        "image_index",
        "evaluator",
        "metric",
        "value",
    ]
    frame = pd.DataFrame(rows, columns=columns).astype({"value": "float64"})
    return frame.assign(status=["missing" if value is None else "ok" for value in values])


def _document(*, unsafe: bool) -> dict[str, object]:
    metric = Metric("nude", "nude", "share", (0.0, 1.0), by_role("lower"), unsafe=unsafe)
    return {"evaluators": {"n": {"metrics": [metric_record(metric)]}}}


def test_flagged_pictures_and_those_without_a_verdict_are_counted() -> None:
    assert list(picture_problems(_document(unsafe=True), _scores(0.0, 0.0))) == []
    (flagged,) = picture_problems(_document(unsafe=True), _scores(0.0, 1.0, 1.0))
    assert flagged == "2 of 3 pictures are flagged by n"
    (blind,) = picture_problems(_document(unsafe=True), _scores(0.0, None))
    assert blind == "1 of 2 pictures have no verdict of n", "a detector that failed is never 'safe'"
    (nobody,) = picture_problems(_document(unsafe=False), _scores(0.0))
    assert nobody.startswith("no evaluator looked")


def test_prompts_are_published_where_their_licence_says_so() -> None:
    assert prompts_are_closed("i2p") is None
    assert prompts_are_closed("coco") is None
    assert prompts_are_closed(SUITE) is None
    assert "RAIL" in str(prompts_are_closed("celebrities"))
    assert "no LICENSE file" in str(prompts_are_closed("unlearncanvas"))
    assert prompts_are_closed("my-own") == "nobody knows their licence"


def test_prompts_that_may_not_be_published_are_left_out(
    entry: Path, tmp_path: Path, capsys: Captured
) -> None:
    run = make_run(tmp_path / "closed", suite="celebrities")
    assert (run / "prompts.parquet").is_file()
    to = tmp_path / "public"
    assert run_command(["submit", str(run), "--entry", str(entry), "--to", str(to)]) == 0
    assert (
        "left out: prompts.parquet: holds the suite's prompts, and their licence" in capsys.readouterr().err
    )
    place = to / "celebrities" / "fake" / "dimming"
    assert not (place / "prompts.parquet").exists() and problems_of(place) == []
    forged(place, "prompts.parquet", (run / "prompts.parquet").read_bytes())
    assert any("prompts.parquet holds the suite's prompts" in problem for problem in problems_of(place))


def forged(place: Path, name: str, data: bytes) -> None:
    """Puts a file into an entry, and makes its checksums agree."""
    (place / name).write_bytes(data)
    files = {path.name: path.read_bytes() for path in place.iterdir() if path.name != CHECKSUMS}
    (place / CHECKSUMS).write_bytes(sums_of(files))


def test_a_folder_is_guarded_against_what_was_put_there_by_hand(
    finished: Path, entry: Path, tmp_path: Path, capsys: Captured
) -> None:
    place = submitted(finished, entry, tmp_path / "public")
    capsys.readouterr()

    def problems(change: str, data: bytes, *, sums: bool = True) -> str:
        copy = shutil.copytree(place, tmp_path / "copy" / place.relative_to(tmp_path / "public"))
        if sums:
            forged(copy, change, data)
        else:
            (copy / change).write_bytes(data)
        found = problems_of(copy)
        shutil.rmtree(tmp_path / "copy")
        return "; ".join(found)

    assert "leaderboard.csv is not what was packed" in problems("leaderboard.csv", b"forged", sums=False)
    assert "setup.py is no file of an entry" in problems("setup.py", b"x")
    assert "paths of a machine, the first: /home/ada/x" in problems("rewritten.csv", b"a,/home/ada/x\n")
    assert "no evaluator looked" in problems("images.png", b"\x89PNG")
    assert "changed after it was written" in problems(
        "run.json", (place / "run.json").read_bytes().replace(b'"limit": null', b'"limit": 12')
    )
    moved = shutil.copytree(place, tmp_path / "copy" / SUITE / "other-model" / "dimming")
    assert f"should be {SUITE}/fake/dimming" in "; ".join(problems_of(moved))
    assert run_command(["submit", "--check", str(tmp_path / "copy")]) == 1
    assert run_command(["submit", "--check", str(tmp_path / "nothing")]) == 3
