"""The 1,797 handwritten digits that scikit-learn brings: 8 × 8 pixels in 17 levels."""

from pathlib import Path

import numpy as np

from erasure_bench.models.datasets.base import DatasetCard, Labelled, LabelledParts, every_fifth_held_out
from erasure_bench.prompt_suites.class_names import DIGITS

BRIGHTEST = 16
"""The data's own white."""


def load(data_dir: Path | None = None) -> LabelledParts:
    """Brightness 0 to 16 becomes 0 to 255, the nearest whole number; needs no folder."""
    import sklearn
    from sklearn.datasets import load_digits

    found = load_digits()
    pixels = np.rint(found.images * (255 / BRIGHTEST)).astype(np.uint8)[:, None]
    pictures = Labelled(pixels, found.target.astype(np.int64))
    return every_fifth_held_out(pictures, f"scikit-learn {sklearn.__version__}")


CARD = DatasetCard(
    name="digits",
    title="Handwritten digits, 8 × 8",
    classes=DIGITS,
    channels=1,
    side=8,
    licence="CC BY 4.0 (UCI Machine Learning Repository); in scikit-learn, BSD-3-Clause",
    source="Alpaydin and Kaynak, Optical Recognition of Handwritten Digits, 1998: the test part at UCI",
    split="of each class every fifth picture is held out",
    train=1442,
    held_out=355,
    load=load,
)
