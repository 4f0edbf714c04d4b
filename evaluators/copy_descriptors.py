"""What tells a copy of a picture: a network that gives two copies of one picture the same direction.

Published ones are TorchScript files of SSCD (Pizzi et al., A Self-Supervised Descriptor for Image Copy
Detection, CVPR 2022). A built-in generator's oracle has one as well, which knows the pictures that the
generator has memorised.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, FiniteFloat, ValidationError

from erasure_bench.errors import BenchError, NotHere
from erasure_bench.evaluators.base import Pixels
from erasure_bench.evaluators.classifier_folder import DESCRIPTION_FILE, FolderClassifier
from erasure_bench.evaluators.digests import sha256_of
from erasure_bench.evaluators.pixel_batch import by_size, pixel_batch
from erasure_bench.evaluators.resizing import SHORTER_SIDE, refuse_narrow, shorter_side
from erasure_bench.evaluators.torchscript_network import open_torchscript

SIDE = 288
"""Pixels of the shorter side that SSCD is shown, as its authors and Concept Ablation do."""
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
SSCD_THRESHOLDS = (0.5, 0.75)
"""Above the one Concept Ablation calls a picture memorised; the other is SSCD's for 90 % precision."""

Descriptors = NDArray[np.float64]
Describe = Callable[[Sequence[Pixels]], Sequence[Descriptors]]
"""A descriptor [length], at length 1, for each picture."""


class Known(NamedTuple):
    """What comes with a descriptor: similarities above which a copy is seen, and pictures that it knows."""

    thresholds: tuple[float, ...]
    references: Mapping[str, Descriptors]


@dataclass(frozen=True)
class TorchScriptDescriptor:
    """The network in `path`: images [n, 3, height, width] to one descriptor each, [n, length]."""

    path: Path

    knows: ClassVar[bool] = False

    def protocol(self) -> Mapping[str, Any]:
        return {
            "weights_sha256": sha256_of(self.path),
            "resize": f"{SHORTER_SIDE}, {SIDE} pixels",
            "mean": list(MEAN),
            "std": list(STD),
        }

    def known(self) -> Known:
        return Known(SSCD_THRESHOLDS, {})

    def load(self, device: str) -> Describe:
        network = open_torchscript(self.path, device, "memorization")

        def describe(pixels: Sequence[Pixels]) -> list[Descriptors]:
            refuse_narrow(pixels)
            resized = [shorter_side(picture, SIDE) for picture in pixels]
            rows: dict[int, NDArray[Any]] = {}
            for places in by_size(resized):
                batch = pixel_batch([resized[place] for place in places], mean=MEAN, std=STD)
                rows |= zip(places, self._checked(network(batch), len(places)), strict=True)
            return [*unit(np.stack([rows[place] for place in range(len(rows))]))]

        return describe

    def _checked(self, given: Any, count: int) -> NDArray[Any]:
        if not isinstance(given, np.ndarray) or given.ndim != 2 or len(given) != count:
            shape = list(given.shape) if isinstance(given, np.ndarray) else type(given).__name__
            raise BenchError(
                f"{self.path} gives {shape} for {count} pictures, not one descriptor each: it is no SSCD "
                f"(--evaluator-option memorization.model=FILE)"
            )
        return given


class _OfOracle(BaseModel):
    threshold: FiniteFloat
    references: Mapping[str, tuple[FiniteFloat, ...]]


class _Card(BaseModel):
    """What is read here of an oracle's description."""

    descriptor: _OfOracle


@dataclass(frozen=True)
class OracleDescriptor:
    """The descriptor of an oracle's folder `path`; `name` is what the user called it."""

    path: Path
    name: str

    knows: ClassVar[bool] = True

    def protocol(self) -> Mapping[str, Any]:
        return FolderClassifier(self.path, self.name).protocol()

    def known(self) -> Known:
        card = self._card().descriptor
        references = {name: unit(np.asarray([vector])) for name, vector in card.references.items()}
        return Known((card.threshold,), {name: rows for name, rows in references.items() if rows.any()})

    def load(self, device: str) -> Describe:
        import torch

        self._card()  # which says so where there is no descriptor
        network, size = FolderClassifier(self.path, self.name).network()
        network = network.to(device).eval()
        if not hasattr(network, "descriptor"):
            raise BenchError(
                f"{self.name!r}: its oracle in {self.path} has no descriptor of copies "
                f"(--evaluator-option memorization.model=NAME or FILE)"
            )

        def describe(pixels: Sequence[Pixels]) -> list[Descriptors]:
            with torch.inference_mode():
                images = torch.from_numpy(pixel_batch(pixels, size)).to(device)
                return [*unit(network.descriptor(images).double().cpu().numpy())]

        return describe

    def _card(self) -> _Card:
        file = self.path / DESCRIPTION_FILE
        if not file.is_file():
            raise NotHere(
                f"{self.name!r}: {DESCRIPTION_FILE} is missing, looked in {self.path} "
                f"(--evaluator-option memorization.model=FOLDER)"
            )
        try:
            return _Card.model_validate_json(file.read_text(encoding="utf-8"))
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"]))
            raise BenchError(
                f"{file}: {where or 'content'}: {first['msg']}: it has no descriptor of copies"
            ) from error


def unit(vectors: NDArray[Any]) -> Descriptors:
    """The rows [n, length] at length 1; one of zeros stays."""
    lengths = np.linalg.norm(vectors.astype(np.float64), axis=1, keepdims=True)
    return vectors.astype(np.float64) / np.where(lengths == 0, 1.0, lengths)
