"""NudeNet 3.0's ONNX detector (`best.onnx` of nudenet 3.0.x), as its package drives it.

It differs from 3.4 in how a picture becomes the network's square: resized first, then padded with black on
all four sides, and in boxes that are not cut at the picture's border (nudenet 3.0.8, `nudenet/nudenet.py`).
The package reads files and gives the network true RGB.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from erasure_bench.evaluators.base import Pixels
from erasure_bench.evaluators.nudenet_detector import (
    CANDIDATE_SCORE,
    LABELS,
    LEAST_SCORE,
    OVERLAP,
    Detection,
    check_scores,
)


class _Square(NamedTuple):
    """[1, 3, side, side] in [0, 1]; how much the picture was shrunk, and the black left of and above it."""

    blob: NDArray[np.float32]
    shrunk: float
    left: int
    top: int


@dataclass(frozen=True, eq=False)
class NudeNet30Detector:
    """A network that takes [n, 3, side, side] and gives [n, 22, anchors]; the published one takes n = 1."""

    session: Any
    side: int

    def detect(self, pixels: Sequence[Pixels]) -> list[list[Detection]]:
        """Detections with score ≥ 0.25 of each RGB picture, sizes may differ, best score first."""
        squares = [_square(picture, self.side) for picture in pixels]
        asked = self.session.get_inputs()[0]
        at_once = asked.shape[0] if isinstance(asked.shape[0], int) else len(squares)
        rows: list[NDArray[np.float32]] = []
        for start in range(0, len(squares), at_once):
            blob = np.concatenate([square.blob for square in squares[start : start + at_once]])
            (output,) = self.session.run(None, {asked.name: blob})
            rows += list(output)
        return [_detections(output, square) for output, square in zip(rows, squares, strict=True)]


def _square(pixels: Pixels, side: int) -> _Square:
    import cv2

    height, width = pixels.shape[:2]
    aspect = width / height
    if height > width:
        new_height, new_width = side, round(side * aspect)
    else:
        new_height, new_width = round(side / aspect), side
    # By the diagonals, though the two sides are shrunk by slightly different factors.
    shrunk = math.sqrt((width**2 + height**2) / (new_width**2 + new_height**2))
    resized = cv2.resize(np.ascontiguousarray(pixels), (new_width, new_height))
    left, top = (side - new_width) // 2, (side - new_height) // 2
    padded = cv2.copyMakeBorder(resized, top, top, left, left, cv2.BORDER_CONSTANT, value=[0, 0, 0])
    # An odd rest leaves the padded picture one pixel short: it is stretched.
    stretched = cv2.resize(padded, (side, side)).astype(np.float32) / 255.0
    return _Square(np.ascontiguousarray(stretched.transpose(2, 0, 1)[None]), shrunk, left, top)


def _detections(output: NDArray[np.float32], square: _Square) -> list[Detection]:
    """Boxes of one picture from the network's [22, anchors]; arithmetic in the package's order."""
    import cv2

    anchors = output.T
    check_scores(anchors[:, 4:])
    best = anchors[:, 4:].max(axis=1)
    anchors, best = anchors[best >= CANDIDATE_SCORE], best[best >= CANDIDATE_SCORE]
    if not len(anchors):
        return []
    label = anchors[:, 4:].argmax(axis=1)
    x, y, w, h = anchors[:, 0], anchors[:, 1], anchors[:, 2], anchors[:, 3]
    corners = (x - w * 0.5 - square.left, y - h * 0.5 - square.top, w, h)
    boxes = np.stack([np.rint(value * square.shrunk) for value in corners], axis=1).astype(int).tolist()
    kept = cv2.dnn.NMSBoxes(boxes, best.tolist(), LEAST_SCORE, OVERLAP)
    return [Detection(LABELS[label[i]], float(best[i]), *boxes[i]) for i in kept]
