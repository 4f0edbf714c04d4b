"""`bench doctor`: what is really ready, and nothing that is broken ends it."""

import json
import shutil
import sys
from pathlib import Path

import pytest

from erasure_bench.bench.cli import doctor
from erasure_bench.bench.cli.app import run_command
from erasure_bench.bench.cli.doctor import Finding, examine, is_broken, required_modules
from erasure_bench.bench.running.importing import import_problems
from erasure_bench.environment import is_offline
from erasure_bench.models.zoo import BUILT_IN

Captured = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def bare_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No model, no data and no weights but what the packages bring; the network must not be asked."""
    monkeypatch.chdir(tmp_path)
    for variable in ("BENCH_MODELS", "BENCH_DATA", "BENCH_STORE"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("socket.getaddrinfo", lambda *anything, **more: pytest.fail("the network was asked"))


@pytest.fixture
def imports_well(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Spares the seconds that importing every package takes; what is put into it is a package's problem."""
    problems: dict[str, str] = {}
    monkeypatch.setattr(doctor, "import_problems", lambda modules: problems)
    return problems


def rows(findings: list[Finding], topic: str) -> dict[str, Finding]:
    return {finding.name: finding for finding in findings if finding.topic == topic}


@pytest.mark.slow
def test_a_whole_installation_is_ready_where_its_weights_are_and_says_how_to_get_the_others(
    capsys: Captured, tmp_path: Path
) -> None:
    code = run_command(["doctor", "--json"])
    findings = [Finding(**row) for row in json.loads(capsys.readouterr().out)]
    assert code == 0 and not is_broken(findings)
    packages = rows(findings, "packages")
    assert {"torch", "onnxruntime", "opencv-python-headless", "pillow"} <= packages.keys()
    assert {row.verdict for row in packages.values()} == {"ok"}
    models = rows(findings, "models")
    assert models["microworld"].verdict == "ok" and Path(models["microworld"].detail).is_dir()
    absent = models["sd-v1-4"]
    assert absent.verdict == "absent" and "CompVis/stable-diffusion-v1-4" in absent.detail
    assert str(tmp_path / "hub") in absent.detail and "$BENCH_MODELS/sd-v1-4" in absent.detail
    evaluators = rows(findings, "evaluators")
    without_weights = {f"{name}, official" for name in ("coherence", "distance", "diversity")}
    faces = {"celebrity, dlib", "celebrity, microworld"}
    built_in = {
        f"{name}, microworld"
        for name in ("clip", "classifier", "fidelity", "cmmd", "memorization", "diversity")
    }
    unsafe = {"nudity, official", "opennsfw, official"}
    ready = {*built_in, *unsafe, *faces, *without_weights}
    assert {name for name, row in evaluators.items() if row.verdict == "ok"} == ready
    assert "hf download" in evaluators["clip, official"].detail
    assert str(tmp_path / "torch") in evaluators["classifier, official"].detail
    suites = rows(findings, "suites")
    assert suites["microworld-styles"].verdict == "ok" and suites["i2p"].verdict == "absent"
    assert "--data-dir" in suites["i2p"].detail
    folders = rows(findings, "folders")
    assert folders.keys() == {"store", "own cache", "hub's cache"}
    assert "GiB free" in folders["store"].detail and not Path(".bench").exists()
    assert not is_offline()


def test_an_import_that_fails_exits_or_crashes_is_one_row_and_the_next_is_still_tried(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, code in {
        "raises_one": "raise RuntimeError('two\\nlines')",
        "exits_one": "import sys; sys.exit(0)",
        "crashes_one": "import os; os._exit(7)",
        "fine_one": "print('hello')",
    }.items():
        (tmp_path / f"{name}.py").write_text(code)
    monkeypatch.syspath_prepend(str(tmp_path))
    names = ["raises_one", "exits_one", "crashes_one", "fine_one", "no_such_one", "json"]
    problems = import_problems(names)
    assert problems.keys() == {"raises_one", "exits_one", "crashes_one", "no_such_one"}
    assert problems["raises_one"] == "RuntimeError: two lines"
    assert "SystemExit" in problems["exits_one"]
    assert "exit code 7" in problems["crashes_one"]
    assert "ModuleNotFoundError" in problems["no_such_one"]


def test_a_broken_package_is_a_row_so_is_what_needs_it_and_the_exit_code_is_1(
    imports_well: dict[str, str], capsys: Captured
) -> None:
    imports_well["onnxruntime"] = "OSError: no [such] library"
    assert run_command(["doctor", "--json"]) == 1
    findings = [Finding(**row) for row in json.loads(capsys.readouterr().out)]
    needing = {"nudity", "opennsfw", "inappropriate", "celebrity"}
    assert {row.name for row in findings if row.verdict == "broken"} == {"onnxruntime", *needing}
    assert "no [such] library" in rows(findings, "packages")["onnxruntime"].detail
    assert "onnxruntime" in rows(findings, "evaluators")["nudity"].detail
    assert rows(findings, "evaluators")["clip, microworld"].verdict == "ok"
    assert run_command(["doctor"]) == 1
    assert "no [such] library" in " ".join(capsys.readouterr().out.split())


def test_a_section_that_fails_is_a_row_too(
    imports_well: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def leave() -> None:
        sys.exit("enough")

    monkeypatch.setattr(doctor, "hardware", leave)
    findings = examine()
    assert rows(findings, "machine")["examination"].verdict == "broken"
    assert {"models", "evaluators", "suites", "folders"} <= {finding.topic for finding in findings}


def test_another_packages_evaluator_that_cannot_be_loaded_is_a_note(
    imports_well: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from erasure_bench.evaluators import registry

    monkeypatch.setattr(registry, "offered", lambda group: {"theirs": "no_such_package_of_theirs:CARD"})
    row = rows(examine(), "evaluators")["theirs"]
    assert row.verdict == "note" and "no_such_package_of_theirs" in row.detail


def test_half_a_model_and_a_wrong_file_of_data_are_broken_and_said_where(
    imports_well: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    half = tmp_path / "models" / "sd-v1-5"
    shutil.copytree(BUILT_IN, half, ignore=shutil.ignore_patterns("unet"))
    monkeypatch.setenv("BENCH_MODELS", str(half.parent))
    (tmp_path / "data" / "i2p").mkdir(parents=True)
    (tmp_path / "data" / "i2p" / "unsafe-prompts4703.csv").write_text("prompt\n")
    findings = examine(data_dir=tmp_path / "data")
    model = rows(findings, "models")["sd-v1-5"]
    assert model.verdict == "broken" and "unet/" in model.detail and str(half) in model.detail
    data = rows(findings, "suites")["i2p"]
    assert data.verdict == "broken" and "sha256" in data.detail and "i2p" in data.detail


def test_a_store_that_cannot_be_written_is_broken(imports_well: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for place in (tmp_path / "file" / "store", Path("/proc/no/such/store")):
        assert rows(examine(store=place), "folders")["store"].verdict == "broken"


def test_what_is_installed_is_known_without_our_own_metadata(monkeypatch: pytest.MonkeyPatch) -> None:
    modules = required_modules()
    assert modules["PIL"] == "pillow" and modules["cv2"] == "opencv-python-headless"
    assert modules["huggingface_hub"] == "huggingface-hub"
    monkeypatch.setattr(doctor, "DISTRIBUTION", "no-such-distribution")
    assert {"torch", "open_clip", "onnxruntime"} <= required_modules().keys()
