"""CIFAR-10, from the publisher's binary files or from its Python ones (torchvision's)."""

import io
import pickle
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from erasure_bench.errors import BenchError
from erasure_bench.models.datasets.base import DatasetCard, Labelled, LabelledParts, PublishedFile
from erasure_bench.models.datasets.files import content, find_files, not_here, origin
from erasure_bench.prompt_suites.class_names import CIFAR10

SIDE = 32
PIXELS = 3 * SIDE * SIDE
BATCHES = tuple(f"data_batch_{number}" for number in range(1, 6))
TEST = "test_batch"
PYTHON_FOLDERS = ("cifar-10-batches-py", "cifar10")
BINARY_FOLDERS = ("cifar-10-batches-bin", "cifar10")


def load(data_dir: Path | None = None) -> LabelledParts:
    """Five training batches and the test batch. Raises NotHere where there are neither kind of files."""
    python_names = (*BATCHES, TEST)
    binary_names = tuple(f"{name}.bin" for name in python_names)
    kinds: tuple[tuple[Sequence[str], Sequence[str], Callable[[Path], Labelled]], ...] = (
        (PYTHON_FOLDERS, python_names, read_python_batch),
        (BINARY_FOLDERS, binary_names, read_binary_batch),
    )
    for folders, names, read in kinds:
        if paths := find_files(data_dir, folders, names):
            *training, test = map(read, paths)
            train = Labelled(
                np.concatenate([batch.pixels for batch in training]),
                np.concatenate([batch.labels for batch in training]),
            )
            return LabelledParts(train, test, origin(paths))
    binary = f"the publisher's binary files, {binary_names[0]} and so on, in {BINARY_FOLDERS[0]}"
    raise not_here(
        "cifar10", data_dir, (PYTHON_FOLDERS[0], BINARY_FOLDERS[0], "cifar10"), python_names, binary
    )


def read_binary_batch(path: Path) -> Labelled:
    """Rows of one label byte and 3,072 pixel bytes: red, green and blue planes. Raises BenchError."""
    data = np.frombuffer(content(path), np.uint8)
    if not len(data) or len(data) % (1 + PIXELS):
        raise BenchError(f"{path}: {len(data):,} bytes are no rows of 1 + {PIXELS:,}: cut short or damaged")
    rows = data.reshape(-1, 1 + PIXELS)
    return _labelled(rows[:, 1:], rows[:, 0], path)


def read_python_batch(path: Path) -> Labelled:
    """A pickled dictionary with `data` [n, 3072] and `labels`. Raises BenchError for any other pickle."""
    try:
        found = _Batch(io.BytesIO(content(path)), encoding="latin1").load()
        return _labelled(np.asarray(found["data"]), np.asarray(found["labels"]), path)
    except BenchError:
        raise
    except Exception as error:  # what a damaged pickle ends in
        why = " ".join(str(error).split())[:200] or type(error).__name__
        raise BenchError(f"{path}: no batch of CIFAR-10: {why}; get the data set again") from error


def _labelled(pixels: Any, labels: Any, path: Path) -> Labelled:
    if pixels.dtype != np.uint8 or pixels.shape != (len(labels), PIXELS):
        raise BenchError(f"{path}: pixels of shape {list(pixels.shape)} for {len(labels)} labels")
    if not 0 <= labels.min() <= labels.max() < len(CIFAR10):
        raise BenchError(
            f"{path}: labels from {labels.min()} to {labels.max()}, should be 0 to {len(CIFAR10) - 1}"
        )
    return Labelled(pixels.reshape(-1, 3, SIDE, SIDE).copy(), labels.astype(np.int64))


class _Batch(pickle.Unpickler):
    """A pickle is a program: this one may make arrays and nothing else."""

    def find_class(self, module: str, name: str) -> Any:
        known = {"_reconstruct", "ndarray", "dtype"}
        arrays = module in ("numpy", "numpy.core.multiarray", "numpy._core.multiarray") and name in known
        if not arrays and (module, name) != ("_codecs", "encode"):
            raise pickle.UnpicklingError(f"it calls {module}.{name}, which is no array")
        return super().find_class(module.replace("numpy.core", "numpy._core"), name)


CARD = DatasetCard(
    name="cifar10",
    title="CIFAR-10, 32 × 32",
    classes=CIFAR10,
    channels=3,
    side=SIDE,
    licence="none stated by its authors; not part of this project",
    source="Krizhevsky, Learning Multiple Layers of Features from Tiny Images, 2009",
    split="the publisher's 50,000 and 10,000",
    train=50_000,
    held_out=10_000,
    load=load,
    published=(
        PublishedFile("cifar-10-python.tar.gz", "c58f30108f718f92721af3b95e74349a"),
        PublishedFile("cifar-10-binary.tar.gz", "c32a1d4ab5d03f1284b67883e8d87530"),
    ),
    torchvision="CIFAR10",
)
