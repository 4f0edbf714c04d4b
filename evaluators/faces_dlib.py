"""dlib's face recogniser: HOG or CNN detector, five landmarks, embeddings of 128 numbers.

King, Dlib-ml: A Machine Learning Toolkit, JMLR 2009. The networks come in the package
`face-recognition-models`; its file of 68 landmarks, whose licence excludes commercial use, is not touched.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np

from erasure_bench.errors import BenchError, NotHere
from erasure_bench.evaluators.base import Pixels
from erasure_bench.evaluators.digests import sha256_of
from erasure_bench.evaluators.faces import Box, Distance, Face, surest_first
from erasure_bench.evaluators.packages import package_folder, required_module, version_of

DlibDetector = Literal["hog", "cnn"]
Find = Callable[[Pixels], Sequence[tuple[Any, float]]]

NEEDED_BY = "celebrity"
EXTRA = "erasure-bench[faces]"
LANDMARKS = "shape_predictor_5_face_landmarks.dat"
EMBEDDING = "dlib_face_recognition_resnet_model_v1.dat"
CNN = "mmod_human_face_detector.dat"


@dataclass(frozen=True)
class DlibFaces:
    """dlib with the networks of the package `face-recognition-models`.

    `upsample` doublings of the picture come before the detector, which sees faces from about 80 pixels
    (HOG) or 40 (CNN) upwards. Detections below `least_score` (HOG: distance to its margin; CNN: confidence)
    or of a side shorter than `smallest` pixels are no faces.
    """

    detector: DlibDetector
    upsample: int
    smallest: int
    least_score: float

    reads: ClassVar[tuple[str, ...]] = ("dlib_detector", "upsample", "smallest", "least_score", "threshold")
    distance: ClassVar[Distance] = "Euclidean"

    def protocol(self) -> Mapping[str, Any]:
        return {
            "recogniser": "dlib_face_recognition_resnet_model_v1",
            "detector": f"dlib-{self.detector}",
            "weights_sha256": {file.name: sha256_of(file) for file in self._files()},
            "upsample": self.upsample,
            "smallest": self.smallest,
            "least_score": self.least_score,
            "input": "RGB array, aligned by five landmarks, padding 0.25, no jitter",
            "dlib": version_of("dlib-bin", "dlib"),  # ready-made, or built on this machine
        }

    def load(self, device: str) -> "DlibReader":
        if device != "cpu":
            raise BenchError(f"dlib runs on the CPU here, not on {device!r} (--evaluator-option device=cpu)")
        dlib = required_module("dlib", EXTRA, NEEDED_BY)
        landmarks, embedding, *cnn = map(str, self._files())
        return DlibReader(
            self,
            _cnn(dlib, cnn[0], self.upsample) if cnn else _hog(dlib, self.upsample),
            dlib.shape_predictor(landmarks),
            dlib.face_recognition_model_v1(embedding),
        )

    def _files(self) -> list[Path]:
        folder = package_folder("face_recognition_models", EXTRA, NEEDED_BY) / "models"
        names = [LANDMARKS, EMBEDDING] + [CNN] * (self.detector == "cnn")
        files = [folder / name for name in names]
        if lacking := [file for file in files if not file.is_file()]:
            raise NotHere(
                f"the package face-recognition-models lacks {lacking[0].name}, looked in {folder}: "
                f"pip install --force-reinstall face-recognition-models"
            )
        return files


@dataclass(frozen=True, eq=False)
class DlibReader:
    """Detector, landmarks and embedding, one picture after the other: the library has no faster way here."""

    settings: DlibFaces
    find: Find
    landmarks: Any
    embedding: Any

    def read(self, pixels: Sequence[Pixels]) -> list[list[Face]]:
        return [surest_first(self._faces(np.ascontiguousarray(picture))) for picture in pixels]

    def _faces(self, picture: Pixels) -> list[Face]:
        faces = []
        for place, score in self.find(picture):
            small = min(place.width(), place.height()) < self.settings.smallest
            if small or score < self.settings.least_score:
                continue
            described = self.embedding.compute_face_descriptor(picture, self.landmarks(picture, place))
            edges = (place.left(), place.top(), place.right(), place.bottom())
            box = Box(*map(float, (*edges, score)))
            faces.append(Face(box, np.array(described, dtype=np.float64)))
        return faces


def _hog(dlib: Any, upsample: int) -> Find:
    detector = dlib.get_frontal_face_detector()

    def find(picture: Pixels) -> list[tuple[Any, float]]:
        places, scores, _ = detector.run(picture, upsample, 0.0)
        return list(zip(places, scores, strict=True))

    return find


def _cnn(dlib: Any, file: str, upsample: int) -> Find:
    detector = dlib.cnn_face_detection_model_v1(file)
    return lambda picture: [(found.rect, found.confidence) for found in detector(picture, upsample)]
