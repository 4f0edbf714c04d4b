"""`bench compare` and `bench gate` from the command line."""

import json
import re
import xml.etree.ElementTree as xml
from pathlib import Path

import pytest

from erasure_bench.bench.cli.app import run_command
from tests.bench.comparing.conftest import fake


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    folder = tmp_path_factory.mktemp("runs")
    return str(fake(folder / "old", 0.8)), str(fake(folder / "new", 0.3))


@pytest.fixture
def policy(tmp_path: Path, runs: tuple[str, str]) -> str:
    file = tmp_path / "gate.yaml"
    assert run_command(["gate", "init", runs[0], "--out", str(file)]) == 0
    return str(file)


def test_a_run_that_is_worse_is_blocked_with_exit_code_1(
    runs: tuple[str, str], policy: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    junit, markdown = tmp_path / "out" / "gate.xml", tmp_path / "gate.md"
    arguments = ["gate", *runs, "--policy", policy, "--junit", str(junit), "--markdown", str(markdown)]
    assert run_command(arguments) == 1
    printed = capsys.readouterr().out
    assert printed.rstrip().endswith("BLOCK") and "\nBLOCK        " in f"\n{printed}"
    suite = xml.fromstring(junit.read_text())
    assert int(suite.attrib["failures"]) == len(suite.findall("testcase/failure")) >= 1
    assert int(suite.attrib["tests"]) == len(suite.findall("testcase"))
    assert markdown.read_text().startswith("## ⛔ BLOCK")


def test_the_same_run_passes_with_exit_code_0(
    runs: tuple[str, str], policy: str, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    assert run_command(["gate", runs[0], runs[0], "--policy", policy, "--strict", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["verdict"] == "PASS"


def test_an_undecided_gate_is_exit_code_2_where_it_is_strict(
    tmp_path: Path, policy: str, capsys: pytest.CaptureFixture[str]
) -> None:
    few = [str(fake(tmp_path / name, strength, prompts=2)) for name, strength in (("a", 0.8), ("b", 0.5))]
    assert run_command(["gate", *few, "--policy", policy]) == 0
    assert run_command(["gate", *few, "--policy", policy, "--strict"]) == 2
    assert "prompts would do" in capsys.readouterr().out


def test_the_summary_of_a_job_is_appended(
    runs: tuple[str, str], policy: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    summary = tmp_path / "summary.md"
    summary.write_text("before\n")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))
    run_command(["gate", runs[0], runs[0], "--policy", policy])
    assert summary.read_text().startswith("before\n## ✅ PASS")


def test_a_policy_is_not_written_over_another(
    runs: tuple[str, str], policy: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command(["gate", "init", runs[0], "--out", policy]) == 3
    assert "is there already" in capsys.readouterr().err


def test_a_comparison_in_every_form(runs: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["compare", *runs, "--show-flips"]) == 0
    printed = capsys.readouterr().out
    assert "worse" in printed and "no picture turned round" in printed
    assert run_command(["compare", *runs, "--format", "md", "--concepts", "all"]) == 0
    assert "| dim | red ball | target |" in capsys.readouterr().out
    assert run_command(["compare", *runs, "--format", "json", "--methods", "dim"]) == 0
    changes = json.loads(capsys.readouterr().out)["changes"]
    assert {change["method"] for change in changes} == {"dim"}


def test_rows_of_one_run_are_compared_in_every_form(
    runs: tuple[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["compare", runs[0], "--against", "none", "--margin", "0.2"]
    assert run_command(arguments) == 0
    printed = capsys.readouterr().out
    assert "none → dim" in printed and "second less first row" in " ".join(printed.split())
    assert "below 20% of the metric's range" in " ".join(printed.split())
    assert run_command([*arguments, "--format", "json"]) == 0
    changes = json.loads(capsys.readouterr().out)["changes"]
    tested = [one for one in changes if one["p_holm"] is not None]
    assert {one["after"]["scope"] for one in tested} == {"overall"}
    assert {one["after"]["headline"] for one in tested} == {True}
    assert run_command([*arguments, "--format", "md"]) == 0
    assert "rows against each other" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ([], "give a second run to compare with, or --against"),
        (["--against", "nobody"], "nobody.*--against"),
        (["--against", "none", "--margin", "2"], "--margin 2: a share"),
    ],
)
def test_what_is_wrong_with_a_comparison_is_one_line(
    runs: tuple[str, str], more: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command(["compare", runs[0], *more]) == 3
    line = capsys.readouterr().err
    assert re.search(said, line) and line.count("\n") == 1


@pytest.mark.parametrize(
    ("extra", "said"),
    [
        (["--methods", "dimm"], "did you mean dim"),
        (["--concepts", "green"], "valid: red ball, Blue Cube, all"),
    ],
)
def test_what_is_not_there_is_named(
    runs: tuple[str, str], capsys: pytest.CaptureFixture[str], extra: list[str], said: str
) -> None:
    assert run_command(["compare", *runs, *extra]) != 0
    error = capsys.readouterr().err
    assert said in error and error.count("\n") == 1
