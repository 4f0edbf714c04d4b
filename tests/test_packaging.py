"""An installed wheel takes one name, holds everything once, and minds no user's folder called `models`."""

import hashlib
import json
import os
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from collections import Counter
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = "erasure_bench"
ROOMS = ("attacks", "bench", "evaluators", "methods", "models", "prompt_suites")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(find_spec("hatchling") is None, reason="hatchling builds the wheel"),
]


def build(hook: str, source: Path, out: Path) -> Path:
    """What hatchling's `build_wheel` or `build_sdist` makes of a source tree; asks no network."""
    code = f"import sys, hatchling.build as backend; print(backend.{hook}(sys.argv[1]))"
    out.mkdir(parents=True, exist_ok=True)
    done = subprocess.run(
        [sys.executable, "-c", code, str(out)], cwd=source, capture_output=True, text=True, check=True
    )
    return out / done.stdout.split()[-1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build("build_wheel", ROOT, tmp_path_factory.mktemp("dist"))


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A new environment with the wheel in it; what it depends on is seen where it lies already."""
    place = tmp_path_factory.mktemp("installed") / "venv"
    venv.create(place, with_pip=False)
    pip = [sys.executable, "-m", "pip", "--python", str(place / "bin" / "python"), "--quiet"]
    subprocess.run([*pip, "install", "--no-deps", "--no-index", str(wheel)], check=True)
    # A folder that a .pth names has its own .pth files left unread: no editable install of ours among them.
    (site_packages(place) / "heavy.pth").write_text(sysconfig.get_paths()["purelib"])
    return place


def site_packages(place: Path) -> Path:
    (found,) = place.glob("lib/python*/site-packages")
    return found


def contents(wheel: Path) -> dict[str, str]:
    with zipfile.ZipFile(wheel) as file:
        return {name: hashlib.sha256(file.read(name)).hexdigest() for name in file.namelist()}


def test_one_name_is_taken_at_the_top(installed: Path) -> None:
    names = {path.name for path in site_packages(installed).iterdir()} - {"heavy.pth", "__pycache__"}
    assert {name for name in names if not name.endswith(".dist-info")} == {PACKAGE}
    assert len(names) == 2


def test_every_room_is_whole_and_each_weight_there_once(wheel: Path) -> None:
    found = contents(wheel)
    for room in ROOMS:
        for path in (path for path in (ROOT / room).rglob("*") if path.is_file()):
            if "__pycache__" not in path.parts:
                assert f"{PACKAGE}/{path.relative_to(ROOT).as_posix()}" in found
    for path in (ROOT / "results" / "published").iterdir():
        assert f"{PACKAGE}/published/{path.name}" in found
    weights = [digest for name, digest in found.items() if name.endswith((".safetensors", ".bin", ".npz"))]
    assert weights and max(Counter(weights).values()) == 1


def test_the_sdist_builds_the_same_wheel(wheel: Path, tmp_path: Path) -> None:
    sdist = build("build_sdist", ROOT, tmp_path / "dist")
    with tarfile.open(sdist) as file:
        file.extractall(tmp_path / "source", filter="data")
    (source,) = (tmp_path / "source").iterdir()
    again = build("build_wheel", source, tmp_path / "again")
    assert contents(again) == contents(wheel)


@pytest.mark.parametrize("start", ["bench", "python -m"])
def test_a_run_minds_no_folder_of_the_users_that_is_called_like_a_room(
    start: str, installed: Path, tmp_path: Path
) -> None:
    for room in (*ROOMS, "studies", "tests"):
        (tmp_path / room).mkdir()
        (tmp_path / room / "__init__.py").write_text(f"raise RuntimeError('the {room} of somebody else')\n")
    command = {
        "bench": [str(installed / "bin" / "bench")],
        "python -m": [str(installed / "bin" / "python"), "-m", PACKAGE],
    }[start]
    words = "run --suite microworld-instances --concepts grumpy-cat --methods negative-prompt --limit 1"
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "BENCH"))}
    done = subprocess.run(
        [*command, *words.split(), "--store", "store", "--out", "out", "--offline", "--json"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["methods"] == ["none", "negative-prompt"]


def test_the_papers_numbers_come_with_the_wheel(installed: Path) -> None:
    code = (
        f"from {PACKAGE}.bench.reporting.published import FOLDER, published\n"
        "print(FOLDER, len(published().numbers))"
    )
    done = subprocess.run(
        [str(installed / "bin" / "python"), "-I", "-c", code], capture_output=True, text=True, check=True
    )
    where, count = done.stdout.rsplit(maxsplit=1)
    assert Path(where).is_relative_to(installed) and int(count) > 300


def test_the_code_that_runs_is_the_wheels(installed: Path, tmp_path: Path) -> None:
    code = f"import {PACKAGE}.models.zoo as zoo; print(zoo.__file__, zoo.BUILT_IN.is_dir())"
    done = subprocess.run(
        [str(installed / "bin" / "python"), "-I", "-c", code], capture_output=True, text=True, check=True
    )
    where, there = done.stdout.rsplit(maxsplit=1)
    assert Path(where).is_relative_to(installed) and there == "True"
