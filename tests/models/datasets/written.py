"""Writes small data sets in the binary formats of the published ones."""

import gzip
import pickle
import struct
from pathlib import Path
from typing import Any

import numpy as np

from erasure_bench.models.datasets import cifar10, idx, stl10


def pictures(count: int, channels: int, side: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, channels, side, side), dtype=np.uint8)


def labels(count: int) -> np.ndarray:
    return (np.arange(count) * 7 % 10).astype(np.uint8)


def idx_bytes(array: np.ndarray) -> bytes:
    head = struct.pack(">HBB", 0, 8, array.ndim) + struct.pack(f">{array.ndim}I", *array.shape)
    return head + array.tobytes()


def write_idx(folder: Path, train: int, test: int, *, gzipped: bool = False) -> None:
    """The four files of MNIST or Fashion-MNIST, with seeds 0 and 1."""
    folder.mkdir(parents=True, exist_ok=True)
    arrays = [pictures(train, 1, 28, 0)[:, 0], labels(train), pictures(test, 1, 28, 1)[:, 0], labels(test)]
    for name, array in zip(idx.NAMES, arrays, strict=True):
        data = idx_bytes(array)
        (folder / f"{name}{'.gz' * gzipped}").write_bytes(gzip.compress(data) if gzipped else data)


class _AsPython2(pickle._Pickler):
    """CIFAR-10's Python files were written by Python 2: text and bytes are one kind of string."""

    dispatch = dict(pickle._Pickler.dispatch)

    def _string(self, value: Any) -> None:
        data = value if isinstance(value, bytes) else value.encode("latin1")
        self.write(b"T" + struct.pack("<i", len(data)) + data)
        self.memoize(value)

    dispatch[bytes] = dispatch[str] = _string


def write_cifar(folder: Path, each: int, *, binary: bool) -> None:
    """Six batches, with seeds 0 to 5."""
    folder.mkdir(parents=True, exist_ok=True)
    for seed, name in enumerate((*cifar10.BATCHES, cifar10.TEST)):
        pixels, marks = pictures(each, 3, 32, seed).reshape(each, -1), labels(each)
        if binary:
            (folder / f"{name}.bin").write_bytes(np.hstack([marks[:, None], pixels]).tobytes())
        else:
            with (folder / name).open("wb") as file:
                found = {
                    "batch_label": name,
                    "labels": marks.tolist(),
                    "data": pixels,
                    "filenames": ["a.png"] * each,
                }
                _AsPython2(file, 2).dump(found)


def write_stl(folder: Path, train: int, test: int) -> None:
    """Four files, with seeds 0 and 1."""
    folder.mkdir(parents=True, exist_ok=True)
    for seed, (part, count) in enumerate((("train", train), ("test", test))):
        columns = pictures(count, 3, stl10.PUBLISHED_SIDE, seed).transpose(0, 1, 3, 2)
        (folder / f"{part}_X.bin").write_bytes(columns.tobytes())
        (folder / f"{part}_y.bin").write_bytes((labels(count) + 1).tobytes())
