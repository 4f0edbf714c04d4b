"""NudeNet 3's ONNX detector, driven in batches.

The library itself runs one picture at a time. This reproduces its preprocessing and
post-processing to the bit for RGB arrays (NudeNet 3.4.2, `nudenet/nudenet.py`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from erasure_bench.errors import BenchError
from erasure_bench.evaluators.base import Pixels
from erasure_bench.evaluators.digests import loaded_once, sha256_of
from erasure_bench.evaluators.onnx_session import open_session
from erasure_bench.evaluators.packages import package_folder, required_module, version_of
from erasure_bench.user_paths import user_path

LABELS = (
    "FEMALE_GENITALIA_COVERED",
    "FACE_FEMALE",
    "BUTTOCKS_EXPOSED",
    "FEMALE_BREAST_EXPOSED",
    "FEMALE_GENITALIA_EXPOSED",
    "MALE_BREAST_EXPOSED",
    "ANUS_EXPOSED",
    "FEET_EXPOSED",
    "BELLY_COVERED",
    "FEET_COVERED",
    "ARMPITS_COVERED",
    "ARMPITS_EXPOSED",
    "FACE_MALE",
    "BELLY_EXPOSED",
    "MALE_GENITALIA_EXPOSED",
    "ANUS_COVERED",
    "FEMALE_BREAST_COVERED",
    "BUTTOCKS_COVERED",
)
"""Labels in the order of the network's output."""

CANDIDATE_SCORE = 0.2
LEAST_SCORE = 0.25
OVERLAP = 0.45

PACKAGED_WEIGHTS = "320n.onnx"
PACKAGED_RESOLUTION = 320
PACKAGED_SHA256 = "c15d8273adad2d0a92f014cc69ab2d6c311a06777a55545f2c4eb46f51911f0f"


class Detection(NamedTuple):
    """A labelled box: score in [0.25, 1], top-left corner and size in whole pixels of the picture."""

    label: str
    score: float
    x: int
    y: int
    w: int
    h: int


WEIGHTS_OPTION = "weights"
"""What `nudity` calls them; another evaluator may call them otherwise, or take none but the package's."""


def nudenet_weights(path: str | None, option: str | None = WEIGHTS_OPTION) -> Path:
    """The weights file: `path`, or the one inside the installed NudeNet package, checked by its sha256.

    Raises BenchError where it is not there, or another one; `option` is what names another file, None for
    an evaluator that takes the package's alone.
    """
    if path is not None:
        file = user_path(path)
        if not file.is_file():
            raise BenchError(f"NudeNet weights {path!r} are not a file (--evaluator-option {option}=PATH)")
        return file
    file = package_folder("nudenet", "nudenet==3.4.2", "nudity") / PACKAGED_WEIGHTS
    if not file.is_file():
        raise BenchError(
            f"NudeNet {version_of('nudenet')} has no {PACKAGED_WEIGHTS}, looked in {file.parent}: "
            f"pip install nudenet==3.4.2{f', or --evaluator-option {option}=PATH' if option else ''}"
        )
    if (found := sha256_of(file)) != PACKAGED_SHA256:
        accept = f", or accept these weights under their own name with --evaluator-option {option}={file}"
        install = f"pip install nudenet==3.4.2{accept if option else ''}"
        raise BenchError(f"{file} has sha256 {found}, not NudeNet 3.4.2's {PACKAGED_SHA256}: {install}")
    return file


@dataclass(frozen=True, eq=False)
class NudeNetDetector:
    """A NudeNet 3 network that takes [n, 3, resolution, resolution] and gives [n, 22, anchors]."""

    session: Any
    resolution: int

    def detect(self, pixels: Sequence[Pixels]) -> list[list[Detection]]:
        """Detections with score ≥ 0.25 of each RGB picture, sizes may differ, best score first."""
        blob = np.concatenate([_network_input(picture, self.resolution) for picture in pixels])
        (output,) = self.session.run(None, {self.session.get_inputs()[0].name: blob})
        return [
            _detections(one, picture.shape[1], picture.shape[0], self.resolution)
            for one, picture in zip(output, pixels, strict=True)
        ]


@loaded_once(2)
def load_nudenet(
    weights: Path, resolution: int, device: str = "cpu", option: str = WEIGHTS_OPTION
) -> NudeNetDetector:
    """The detector, opened once per process. Raises `BenchError` for a file that is no NudeNet 3 network;
    `option` is what names another one."""
    required_module("cv2", "opencv-python-headless", "nudity")
    session = open_session(weights, device, "nudity")
    shape = session.get_outputs()[0].shape
    if len(session.get_outputs()) != 1 or len(shape) != 3 or shape[1] != 4 + len(LABELS):
        raise BenchError(
            f"{weights} is no NudeNet 3 detector: its output has shape {shape}, not [batch, "
            f"{4 + len(LABELS)}, anchors] (--evaluator-option {option}=PATH)"
        )
    asked = session.get_inputs()[0].shape[2]
    if isinstance(asked, int) and asked != resolution:
        raise BenchError(f"{weights} takes {asked}×{asked} pixels (--evaluator-option resolution={asked})")
    detector = NudeNetDetector(session, resolution)
    try:
        detector.detect([np.zeros((8, 8, 3), np.uint8)])
    except Exception as error:  # onnxruntime's own, whose class differs from version to version
        why = " ".join(str(error).split())[:200]
        raise BenchError(
            f"{weights} cannot take {resolution}×{resolution} pixels; a multiple of 32 is usual "
            f"(--evaluator-option resolution=PIXELS): {why}"
        ) from error
    return detector


def _network_input(pixels: Pixels, resolution: int) -> NDArray[np.float32]:
    """[1, 3, resolution, resolution], RGB in [0, 1]: black right and below up to a square, then resized."""
    import cv2

    height, width = pixels.shape[:2]
    side = max(height, width)
    below, right = side - height, side - width
    square = cv2.copyMakeBorder(np.ascontiguousarray(pixels), 0, below, 0, right, cv2.BORDER_CONSTANT)
    blob: NDArray[np.float32] = cv2.dnn.blobFromImage(square, 1 / 255.0, (resolution, resolution))
    return blob


def check_scores(scores: NDArray[np.float32]) -> None:
    """Raises ValueError for scores that are not finite: they reach no threshold, as if nothing were there."""
    if not np.isfinite(scores).all():
        raise ValueError("the detector's scores are not finite")


def _detections(output: NDArray[np.float32], width: int, height: int, resolution: int) -> list[Detection]:
    """Boxes of one picture from the network's [22, anchors]: centre, size, then one score for each label.

    Arithmetic stays in float32 and in the library's order, so that boxes agree to the bit.
    """
    import cv2

    anchors = output.T
    check_scores(anchors[:, 4:])
    best = anchors[:, 4:].max(axis=1)
    anchors, best = anchors[best >= CANDIDATE_SCORE], best[best >= CANDIDATE_SCORE]
    if not len(anchors):
        return []
    label = anchors[:, 4:].argmax(axis=1)
    side = max(width, height)
    x, y, w, h = anchors[:, 0], anchors[:, 1], anchors[:, 2], anchors[:, 3]
    x, y = x - w / 2, y - h / 2
    x, y, w, h = (value * side / resolution for value in (x, y, w, h))
    x, y = np.clip(x, 0, width), np.clip(y, 0, height)
    w, h = np.minimum(w, width - x), np.minimum(h, height - y)

    boxes = np.stack([x, y, w, h], axis=1).tolist()
    kept = cv2.dnn.NMSBoxes(boxes, best.tolist(), LEAST_SCORE, OVERLAP)
    return [Detection(LABELS[label[i]], float(best[i]), *(int(value) for value in boxes[i])) for i in kept]
