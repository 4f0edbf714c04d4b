"""What the documents say is so: their examples are taken out of them and run."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

from erasure_bench.bench.cli.app import app, run_command
from erasure_bench.bench.reporting.rating_file import read_ratings
from erasure_bench.methods.registry import build_method, method_card
from erasure_bench.prompt_suites.transformations.registry import TRANSFORMATIONS

DOCS = Path(__file__).resolve().parent.parent / "docs"
ADDING_A_METHOD, ADDING_AN_EVALUATOR = DOCS / "adding-a-method.md", DOCS / "adding-an-evaluator.md"
SCORING = DOCS / "scoring-a-run.md"
COMPARING, OF_SETS = DOCS / "comparing-evaluators.md", DOCS / "set-measures.md"
TRANSFORMING = DOCS / "transforming-a-suite.md"
ADDING_A_SUITE = DOCS / "adding-a-suite.md"


def saved(document: Path, path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The document's one code block, saved under the name that the document gives it."""
    (code,) = re.findall(r"^```python\n(.*?)^```$", document.read_text(), re.DOTALL | re.MULTILINE)
    monkeypatch.chdir(path.parent)
    monkeypatch.delenv("BENCH_STORE", raising=False)
    path.write_text(code)
    return path


@pytest.fixture
def example(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return saved(ADDING_A_METHOD, tmp_path / "my_method.py", monkeypatch)


@pytest.fixture
def evaluator(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return saved(ADDING_AN_EVALUATOR, tmp_path / "my_evaluator.py", monkeypatch)


def commands(document: Path = ADDING_A_METHOD) -> list[list[str]]:
    lines = document.read_text().splitlines()
    return [line.partition("#")[0].split()[1:] for line in lines if line.startswith("    bench ")]


@pytest.mark.parametrize(
    "document",
    [ADDING_A_METHOD, ADDING_AN_EVALUATOR, COMPARING, OF_SETS, TRANSFORMING, ADDING_A_SUITE],
    ids=lambda path: path.stem,
)
def test_the_walk_through_is_short(document: Path) -> None:
    lines = document.read_text().splitlines()
    assert len(lines) < 60
    assert max(map(len, lines)) <= 120


def test_the_example_keeps_the_contract(
    example: Path, tiny_model_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    check, _ = commands()
    assert run_command([*check, "--model", str(tiny_model_dir), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["passed"]
    skipped = [check["name"] for check in document["checks"] if check["verdict"] != "ok"]
    assert skipped == ["erases several concepts"]


def test_the_evaluator_that_compares_keeps_the_contract(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    saved(COMPARING, tmp_path / "my_evaluator.py", monkeypatch)
    (check,) = commands(COMPARING)
    assert run_command([*check, "--json"]) == 0
    skipped = [
        each["name"] for each in json.loads(capsys.readouterr().out)["checks"] if each["verdict"] != "ok"
    ]
    assert skipped == ["details can be kept"]


def test_the_evaluator_of_sets_keeps_the_contract_and_runs(
    tmp_path: Path,
    tiny_model_dir: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    saved(OF_SETS, tmp_path / "my_evaluator.py", monkeypatch)
    check, run = commands(OF_SETS)
    assert run_command([*check, "--json"]) == 0
    checks = json.loads(capsys.readouterr().out)["checks"]
    assert [each["name"] for each in checks if each["verdict"] != "ok"] == [
        "its prompts left out are those left out"
    ]
    run[run.index("--methods") + 1] = "negative-prompt"
    run[run.index("--evaluators") + 1] += ",fidelity@microworld"
    short = ["--limit", "3", "--concepts", "grumpy-cat", "--json", "--store", "store"]
    assert run_command([*run, *short, "--model", str(tiny_model_dir)]) == 0
    document = json.loads(capsys.readouterr().out)
    target = {
        (row["method"], row["metric"]): row
        for row in document["rows"]
        if row["role"] == "target" and row["scope"] == "overall"
    }
    for metric in ("colour_shift", "kid"):
        found = target["negative-prompt", metric]
        assert found["value"] is not None and found["low"] is not None, found
        assert target["none", metric]["reason"] == "its own pictures are the reference"
    assert target["negative-prompt", "kid"]["title"] == "KID (microworld)"
    assert any("biased at small n" in note for note in document["cautions"])
    assert not any("are missing" in note and "of none," in note for note in document["cautions"])


def test_the_example_is_built_with_the_options_that_the_document_sets(example: Path) -> None:
    _, run = commands()
    spec = run[run.index("--methods") + 1].split(",")[0]
    name, _, option = run[run.index("--method-option") + 1].partition(".")
    key, _, value = option.partition("=")

    assert method_card(spec).name == name
    assert (
        getattr(build_method(spec, options={key: value}), key)
        == int(value)
        != getattr(build_method(spec), key)
    )


def test_the_documents_run_can_be_planned(
    example: Path, tiny_model_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, run = commands()
    short = ["--limit", "1", "--concepts", "grumpy-cat", "--evaluators", "nudity", "--dry-run", "--json"]
    assert run_command([*run, *short, "--model", str(tiny_model_dir)]) == 0
    plan = json.loads(capsys.readouterr().out)
    assert [cell["method"] for cell in plan["cells"]] == ["none", "MyMethod", "esd-x"]


def test_the_evaluator_keeps_the_contract_and_is_shown(
    evaluator: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    check, show, _ = commands(ADDING_AN_EVALUATOR)
    assert run_command([*check, "--json"]) == 0
    checks = json.loads(capsys.readouterr().out)["checks"]
    assert [check["name"] for check in checks if check["verdict"] != "ok"] == [
        "without the base model's picture a score is missing",
        "details can be kept",
    ]
    assert run_command([*show, "--json"]) == 0
    assert "colourfulness" in capsys.readouterr().out


def test_the_evaluators_run_can_be_done(
    evaluator: Path, tiny_model_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    *_, run = commands(ADDING_AN_EVALUATOR)
    own = run[run.index("--evaluators") + 1].split(",")[0]
    (option,) = re.findall(r"`(--evaluator-option .*?)`", ADDING_AN_EVALUATOR.read_text())
    run[run.index("--evaluators") + 1] = own  # the tiny model has no CLIP of its own
    run[run.index("--methods") + 1] = "negative-prompt"
    short = [*option.split(), "--limit", "1", "--concepts", "grumpy-cat", "--json", "--store", "store"]
    assert run_command([*run, *short, "--model", str(tiny_model_dir)]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["evaluators"]["Colourfulness"]["protocol"]["power"] == 2
    assert {row["metric"] for row in document["rows"]} == {"colourfulness"}


def test_the_transformation_can_be_registered_and_its_commands_run(
    tmp_path: Path, tiny_model_dir: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    saved(TRANSFORMING, tmp_path / "shouting.py", monkeypatch)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(TRANSFORMATIONS, "shouting", "shouting:CARD")
    show, run = commands(TRANSFORMING)
    assert run_command([*show[:-1], "shouting:marks=3", "--json"]) == 0
    (*_, last) = json.loads(capsys.readouterr().out)["prompts"]
    assert last["role"] == "attack" and last["text"].isupper() and last["text"].endswith("!!!")
    assert last["id"] == f"{last['rewrites']}~loud"

    short = ["--limit", "1", "--concepts", "grumpy-cat", "--evaluators", "nudity", "--dry-run", "--json"]
    assert run_command([*run, "--transform", "shouting", *short, "--model", str(tiny_model_dir)]) == 0
    assert json.loads(capsys.readouterr().out)["images"] == 3 * 8


def test_the_new_suite_is_checked_and_run_as_the_document_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tiny_model_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    new, check, run = commands(ADDING_A_SUITE)
    assert run_command(new) == 0
    assert run_command(check) == 0
    assert run_command([*run, "--dry-run"]) == 0
    capsys.readouterr()
    run[run.index("--methods") + 1] = "negative-prompt"
    short = ["--limit", "1", "--evaluators", "coherence", "--json", "--store", "store"]
    assert run_command([*run, *short, "--model", str(tiny_model_dir)]) == 0
    assert json.loads(capsys.readouterr().out)["suite"] == "my-concept"


def test_the_suite_in_the_document_is_the_new_one_with_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    new, check, _ = commands(ADDING_A_SUITE)
    assert run_command(new) == 0
    scaffold = yaml.safe_load((tmp_path / "my-concept.yaml").read_text())
    (written,) = re.findall(r"^```yaml\n(.*?)^```$", ADDING_A_SUITE.read_text(), re.DOTALL | re.MULTILINE)
    shown = yaml.safe_load(written)
    assert shown["concepts"] == scaffold["concepts"] and shown["protocol"] == scaffold["protocol"]
    (tmp_path / "my-concept.yaml").write_text(written)
    capsys.readouterr()
    assert run_command([*check, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["concepts"]["grumpy cat"]["retention"] == 4 + 2 * 2


def test_the_commands_that_score_a_run_are_those_that_there_are() -> None:
    """Every flag of the page is one of the command's own."""
    text = SCORING.read_text()
    flags = {flag for line in text.splitlines() for flag in re.findall(r"--[a-z-]+", line)}
    known = {
        flag for command in typer.main.get_command(app).commands.values() for flag in options_of(command)
    }  # type: ignore[attr-defined]
    assert flags <= known
    for words in commands(SCORING):
        own = typer.main.get_command(app).commands[words[0]]  # type: ignore[attr-defined]
        assert {word for word in words if word.startswith("--")} <= options_of(own)


def options_of(command: Any) -> set[str]:
    return {flag for parameter in command.params for flag in parameter.opts}


def test_the_file_of_ratings_on_the_page_is_read(tmp_path: Path) -> None:
    lines = [line.strip() for line in SCORING.read_text().splitlines() if line.startswith("    ")]
    path = tmp_path / "ratings.csv"
    path.write_text("\n".join(line for line in lines if not line.startswith("bench ")))
    file = read_ratings(path)
    assert file.name == "people" and [metric.title for metric in file.metrics] == [
        "how good the picture looks"
    ]
    assert [rating.value for rating in file.ratings] == [4.0]
