"""What a data set is: labelled pictures in two fixed parts, and a card that says where they come from."""

import hashlib
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

HELD_OUT_EVERY = 5
"""Where nobody fixed a split: of so many pictures of a class, in the data's order, the last is held out."""


class Labelled(NamedTuple):
    """Pictures uint8 [n, channels, side, side], one channel or RGB, and their classes int64 [n]."""

    pixels: NDArray[np.uint8]
    labels: NDArray[np.int64]

    def of(self, classes: Collection[int]) -> "Labelled":
        """Those of some classes, by index."""
        kept = np.isin(self.labels, list(classes))
        return Labelled(self.pixels[kept], self.labels[kept])

    @property
    def channels(self) -> Literal[1, 3]:
        """One for grey pictures, three for RGB."""
        return 1 if self.pixels.shape[1] == 1 else 3

    def joined(self, other: "Labelled") -> "Labelled":
        """These pictures, then the other ones."""
        return Labelled(
            np.concatenate([self.pixels, other.pixels]), np.concatenate([self.labels, other.labels])
        )

    def rgb(self) -> NDArray[np.uint8]:
        """The pictures as evaluators see them, [n, side, side, 3]."""
        three = np.broadcast_to(self.pixels, (len(self.pixels), 3, *self.pixels.shape[2:]))
        return np.ascontiguousarray(three.transpose(0, 2, 3, 1))


class LabelledParts(NamedTuple):
    """What is trained on and what is never trained on; `origin` says which files or package gave them."""

    train: Labelled
    held_out: Labelled
    origin: str

    def digest(self) -> str:
        """Lower-case hex SHA-256 of all pixels and labels: which pictures, from whatever file."""
        whole = hashlib.sha256()
        for part in (self.train, self.held_out):
            for array in part:
                whole.update(f"{array.dtype} {array.shape}\n".encode())
                whole.update(np.ascontiguousarray(array).tobytes())
        return whole.hexdigest()


class PublishedFile(NamedTuple):
    """A file as its publisher names it, and the MD5 that the publisher or torchvision gives for it."""

    name: str
    md5: str


@dataclass(frozen=True, kw_only=True)
class DatasetCard:
    """A data set before it is read.

    `classes` are its labels in their order, `channels` 1 or 3, `side` pixels. `split` says how the held-out
    part is chosen. `load` takes the folder of the user's data, if any, and raises BenchError where the data
    are not there or damaged. `published` are the files that upstream offers, `torchvision` the class of
    `torchvision.datasets` that downloads them; `train` and `held_out` say how many pictures the parts have.
    """

    name: str
    title: str
    classes: tuple[str, ...]
    channels: int
    side: int
    licence: str
    source: str
    split: str
    train: int
    held_out: int
    load: Callable[[Path | None], LabelledParts]
    published: tuple[PublishedFile, ...] = ()
    torchvision: str | None = None


def every_fifth_held_out(pictures: Labelled, origin: str) -> LabelledParts:
    """Of each class the 5th, 10th, 15th … picture in the data's order is held out; the others train.

    The two have the same mixture of writers: neighbours in the data may be of one hand.
    """
    held_out = np.zeros(len(pictures.labels), dtype=bool)
    for label in np.unique(pictures.labels):
        places = np.flatnonzero(pictures.labels == label)
        held_out[places[HELD_OUT_EVERY - 1 :: HELD_OUT_EVERY]] = True
    train, rest = (Labelled(pictures.pixels[kept], pictures.labels[kept]) for kept in (~held_out, held_out))
    return LabelledParts(train, rest, origin)
