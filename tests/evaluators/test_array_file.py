"""Arrays from published files: pickles give arrays and run nothing."""

import os
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file

from erasure_bench.errors import BenchError
from erasure_bench.evaluators.array_file import read_array, read_tensors

VECTORS = np.random.default_rng(0).normal(size=(2, 768)).astype(np.float32)

PICKLED = {
    "array": VECTORS,
    "halves": VECTORS.astype(np.float16),
    "lists": VECTORS.tolist(),
    "tensor": torch.from_numpy(VECTORS),
    "parameter": torch.nn.Parameter(torch.from_numpy(VECTORS).half()),
}


def _pickled(folder: Path, what: object, protocol: int = 4) -> Path:
    file = folder / "prompts.p"
    file.write_bytes(pickle.dumps(what, protocol=protocol))
    return file


@pytest.mark.parametrize("protocol", [2, 4])
@pytest.mark.parametrize("what", PICKLED.values(), ids=PICKLED)
def test_a_pickled_array_is_read(what: object, protocol: int, tmp_path: Path) -> None:
    found = read_array(_pickled(tmp_path, what, protocol), "vectors")

    assert found.dtype == np.float32 and found.shape == (2, 768)
    np.testing.assert_allclose(found, VECTORS, atol=2e-3)


def test_other_formats_hold_the_same(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", VECTORS)
    save_file({"prompts": VECTORS}, tmp_path / "a.safetensors")
    torch.save(torch.from_numpy(VECTORS), tmp_path / "a.pt")

    for name in ("a.npy", "a.safetensors", "a.pt"):
        np.testing.assert_array_equal(read_array(tmp_path / name, "vectors"), VECTORS)


class Hostile:
    """Makes a folder when it is unpickled."""

    def __init__(self, folder: Path) -> None:
        self.folder = str(folder)

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (self.folder,)


class HostileStorage(Hostile):
    """The same from within a tensor's storage, which torch unpickles by itself."""

    def __reduce__(self) -> tuple[object, tuple[bytes]]:  # type: ignore[override]
        from torch.storage import _load_from_bytes

        return _load_from_bytes, (pickle.dumps(Hostile(Path(self.folder))),)


@pytest.mark.parametrize("hostile", [Hostile, HostileStorage])
def test_a_pickle_that_runs_code_is_refused_and_does_not_run(hostile: type[Hostile], tmp_path: Path) -> None:
    file = _pickled(tmp_path, hostile(tmp_path / "made"))

    with pytest.raises(BenchError, match="vectors .*prompts.p cannot be read") as refused:
        read_array(file, "vectors")

    assert not (tmp_path / "made").exists() and "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("what", "said"),
    [
        ({"a": VECTORS, "b": VECTORS}, "2 tensors"),
        ("words", "no array of numbers"),
        (np.array([[1.0, np.nan]]), "finite"),
        (np.array(["a"]), "no array of numbers"),
    ],
)
def test_what_is_no_array_is_refused(what: object, said: str, tmp_path: Path) -> None:
    with pytest.raises(BenchError, match=said):
        read_array(_pickled(tmp_path, what), "vectors")


def test_damaged_and_unknown_files_are_refused(tmp_path: Path) -> None:
    for name in ("a.npy", "a.safetensors", "a.p", "a.pth", "a.txt"):
        (tmp_path / name).write_bytes(b"not an array")
        with pytest.raises(BenchError, match=r"cannot be read|valid: \.npy"):
            read_array(tmp_path / name, "vectors")


@pytest.mark.parametrize("name", ["a.pt", "a.pth", "a.ckpt"])
def test_nobody_is_advised_to_run_a_files_code(name: str, tmp_path: Path) -> None:
    """As torch does where a pickle holds more than tensors, or is none."""
    (tmp_path / name).write_text("x")
    with pytest.raises(BenchError, match="cannot be read") as error:
        read_tensors(tmp_path / name, "vectors")
    assert "weights_only" not in str(error.value)


def test_named_tensors_of_plain_and_lightning_checkpoints(tmp_path: Path) -> None:
    state = {"weight": torch.ones(1, 3), "bias": torch.zeros(1)}
    torch.save(state, tmp_path / "plain.pth")
    torch.save({"state_dict": state, "epoch": 3}, tmp_path / "lightning.ckpt")

    for name in ("plain.pth", "lightning.ckpt"):
        found = read_tensors(tmp_path / name, "head")
        assert {key: value.tolist() for key, value in found.items()} == {"weight": [[1, 1, 1]], "bias": [0]}
    torch.save(torch.ones(3), tmp_path / "bare.pth")
    with pytest.raises(BenchError, match="no named tensors"):
        read_tensors(tmp_path / "bare.pth", "head")
