"""The digest that names an evaluator's weights follows their content, whatever time a user gives the file."""

import os
import time
from importlib import metadata
from pathlib import Path

import pytest

from erasure_bench.errors import BenchError
from erasure_bench.evaluators.digests import loaded_once, sha256_of
from erasure_bench.evaluators.registry import build_evaluator

POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 12\n"


def test_other_content_of_the_same_size_and_time_has_another_digest(tmp_path: Path) -> None:
    path = tmp_path / "weights"
    digests = set()
    for content in (b"a" * 100, b"b" * 100):
        path.write_bytes(content)
        os.utime(path, (1_000_000, 1_000_000))
        digests |= {sha256_of(path), sha256_of(tmp_path)}
        time.sleep(0.01)  # the kernel's clock of inodes ticks every few milliseconds
    assert len(digests) == 4


@pytest.mark.parametrize("name", ["network.onnx", "network.pt"])
def test_a_git_lfs_pointer_is_found_when_the_run_is_planned(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text(POINTER)
    (tmp_path / "labels.txt").write_text("cat\ndog\n")
    options = {"model": str(tmp_path / name), "labels": str(tmp_path / "labels.txt")}
    with pytest.raises(BenchError, match=f"{name}: a Git LFS pointer"):
        build_evaluator("classifier", None, options).protocol()


def test_a_library_that_is_installed_under_another_name_has_its_version(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As onnxruntime for GPUs is, which our own error recommends: two versions of it are two protocols."""

    def version(name: str) -> str:
        if name not in ("onnxruntime-gpu", "dlib"):
            raise metadata.PackageNotFoundError(name)
        return f"1.2.3 of {name}"

    monkeypatch.setattr(metadata, "version", version)

    assert build_evaluator("nudity").protocol()["onnxruntime"] == "1.2.3 of onnxruntime-gpu"
    assert build_evaluator("celebrity@dlib").protocol()["dlib"] == "1.2.3 of dlib"


def test_what_was_loaded_of_a_file_is_loaded_anew_once_the_file_is_another(tmp_path: Path) -> None:
    file, loads = tmp_path / "weights", []

    @loaded_once(2)
    def load(path: Path, device: str = "cpu") -> str:
        loads.append(path)
        return path.read_text()

    seen = []
    for content in ("one", "one", "other", "one"):
        if not file.is_file() or file.read_text() != content:
            file.write_text(content)
        sha256_of(file)
        seen += [load(file), load(file)]
        time.sleep(0.01)  # the kernel's clock of inodes ticks every few milliseconds

    assert seen == ["one", "one", "one", "one", "other", "other", "one", "one"]
    assert len(loads) == 3
    load.cache_clear()
    assert load(file) == "one" and len(loads) == 4
