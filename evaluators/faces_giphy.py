"""GIPHY's celebrity detector: a detector of faces and a classifier of their crops, each by its own file.

Hasty, Kroosh, Voitekh, Korduban, GIPHY's open source celebrity detector, 2018 (MTCNN; ResNet-50 over 2,306
names). Crop, margin and size are upstream's: a tenth of the box more on each side, 224 × 224 bilinear,
colours in [0, 1].
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np

from erasure_bench.errors import BenchError, NotHere
from erasure_bench.evaluators.base import Pixels
from erasure_bench.evaluators.digests import sha256_of
from erasure_bench.evaluators.face_detector_file import FileDetector
from erasure_bench.evaluators.faces import Box, Face, FaceDetector
from erasure_bench.evaluators.faces_nudenet import NudeNetFaces
from erasure_bench.evaluators.giphy_labels import are_upstreams, celebrity_names
from erasure_bench.evaluators.labelled_classifier import distributions
from erasure_bench.evaluators.network_outputs import Outputs, open_outputs
from erasure_bench.evaluators.onnx_session import runtime_version
from erasure_bench.evaluators.pixel_batch import pixel_batch
from erasure_bench.user_paths import user_path

NEEDED_BY = "celebrity"
NUDENET = "nudenet"
GIPHYS = "GIPHY celebrity detector"
SIDE = 224
MARGIN = 0.2
CROPS = 32
"""Of so many at a time the classifier says who they are."""


@dataclass(frozen=True)
class GiphyFaces:
    """Detector and classifier in files; the detector may be `nudenet`, which is another than the papers'."""

    detector: str | None
    classifier: str | None
    labels: str | None
    output: Literal["logits", "probabilities"]
    least_score: float

    reads: ClassVar[tuple[str, ...]] = ("detector", "model", "labels", "output", "least_score")

    def protocol(self) -> Mapping[str, Any]:
        weights, names = sha256_of(self._classifier_file()), celebrity_names(self.labels)
        return {
            "recogniser": GIPHYS if self._is_giphys() else "detector and classifier of face crops",
            "weights_sha256": weights,
            "names_sha256": hashlib.sha256("\n".join(names).encode()).hexdigest(),
            **self._detector().protocol(),
            "output": self.output,
            "crop": f"margin {MARGIN}, PIL bilinear to {SIDE}",
            "onnxruntime": runtime_version(),
        }

    def load(self, device: str) -> "GiphyReader":
        names = tuple(celebrity_names(self.labels))
        run = open_outputs(self._classifier_file(), device, NEEDED_BY)
        return GiphyReader(self._detector().load(device), run, names, self.output == "logits")

    def _detector(self) -> NudeNetFaces | FileDetector:
        if self.detector == NUDENET:
            return NudeNetFaces(self.least_score)
        return FileDetector(_given(self.detector, "detector", f"or {NUDENET}"), self.least_score)

    def _is_giphys(self) -> bool:
        """By its names and its files' owner: what converted weights were made from cannot be seen in them."""
        return self.detector != NUDENET and are_upstreams(self.labels)

    def _classifier_file(self) -> Path:
        return _given(self.classifier, "model", "logits or probabilities of 224 × 224 crops")


def _given(path: str | None, option: str, what: str) -> Path:
    file = user_path(path) if path else None
    if file is None or not file.is_file():
        raise NotHere(
            f"GIPHY's celebrity detector: no file for its {option}, looked for {path or 'none is named'}: "
            f"convert upstream's weights (Giphy/celeb-detection-oss) to ONNX or TorchScript, then "
            f"--evaluator-option celebrity.{option}=FILE ({what})"
        )
    return file


@dataclass(frozen=True, eq=False)
class GiphyReader:
    """A detector, and a network from crops [n, 3, 224, 224] to [n, names]."""

    detector: FaceDetector
    classify: Callable[[Any], Outputs]
    names: tuple[str, ...]
    gives_logits: bool

    def read(self, pixels: Sequence[Pixels]) -> list[list[Face]]:
        boxes = self.detector.find(pixels)
        crops = [crop_of(picture, box) for picture, found in zip(pixels, boxes, strict=True) for box in found]
        answers = iter(
            [
                row
                for start in range(0, len(crops), CROPS)
                for row in self._named(crops[start : start + CROPS])
            ]
        )
        return [
            [Face(box, answer) for box, answer in zip(found, islice(answers, len(found)), strict=True)]
            for found in boxes
        ]

    def _named(self, crops: Sequence[Pixels]) -> Any:
        (output,) = self.classify(pixel_batch(crops))[:1]
        if output.shape != (len(crops), len(self.names)):
            raise BenchError(
                f"the classifier gives {list(output.shape)} for {len(crops)} faces and {len(self.names)} "
                f"names: its labels do not fit it (--evaluator-option celebrity.labels=FILE)"
            )
        return distributions(output, self.gives_logits, "--evaluator-option celebrity.output")


def crop_of(picture: Pixels, box: Box) -> Pixels:
    """The face [SIDE, SIDE, 3] with its margin. Raises ValueError where the box is outside of the picture."""
    from PIL import Image

    height, width = picture.shape[:2]
    x_margin, y_margin = int((box.right - box.left) * MARGIN), int((box.bottom - box.top) * MARGIN)
    left, top = int(max(box.left - x_margin / 2, 0)), int(max(box.top - y_margin / 2, 0))
    right, bottom = int(min(box.right + x_margin / 2, width)), int(min(box.bottom + y_margin / 2, height))
    if left >= right or top >= bottom:
        raise ValueError(f"the detector's box {tuple(map(round, box[:4]))} lies outside of the picture")
    crop = Image.fromarray(np.ascontiguousarray(picture[top:bottom, left:right]))
    return np.asarray(crop.resize((SIDE, SIDE), Image.Resampling.BILINEAR))
