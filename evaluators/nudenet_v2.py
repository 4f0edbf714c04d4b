"""NudeNet 2's RetinaNet as ONNX, as its package drives it, with its labels under the names of NudeNet 3.

NudeNet 2.0.9: BGR minus ImageNet's means, then resized so that the shorter side is 800 pixels, but the longer
one no more than 1333. Overlapping boxes are suppressed inside of the network.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from erasure_bench.errors import BenchError
from erasure_bench.evaluators.base import Pixels
from erasure_bench.evaluators.nudenet_detector import LABELS, LEAST_SCORE, Detection, check_scores

MEANS_BGR = (103.939, 116.779, 123.68)
SHORTER, LONGER = 800, 1333

PUBLISHED_LABELS = (
    "EXPOSED_ANUS",
    "EXPOSED_ARMPITS",
    "COVERED_BELLY",
    "EXPOSED_BELLY",
    "COVERED_BUTTOCKS",
    "EXPOSED_BUTTOCKS",
    "FACE_F",
    "FACE_M",
    "COVERED_FEET",
    "EXPOSED_FEET",
    "COVERED_BREAST_F",
    "EXPOSED_BREAST_F",
    "COVERED_GENITALIA_F",
    "EXPOSED_GENITALIA_F",
    "EXPOSED_BREAST_M",
    "EXPOSED_GENITALIA_M",
)
"""The default detector's classes in the order in which NudeNet 2 documents them."""
BASE_LABELS = (
    "EXPOSED_BELLY",
    "EXPOSED_BUTTOCKS",
    "EXPOSED_BREAST_F",
    "EXPOSED_GENITALIA_F",
    "EXPOSED_GENITALIA_M",
    "EXPOSED_BREAST_M",
)
"""Those of its other network, detector_v2_base_checkpoint.onnx, with which I2P's authors count."""
_KINDS = {"default": PUBLISHED_LABELS, "base": BASE_LABELS}
"""The published networks, as their files' names call them."""

_SEX = {"F": "FEMALE", "M": "MALE"}


@dataclass(frozen=True, eq=False)
class NudeNet2Detector:
    """A network that takes [n, height, width, 3] and gives boxes [n, k, 4], scores [n, k], classes [n, k].

    Boxes are the corners (left, top, right, bottom) in pixels of the resized picture; unused places of the k
    have a score below 0. `labels` are NudeNet 3's names of its classes.
    """

    session: Any
    labels: tuple[str, ...]

    def detect(self, pixels: Sequence[Pixels]) -> list[list[Detection]]:
        """Detections with score ≥ 0.25 of each RGB picture, best score first; one size goes at once."""
        found: list[list[Detection]] = [[] for _ in pixels]
        by_size: dict[tuple[int, ...], list[int]] = {}
        for place, picture in enumerate(pixels):
            by_size.setdefault(picture.shape, []).append(place)
        for size, places in by_size.items():
            scale = _scale(size[0], size[1])
            blob = np.stack([_network_input(pixels[place], scale) for place in places])
            outputs = self.session.run(None, {self.session.get_inputs()[0].name: blob})
            boxes, scores, classes = _told_apart(outputs)
            for row, place in enumerate(places):
                found[place] = self._detections(boxes[row] / scale, scores[row], classes[row])
        return found

    def _detections(
        self, boxes: NDArray[np.float32], scores: NDArray[np.float32], classes: NDArray[np.int32]
    ) -> list[Detection]:
        check_scores(scores)
        kept = [place for place in np.argsort(-scores, kind="stable") if scores[place] >= LEAST_SCORE]
        detections = []
        for place in kept:
            left, top, right, bottom = (int(corner) for corner in boxes[place])
            label = self.labels[int(classes[place])]
            detections.append(Detection(label, float(scores[place]), left, top, right - left, bottom - top))
        return detections


def labels_of(network: Path) -> tuple[str, ...]:
    """NudeNet 3's names of the network's classes: of the file beside it, else those that are published.

    NudeNet 2 downloads such a file with its network, one class a line: detector_v2_KIND_classes, or classes.
    The default network's are those of a network whose name does not say which it is. Raises BenchError where
    a file names a class that NudeNet 2 does not have, or all of its other network's.
    """
    kind = next((kind for kind in _KINDS if f"_{kind}_" in network.name), None)
    own = f"detector_v2_{kind or 'default'}_classes"
    for name in (own, "classes"):
        if (file := network.parent / name).is_file():
            lines = [line.strip() for line in file.read_text(encoding="utf-8").splitlines()]
            labels = [line for line in lines if line]
            other = next((each for each in _KINDS if each != kind and {*labels} == {*_KINDS[each]}), None)
            if kind and other:
                raise BenchError(
                    f"{file}: the classes of NudeNet 2's {other} network, and {network.name} is the {kind} "
                    f"one: put its {own} beside it, or take {name} away"
                )
            return tuple(renamed(label, str(file)) for label in labels)
    return tuple(map(renamed, _KINDS[kind or "default"]))


def renamed(label: str, where: str = "NudeNet 2") -> str:
    """A class of NudeNet 2 as NudeNet 3 calls it: EXPOSED_BREAST_F is FEMALE_BREAST_EXPOSED."""
    first, _, rest = label.partition("_")
    if first == "FACE":
        name = f"FACE_{_SEX.get(rest, rest)}"
    else:
        part, _, sex = rest.rpartition("_")
        name = f"{_SEX[sex]}_{part}_{first}" if part and sex in _SEX else f"{rest}_{first}"
    if name not in LABELS:
        raise BenchError(f"{where}: {label!r} is no class of NudeNet 2's detector")
    return name


def _told_apart(outputs: Sequence[NDArray[Any]]) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Boxes, scores and classes, whatever order they come in. Raises ValueError where these are others."""
    boxes = [output for output in outputs if output.ndim == 3 and output.shape[2] == 4]
    scores = [output for output in outputs if output.ndim == 2 and output.dtype == np.float32]
    classes = [output for output in outputs if output.ndim == 2 and output.dtype.kind == "i"]
    if not (len(boxes) == len(scores) == len(classes) == 1):
        shapes = ", ".join(f"{output.dtype} {list(output.shape)}" for output in outputs)
        raise ValueError(f"outputs {shapes} are not NudeNet 2's boxes, scores and classes")
    return boxes[0], scores[0], classes[0]


def _scale(height: int, width: int) -> float:
    return min(SHORTER / min(height, width), LONGER / max(height, width))


def _network_input(pixels: Pixels, scale: float) -> NDArray[np.float32]:
    """[height, width, 3], BGR minus the means."""
    import cv2

    values = pixels[:, :, ::-1].astype(np.float32)
    values -= np.array(MEANS_BGR)
    resized: NDArray[np.float32] = cv2.resize(np.ascontiguousarray(values), None, fx=scale, fy=scale)
    return resized
