"""Pictures with the class that each shows: what a class-conditional base model is trained on.

The condition that such a model is asked by is the class's name, in the place of a prompt's text: "3",
"airplane". So suites, plan, store and methods need no other word for it. A base is named after its data
and its kind: `digits-vae`, `digits-ddpm`, `mnist-vae`, `fashion-mnist-vae`, `cifar10-ddpm`, `stl10-ddpm`.
"""

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, kw_only=True, eq=False)
class LabelledPictures:
    """n pictures of one size.

    `pixels` are uint8 [n, height, width, channels], grey (one channel) or RGB (three); `labels` int64 [n]
    are places in `classes`, the classes' names. `name` is the data set's. `digest` is the lower-case hex
    SHA-256 of what the pictures were read from: two with one digest hold the same pictures.
    """

    name: str
    pixels: NDArray[np.uint8]
    labels: NDArray[np.int64]
    classes: tuple[str, ...]
    digest: str

    def __post_init__(self) -> None:
        """Raises ValueError where shapes, dtypes or labels are not as said."""
        if self.pixels.dtype != np.uint8 or self.pixels.ndim != 4 or self.pixels.shape[-1] not in (1, 3):
            raise ValueError(f"{self.name}: pixels {self.pixels.dtype} {self.pixels.shape}")
        if self.labels.dtype != np.int64 or self.labels.shape != self.pixels.shape[:1]:
            raise ValueError(f"{self.name}: labels {self.labels.dtype} {self.labels.shape}")
        if len(self.labels) and not 0 <= self.labels.min() <= self.labels.max() < len(self.classes):
            raise ValueError(f"{self.name}: labels beyond the {len(self.classes)} classes")

    def __len__(self) -> int:
        return len(self.labels)

    def without(self, classes: frozenset[str]) -> Self:
        """The pictures that show none of these classes; the classes themselves stay in the list.

        Raises ValueError where nothing is left.
        """
        gone = [place for place, name in enumerate(self.classes) if name in classes]
        kept = ~np.isin(self.labels, gone)
        if not kept.any():
            raise ValueError(f"{self.name}: no picture is left without {', '.join(sorted(classes))}")
        return type(self)(
            name=self.name,
            pixels=self.pixels[kept],
            labels=self.labels[kept],
            classes=self.classes,
            digest=self.digest,
        )
