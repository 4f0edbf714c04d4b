"""The project's own gate: a method that is broken is blocked, too few prompts decide nothing."""

import xml.etree.ElementTree as xml
from pathlib import Path

import pytest

from erasure_bench.bench.comparing.policy import read_policy
from erasure_bench.models.diffusion_model import DiffusionModel
from studies import gate_microworld as study

ONE = ["--concepts", "grumpy-cat"]
BROKEN = ["--method-option", "esd-x.eta=-1", "--method-option", "esd-x.steps=10"]
"""The sign in ESD's target turned round: however long it trains, it learns to draw what it should erase."""


def test_without_a_kept_run_the_gate_says_how_to_make_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert study.main(["--kept", str(tmp_path), "--work", str(tmp_path / "work")]) == study.WRONG_USAGE
    said = capsys.readouterr()
    assert said.err.count("\n") == 1 and "--keep" in said.err and not said.out
    assert not (tmp_path / "work").exists()


def test_the_policy_can_block() -> None:
    policy = read_policy(study.POLICY)
    critical = [rule for rule in policy.rules if rule.tier == "critical"]
    assert any(rule.allowed_worsening is not None for rule in critical)
    assert any(rule.level is not None for rule in critical)


def places(work: Path) -> list[str]:
    return ["--kept", str(work / "kept"), "--work", str(work)]


@pytest.fixture(scope="module")
def work(microworld: DiffusionModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With the kept run in it: an erasure and about fifty pictures for each method."""
    folder = tmp_path_factory.mktemp("gate")
    assert study.main(["--keep", *places(folder), "--", *ONE]) == 0
    return folder


@pytest.mark.slow
def test_the_same_methods_pass_and_the_kept_run_names_no_folder_of_this_machine(
    work: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert study.main([*places(work), "--", *ONE]) == 0
    assert capsys.readouterr().out.rstrip().endswith("PASS")
    kept = sorted(path.name for path in (work / "kept").iterdir())
    assert kept == ["leaderboard.json", "run.json", "scores.parquet"]
    assert str(work) not in (work / "kept" / "run.json").read_text()


@pytest.mark.slow
def test_a_broken_esd_is_blocked(work: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    junit = tmp_path / "gate.xml"
    assert study.main([*places(work), "--junit", str(junit), "--", *ONE, *BROKEN]) == 1
    assert capsys.readouterr().out.rstrip().endswith("BLOCK")
    cases = xml.fromstring(junit.read_text()).findall("testcase")
    failed = [" ".join(case.attrib.values()) for case in cases if case.find("failure") is not None]
    assert any("the concept stays gone" in words for words in failed)
    assert all("esd-x" in words for words in failed), "the other method is as it was"


@pytest.mark.slow
def test_four_prompts_decide_nothing_however_broken_the_method_is(
    work: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """No permutation of four prompts has a p value below .05, and no interval of four is short."""
    assert study.main([*places(work), "--", *ONE, *BROKEN, "--limit", "4"]) == 2
    printed = capsys.readouterr().out
    assert printed.rstrip().endswith("INCONCLUSIVE") and "prompts would do" in printed
