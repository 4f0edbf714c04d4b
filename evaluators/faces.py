"""Faces in pictures: what every face recogniser gives, however it finds and reads them."""

import hashlib
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from erasure_bench.evaluators.base import Pixels

Features = NDArray[np.float64]
Distance = Literal["cosine", "Euclidean"]

REMEMBERED = 16_384
"""Faces of so many pictures are kept: every set is held against the same ones of the base model."""


class Box(NamedTuple):
    """Where a face is, in pixels of the picture (edges may lie outside of it), and how sure the detector is.

    Scores of different detectors have different scales.
    """

    left: float
    top: float
    right: float
    bottom: float
    score: float

    @property
    def area(self) -> float:
        return max(0.0, self.right - self.left) * max(0.0, self.bottom - self.top)


class Face(NamedTuple):
    """A face and what a recogniser makes of it: an embedding [d], or a probability for each name it knows."""

    box: Box
    features: Features


class FaceDetector(Protocol):
    """Finds faces."""

    def find(self, pixels: Sequence[Pixels]) -> list[list[Box]]:
        """Of each RGB picture, sizes may differ, the faces, the surest first."""
        ...


class FaceReader(Protocol):
    """Finds faces and reads them."""

    def read(self, pixels: Sequence[Pixels]) -> list[list[Face]]:
        """Of each RGB picture, sizes may differ, the faces, the surest first."""
        ...


class NamingReader(FaceReader, Protocol):
    """A reader whose features are probabilities of `names`."""

    @property
    def names(self) -> tuple[str, ...]: ...


class _Source(Protocol):
    """Where a reader comes from: cheap to make and hashable, loads on demand.

    `reads` are the evaluator's settings that it takes.
    """

    reads: ClassVar[tuple[str, ...]]

    def __hash__(self) -> int: ...

    def protocol(self) -> Mapping[str, Any]:
        """What decides whether two of its numbers can be compared."""
        ...


class EmbeddingSource(_Source, Protocol):
    """A recogniser that tells faces apart by the distance of their embeddings."""

    distance: ClassVar[Distance]

    def load(self, device: str) -> FaceReader: ...


class NamingSource(_Source, Protocol):
    """A recogniser that knows faces by name."""

    def load(self, device: str) -> NamingReader: ...


class FaceMemory:
    """A reader that reads no picture twice."""

    def __init__(self, reader: FaceReader) -> None:
        self._reader = reader
        self._known: OrderedDict[str, list[Face]] = OrderedDict()

    def read(self, pixels: Sequence[Pixels]) -> list[list[Face]]:
        """As `FaceReader.read`; what fails is not remembered."""
        keys = [f"{each.shape} {hashlib.blake2b(each.tobytes()).hexdigest()}" for each in pixels]
        new = {key: each for key, each in zip(keys, pixels, strict=True) if key not in self._known}
        if new:
            self._known.update(zip(new, self._reader.read(list(new.values())), strict=True))
        found = [self._known[key] for key in keys]
        for key in keys:
            self._known.move_to_end(key)
        while len(self._known) > REMEMBERED:
            self._known.popitem(last=False)
        return found


def surest_first(faces: Sequence[Face]) -> list[Face]:
    """By the detector's score."""
    return sorted(faces, key=lambda face: -face.box.score)


def largest(faces: Sequence[Face]) -> Face:
    """The face that a portrait is of; the surer of two of one size."""
    return max(faces, key=lambda face: (face.box.area, face.box.score))


def distances(one: Features, others: Features, kind: Distance) -> Features:
    """[n, m] between embeddings [n, d] and [m, d]: 1 − cosine in [0, 2], or Euclidean."""
    if kind == "cosine":
        unit = [rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (one, others)]
        return np.clip(1.0 - unit[0] @ unit[1].T, 0.0, 2.0)
    squared = (one**2).sum(axis=1)[:, None] + (others**2).sum(axis=1) - 2.0 * one @ others.T
    return np.sqrt(np.maximum(squared, 0.0))
