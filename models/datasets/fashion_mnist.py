"""Fashion-MNIST: 70,000 articles of clothing in MNIST's format."""

from pathlib import Path

from erasure_bench.models.datasets.base import DatasetCard, LabelledParts, PublishedFile
from erasure_bench.models.datasets.files import not_here
from erasure_bench.models.datasets.idx import NAMES, load_idx
from erasure_bench.prompt_suites.class_names import CLOTHES

FOLDERS = ("FashionMNIST/raw", "fashion-mnist", ".")
"""Where the files are looked for below the data folder: torchvision's place first."""
SIDE = 28


def load(data_dir: Path | None = None) -> LabelledParts:
    """From the four IDX files. Raises NotHere where there are none."""
    if found := load_idx(data_dir, FOLDERS, SIDE, len(CLOTHES)):
        return found
    debian = "Debian's package dataset-fashion-mnist"
    raise not_here("fashion-mnist", data_dir, FOLDERS, NAMES, debian)


CARD = DatasetCard(
    name="fashion-mnist",
    title="Fashion-MNIST, clothing, 28 × 28",
    classes=CLOTHES,
    channels=1,
    side=SIDE,
    licence="MIT",
    source="Xiao, Rasul and Vollgraf, Fashion-MNIST, 2017, arXiv:1708.07747",
    split="the publisher's 60,000 and 10,000",
    train=60_000,
    held_out=10_000,
    load=load,
    published=(
        PublishedFile("train-images-idx3-ubyte.gz", "8d4fb7e6c68d591d4c3dfef9ec88bf0d"),
        PublishedFile("train-labels-idx1-ubyte.gz", "25c81989df183df01b3e8a0aad5dffbe"),
        PublishedFile("t10k-images-idx3-ubyte.gz", "bef4ecab320f06d8554ea6380940ec79"),
        PublishedFile("t10k-labels-idx1-ubyte.gz", "bb300cfdad3c16e7a12a480ee83cd310"),
    ),
    torchvision="FashionMNIST",
)
