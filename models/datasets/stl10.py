"""STL-10's labelled pictures at 64 × 64, the size at which Selective Amnesia trains on them."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from erasure_bench.errors import BenchError
from erasure_bench.models.datasets.base import DatasetCard, Labelled, LabelledParts, PublishedFile
from erasure_bench.models.datasets.files import content, find_files, not_here, origin
from erasure_bench.prompt_suites.class_names import STL10

PUBLISHED_SIDE, SIDE = 96, 64
FOLDERS = ("stl10_binary", "stl10")
NAMES = ("train_X.bin", "train_y.bin", "test_X.bin", "test_y.bin")


def load(data_dir: Path | None = None) -> LabelledParts:
    """5,000 training and 8,000 test pictures, made smaller. Raises NotHere where there are no files."""
    paths = find_files(data_dir, FOLDERS, NAMES)
    if paths is None:
        raise not_here("stl10", data_dir, FOLDERS, NAMES, "")
    train, held_out = (read_part(*pair) for pair in (paths[:2], paths[2:]))
    return LabelledParts(_smaller(train), _smaller(held_out), origin(paths))


def read_part(images: Path, labels: Path) -> Labelled:
    """A part at its own 96 × 96: red, green and blue planes, each column by column; labels 1 to 10."""
    data, marks = (np.frombuffer(content(path), np.uint8) for path in (images, labels))
    size = 3 * PUBLISHED_SIDE * PUBLISHED_SIDE
    if len(data) != len(marks) * size or not len(marks):
        raise BenchError(
            f"{images}: {len(data):,} bytes for the {len(marks):,} labels of {labels.name}, "
            f"should be {size:,} each: cut short or damaged; get the data set again"
        )
    if not 1 <= marks.min() <= marks.max() <= len(STL10):
        raise BenchError(f"{labels}: labels from {marks.min()} to {marks.max()}, should be 1 to {len(STL10)}")
    columns = data.reshape(-1, 3, PUBLISHED_SIDE, PUBLISHED_SIDE)
    return Labelled(np.ascontiguousarray(columns.transpose(0, 1, 3, 2)), marks.astype(np.int64) - 1)


def _smaller(pictures: Labelled) -> Labelled:
    """By Pillow, bilinear and antialiased, as torchvision's `Resize` does."""
    from PIL import Image

    def resized(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
        image = Image.fromarray(picture.transpose(1, 2, 0))
        return np.asarray(image.resize((SIDE, SIDE), Image.Resampling.BILINEAR)).transpose(2, 0, 1)

    return Labelled(np.stack([resized(picture) for picture in pictures.pixels]), pictures.labels)


CARD = DatasetCard(
    name="stl10",
    title="STL-10, its labelled pictures at 64 × 64",
    classes=STL10,
    channels=3,
    side=SIDE,
    licence="none stated by its authors; pictures come from ImageNet; not part of this project",
    source="Coates, Lee and Ng, An Analysis of Single Layer Networks in Unsupervised Feature Learning, 2011",
    split="the publisher's 5,000 and 8,000 labelled pictures",
    train=5_000,
    held_out=8_000,
    load=load,
    published=(PublishedFile("stl10_binary.tar.gz", "91f7769df0f17e558f3565bffb0c7dfb"),),
    torchvision="STL10",
)
