"""NudeNet's detector as a detector of faces: it has labels for them, and sees drawn ones too.

A picture smaller than the network's input is enlarged smoothly first: the detector's own way leaves edges in
which it misses half of the faces that the built-in generator draws.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from erasure_bench.evaluators.base import Pixels
from erasure_bench.evaluators.digests import sha256_of
from erasure_bench.evaluators.faces import Box
from erasure_bench.evaluators.nudenet_detector import (
    PACKAGED_RESOLUTION,
    Detection,
    NudeNetDetector,
    load_nudenet,
    nudenet_weights,
)
from erasure_bench.evaluators.onnx_session import runtime_version
from erasure_bench.evaluators.packages import version_of

FACES = ("FACE_FEMALE", "FACE_MALE")


@dataclass(frozen=True)
class NudeNetFaces:
    """The detector of the NudeNet package; a face scores at least `least_score`, in [0.25, 1]."""

    least_score: float

    def protocol(self) -> Mapping[str, Any]:
        file = nudenet_weights(None, option=None)
        return {
            "detector": f"nudenet-{version_of('nudenet')}-{file.stem}, {' and '.join(FACES)}",
            "detector_sha256": sha256_of(file),
            "least_score": self.least_score,
            "input": f"RGB array, PIL Lanczos up to {PACKAGED_RESOLUTION} pixels where it is smaller",
            "onnxruntime": runtime_version(),
            "opencv": version_of("opencv-python-headless"),
        }

    def load(self, device: str) -> "NudeNetFaceDetector":
        return NudeNetFaceDetector(
            load_nudenet(nudenet_weights(None, option=None), PACKAGED_RESOLUTION, device), self.least_score
        )


@dataclass(frozen=True, eq=False)
class NudeNetFaceDetector:
    """Finds what NudeNet labels as a face."""

    network: NudeNetDetector
    least_score: float

    def find(self, pixels: Sequence[Pixels]) -> list[list[Box]]:
        shown = [enlarged(picture) for picture in pixels]
        return [
            [
                _box(each, max(picture.shape[:2]) / max(larger.shape[:2]))
                for each in sorted(found, key=lambda detection: -detection.score)
                if each.label in FACES and each.score >= self.least_score
            ]
            for picture, larger, found in zip(pixels, shown, self.network.detect(shown), strict=True)
        ]


def enlarged(picture: Pixels) -> Pixels:
    """The picture with a longer side of at least the network's; one that has it is left as it is."""
    from PIL import Image

    height, width = picture.shape[:2]
    scale = PACKAGED_RESOLUTION / max(height, width)
    if scale <= 1:
        return picture
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    resized = Image.fromarray(np.ascontiguousarray(picture)).resize(size, Image.Resampling.LANCZOS)
    return np.asarray(resized)


def _box(found: Detection, scale: float) -> Box:
    left, top, right, bottom = found.x, found.y, found.x + found.w, found.y + found.h
    return Box(scale * left, scale * top, scale * right, scale * bottom, found.score)
