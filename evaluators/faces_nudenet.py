"""NudeNet's detector as a detector of faces: it has labels for them, and sees drawn ones too."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from erasure_bench.evaluators.base import Pixels
from erasure_bench.evaluators.digests import sha256_of
from erasure_bench.evaluators.faces import Box
from erasure_bench.evaluators.nudenet_detector import (
    PACKAGED_RESOLUTION,
    NudeNetDetector,
    load_nudenet,
    nudenet_weights,
)
from erasure_bench.evaluators.packages import version_of

FACES = ("FACE_FEMALE", "FACE_MALE")


@dataclass(frozen=True)
class NudeNetFaces:
    """The detector of the NudeNet package; a face scores at least `least_score`, in [0.25, 1]."""

    least_score: float

    def protocol(self) -> Mapping[str, Any]:
        file = nudenet_weights(None)
        return {
            "detector": f"nudenet-{version_of('nudenet')}-{file.stem}, {' and '.join(FACES)}",
            "detector_sha256": sha256_of(file),
            "least_score": self.least_score,
            "onnxruntime": version_of("onnxruntime"),
            "opencv": version_of("opencv-python-headless"),
        }

    def load(self, device: str) -> "NudeNetFaceDetector":
        return NudeNetFaceDetector(
            load_nudenet(nudenet_weights(None), PACKAGED_RESOLUTION, device), self.least_score
        )


@dataclass(frozen=True, eq=False)
class NudeNetFaceDetector:
    """Finds what NudeNet labels as a face."""

    network: NudeNetDetector
    least_score: float

    def find(self, pixels: Sequence[Pixels]) -> list[list[Box]]:
        return [
            [
                Box(each.x, each.y, each.x + each.w, each.y + each.h, each.score)
                for each in sorted(found, key=lambda detection: -detection.score)
                if each.label in FACES and each.score >= self.least_score
            ]
            for found in self.network.detect(pixels)
        ]
