"""A detector of faces in one file, ONNX or TorchScript.

It takes one picture, RGB [1, 3, height, width] float32 in [0, 255], and gives first the boxes [n, 4] (left,
top, right, bottom in pixels), then their scores [n].
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from erasure_bench.errors import BenchError
from erasure_bench.evaluators.base import Pixels
from erasure_bench.evaluators.digests import sha256_of
from erasure_bench.evaluators.faces import Box
from erasure_bench.evaluators.network_outputs import Outputs, open_outputs

NEEDED_BY = "celebrity"


@dataclass(frozen=True)
class FileDetector:
    """The detector in `path`; a face scores at least `least_score`."""

    path: Path
    least_score: float

    def protocol(self) -> Mapping[str, Any]:
        return {
            "detector": f"file-{self.path.stem}",
            "detector_sha256": sha256_of(self.path),
            "least_score": self.least_score,
        }

    def load(self, device: str) -> "DetectorNetwork":
        return DetectorNetwork(open_outputs(self.path, device, NEEDED_BY), self.least_score)


@dataclass(frozen=True, eq=False)
class DetectorNetwork:
    """A function from one picture to boxes and scores."""

    run: Callable[[Any], Outputs]
    least_score: float

    def find(self, pixels: Sequence[Pixels]) -> list[list[Box]]:
        return [self._faces(picture) for picture in pixels]

    def _faces(self, picture: Pixels) -> list[Box]:
        given = self.run(np.ascontiguousarray(picture.transpose(2, 0, 1)[None].astype(np.float32)))
        boxes, scores = (
            [np.asarray(each, np.float64) for each in given[:2]] if len(given) > 1 else (None, None)
        )
        if boxes is None or scores is None or boxes.shape != (scores.size, 4):
            shapes = ", ".join(str(list(each.shape)) for each in given)
            raise BenchError(
                f"the detector gives {shapes} for a picture instead of boxes [n, 4] and scores [n] "
                f"(--evaluator-option celebrity.detector=FILE)"
            )
        rows = np.column_stack([boxes, scores.ravel()])
        if not np.isfinite(rows).all():
            raise ValueError("a box of the detector is not finite")
        rows = rows[rows[:, 4] >= self.least_score]
        return [Box(*map(float, row)) for row in rows[np.argsort(-rows[:, 4], kind="stable")]]
