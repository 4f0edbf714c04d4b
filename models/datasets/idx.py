"""The IDX format of MNIST and Fashion-MNIST (LeCun, Cortes and Burges): a header, then bytes."""

import math
import struct
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from erasure_bench.errors import BenchError
from erasure_bench.models.datasets.base import Labelled, LabelledParts
from erasure_bench.models.datasets.files import content, find_files, origin

UNSIGNED_BYTES = 8
"""The header's code for the only type that these data sets have."""
NAMES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)


def read_idx(path: Path, dimensions: int) -> NDArray[np.uint8]:
    """The array of `dimensions` in an IDX file, plain or .gz.

    The header is two zero bytes, the code of the type, the number of dimensions, then each length as a
    big-endian 32-bit number. Raises BenchError where the file is something else or its length does not fit.
    """
    data = content(path)
    head = 4 + 4 * dimensions
    if data[:4] != bytes((0, 0, UNSIGNED_BYTES, dimensions)) or len(data) < head:
        raise BenchError(f"{path}: no IDX file of bytes in {dimensions} dimensions; get the data set again")
    shape = struct.unpack(f">{dimensions}I", data[4:head])
    if len(data) - head != math.prod(shape):
        size = " × ".join(map(str, shape))
        raise BenchError(
            f"{path}: {len(data) - head:,} bytes for {size}, should be {math.prod(shape):,}: cut short or "
            "damaged; get the data set again"
        )
    return np.frombuffer(data, np.uint8, offset=head).reshape(shape)


def load_idx(data_dir: Path | None, folders: Sequence[str], side: int, classes: int) -> LabelledParts | None:
    """The training and the test files as training and held-out part; None where there are none."""
    paths = find_files(data_dir, folders, NAMES)
    if paths is None:
        return None
    train = labelled(paths[0], paths[1], side, classes)
    held_out = labelled(paths[2], paths[3], side, classes)
    return LabelledParts(train, held_out, origin(paths))


def labelled(images: Path, labels: Path, side: int, classes: int) -> Labelled:
    """A part from its two files. Raises BenchError where they do not fit one another or the data set."""
    pixels, marks = read_idx(images, 3), read_idx(labels, 1)
    if pixels.shape[1:] != (side, side):
        raise BenchError(
            f"{images}: pictures of {pixels.shape[1]} × {pixels.shape[2]} pixels, not {side} × {side}"
        )
    if len(pixels) != len(marks):
        raise BenchError(f"{labels}: {len(marks):,} labels for {len(pixels):,} pictures of {images.name}")
    if len(marks) and marks.max() >= classes:
        raise BenchError(f"{labels}: label {marks.max()}, the last one should be {classes - 1}")
    return Labelled(pixels[:, None].copy(), marks.astype(np.int64))
