"""Nothing is sent home, nothing is left in the user's folders, and `--offline` asks no network."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from erasure_bench.bench.cli.app import run_command
from erasure_bench.environment import OFFLINE_VARIABLE, SEND_NOTHING, is_offline, why_offline
from erasure_bench.errors import BenchError
from erasure_bench.evaluators.hub import hub_file
from erasure_bench.evaluators.registry import build_evaluator
from erasure_bench.models.zoo import resolve_model
from erasure_bench.prompt_suites.fetch import UpstreamFile, locate

ROOT = Path(__file__).resolve().parents[1]
RUN = [
    "run",
    "--suite",
    "microworld-instances",
    "--concepts",
    "grumpy-cat",
    "--methods",
    "none",
    "--limit",
    "1",
    "--evaluators",
    "clip,classifier,nudity",
    "--store",
    "store",
    "--out",
    "out",
]
NO_SOCKETS = """
import socket, sys

def forbidden(*what, **more):
    raise AssertionError(f"the network was asked: {what}")

class Forbidden(socket.socket):
    __init__ = forbidden

socket.socket = Forbidden
for name in ("getaddrinfo", "gethostbyname", "create_connection", "socketpair"):
    setattr(socket, name, forbidden)

from erasure_bench.bench.cli.app import run_command
sys.exit(run_command(sys.argv[1:]))
"""


@pytest.fixture(autouse=True)
def not_offline_afterwards(monkeypatch: pytest.MonkeyPatch) -> None:
    """What `go_offline` sets is put back."""
    import huggingface_hub.constants

    for variable in (OFFLINE_VARIABLE, "HF_HUB_OFFLINE"):
        monkeypatch.setenv(variable, "")
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr("socket.getaddrinfo", _no_network)


def _no_network(*anything: object, **more: object) -> None:
    raise AssertionError("the network was asked")


def bare_environment(home: Path) -> dict[str, str]:
    """A new user's: nothing set, a home with nothing in it."""
    home.mkdir()
    return {"PATH": os.environ["PATH"], "HOME": str(home), "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}


@pytest.mark.slow
@pytest.mark.parametrize("more", [[], ["--offline"]], ids=["as it is", "--offline"])
def test_a_run_of_the_built_in_model_needs_no_network_and_leaves_only_our_own_cache_in_an_empty_home(
    more: list[str], tmp_path: Path
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", NO_SOCKETS, *RUN, "--json", *more],
        cwd=tmp_path,
        env=bare_environment(tmp_path / "home"),
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    rows = json.loads(done.stdout)["rows"]
    assert {row["evaluator"] for row in rows} == {"clip", "classifier", "nudity"}
    left = {path.relative_to(tmp_path / "home").parts[:2] for path in (tmp_path / "home").rglob("*")}
    assert left - {(".cache",)} <= {(".cache", "erasure-bench")}, left


def test_onnxruntime_makes_no_telemetry_whichever_of_our_modules_comes_first(tmp_path: Path) -> None:
    """And would without us: else this test proves nothing."""
    code = "import onnxruntime, pathlib; print(len(list(pathlib.Path.home().rglob('*onnxruntime*'))))"
    found = {}
    for who, first in {"ours": "import erasure_bench.evaluators.base\n", "theirs": ""}.items():
        done = subprocess.run(
            [sys.executable, "-c", first + code],
            env=bare_environment(tmp_path / who),
            capture_output=True,
            text=True,
            check=True,
        )
        found[who] = int(done.stdout)
    assert found["ours"] == 0
    if not found["theirs"]:
        pytest.skip("this build of onnxruntime collects nothing")


def test_a_users_own_word_on_telemetry_is_kept(tmp_path: Path) -> None:
    code = "import os, erasure_bench; print(os.environ['DO_NOT_TRACK'], os.environ['ORT_DISABLE_TELEMETRY'])"
    environment = bare_environment(tmp_path / "home") | {"DO_NOT_TRACK": "0"}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["0", SEND_NOTHING["ORT_DISABLE_TELEMETRY"]]


@pytest.mark.parametrize(("text", "offline"), [("1", True), ("true", True), ("0", False), ("", False)])
def test_the_variable_is_the_same_as_the_flag_and_the_hubs_libraries_hear_of_it(
    text: str, offline: bool, tmp_path: Path
) -> None:
    code = (
        "import erasure_bench.environment as e\n"
        "from huggingface_hub import constants\n"
        "print(e.is_offline(), constants.HF_HUB_OFFLINE)"
    )
    environment = bare_environment(tmp_path / "home") | {OFFLINE_VARIABLE: text}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == [str(offline)] * 2


def test_offline_a_missing_model_is_one_line_that_says_how_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.delenv("BENCH_MODELS", raising=False)
    assert run_command([*RUN, "--model", "sd-v1-4", "--dry-run", "--offline"]) == 3
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "--offline" in said and "hf download CompVis/stable-diffusion-v1-4" in said
    assert is_offline()


@pytest.mark.parametrize("what", ["model", "clip", "classifier", "prompts"])
def test_offline_everything_that_we_fetch_is_refused_with_the_way_to_get_it(
    what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(OFFLINE_VARIABLE, "1")
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.delenv("BENCH_MODELS", raising=False)
    file = UpstreamFile(repository="a/b", commit="0" * 40, path="c.csv", sha256="0" * 64, size=1, folder="d")
    fetch = {
        "model": lambda: resolve_model("no-such-org/no-such-model"),
        "clip": lambda: hub_file("no-such-org/no-such-clip", ("a.bin",), "CLIP weights", "weights=PATH"),
        "classifier": lambda: build_evaluator("classifier").prepare(),
        "prompts": lambda: locate(file, data_dir=None, cache_dir=tmp_path),
    }[what]
    with pytest.raises(BenchError) as refused:
        fetch()
    assert str(why_offline()) in str(refused.value) and "to get it" in str(refused.value).replace(
        "them", "it"
    )
    assert "\n" not in str(refused.value)
