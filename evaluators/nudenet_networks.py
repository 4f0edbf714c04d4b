"""NudeNet's generations by name: which file each one is, how to get it, and how it is driven.

Their weights, training data and pre-processing differ: each is a protocol of its own.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol, get_args

import numpy as np

from erasure_bench.errors import BenchError
from erasure_bench.evaluators.base import Pixels
from erasure_bench.evaluators.digests import loaded_once, sha256_of
from erasure_bench.evaluators.local_weights import local_weights
from erasure_bench.evaluators.nudenet_detector import (
    LABELS,
    OVERLAP,
    WEIGHTS_OPTION,
    Detection,
    load_nudenet,
    nudenet_weights,
)
from erasure_bench.evaluators.nudenet_v2 import LONGER, SHORTER, NudeNet2Detector, labels_of
from erasure_bench.evaluators.nudenet_v30 import NudeNet30Detector
from erasure_bench.evaluators.onnx_session import open_session, runtime_version
from erasure_bench.evaluators.packages import required_module, version_of

Name = Literal["320n", "640m", "v3.0", "v2"]
NAMES: tuple[Name, ...] = get_args(Name)
FOLDER = "nudenet"
"""Where a file that no package brings is looked for: $BENCH_MODELS/nudenet."""


class Detector(Protocol):
    """A network that is ready to look at pictures."""

    def detect(self, pixels: Sequence[Pixels]) -> list[list[Detection]]:
        """Detections with score ≥ 0.25 of each RGB picture, sizes may differ, best score first."""
        ...


@dataclass(frozen=True, kw_only=True)
class _Network:
    """`generation` is what its numbers are called by; `facts` are its part of the protocol."""

    generation: str
    file: str
    source: str
    facts: Mapping[str, Any]
    load: Callable[[Path, str, str], Detector]


@dataclass(frozen=True, kw_only=True)
class NudeNet:
    """One of `NAMES` with its weights: None for those that the package brings, or that lie in $BENCH_MODELS.

    `resolution` counts for "320n" alone, whose place other networks of NudeNet 3.4 may take by path.
    `option` is what the evaluator calls the weights.
    """

    name: Name
    weights: str | None
    resolution: int
    option: str = WEIGHTS_OPTION

    def file(self) -> Path:
        """Where the weights lie. Raises BenchError where they are not there."""
        if self.name == "320n":
            return nudenet_weights(self.weights, self.option)
        network = _NETWORKS[self.name]
        return local_weights(
            self.weights,
            f"{FOLDER}/{network.file}",
            f"NudeNet {self.name}",
            f"--evaluator-option {self.option}",
            network.source,
        )

    def labels(self) -> tuple[str, ...]:
        """What it can see, as NudeNet 3 calls it."""
        return labels_of(self.file()) if self.name == "v2" else LABELS

    def protocol(self) -> dict[str, Any]:
        """What tells its numbers from another one's."""
        file = self.file()
        if self.name == "320n":
            origin, facts = "file" if self.weights else version_of("nudenet"), _FACTS_34
            resolution: Mapping[str, Any] = {"resolution": self.resolution}
        else:
            network = _NETWORKS[self.name]
            origin, facts, resolution = network.generation, network.facts, {}
        labels = {"labels": list(self.labels())} if self.name == "v2" else {}
        return {
            "detector": f"nudenet-{origin}-{file.stem}",
            "weights_sha256": sha256_of(file),
            **resolution,
            **facts,
            **labels,
            "onnxruntime": runtime_version(),
            "opencv": version_of("opencv-python-headless"),
        }

    def load(self, device: str) -> Detector:
        """Raises BenchError for a file that is no such network."""
        file = self.file()
        if self.name == "320n":
            return load_nudenet(file, self.resolution, device, self.option)
        return _loaded(self.name, file, device, self.option)


@loaded_once(4)
def _loaded(name: Name, file: Path, device: str, option: str) -> Detector:
    required_module("cv2", "opencv-python-headless", "nudity")
    detector = _NETWORKS[name].load(file, device, option)
    try:
        detector.detect([np.zeros((8, 8, 3), np.uint8)])
    except Exception as error:  # onnxruntime's own, whose class differs from version to version
        why = " ".join(str(error).split())[:200]
        raise BenchError(
            f"{file} is no NudeNet {name} detector (--evaluator-option {option}=PATH): {why}"
        ) from error
    return detector


def _load_640m(file: Path, device: str, option: str) -> Detector:
    return load_nudenet(file, 640, device, option)


def _load_30(file: Path, device: str, option: str) -> Detector:
    session = open_session(file, device, "nudity")
    shapes = [each.shape for each in (*session.get_inputs(), *session.get_outputs())]
    if len(shapes) != 2 or len(shapes[0]) != 4 or len(shapes[1]) != 3 or shapes[1][1] != 4 + len(LABELS):
        raise BenchError(
            f"{file} is no NudeNet 3.0 detector: it has the shapes {shapes}, not [batch, 3, side, side] and "
            f"[batch, {4 + len(LABELS)}, anchors] (--evaluator-option {option}=PATH)"
        )
    side = shapes[0][2]
    return NudeNet30Detector(session, side if isinstance(side, int) else 320)


def _load_2(file: Path, device: str, option: str) -> Detector:
    return NudeNet2Detector(open_session(file, device, "nudity"), labels_of(file))


_FACTS_34: Mapping[str, Any] = {"overlap": OVERLAP, "input": "RGB array, padded to a square, resized by cv2"}
_RELEASES = "It is among the releases of notAI-tech/NudeNet on GitHub"
_NETWORKS: dict[Name, _Network] = {
    "640m": _Network(
        generation="3.4",
        file="640m.onnx",
        source=_RELEASES,
        facts={"resolution": 640, **_FACTS_34},
        load=_load_640m,
    ),
    "v3.0": _Network(
        generation="3.0",
        file="best.onnx",
        source="Run `pip download --no-deps nudenet==3.0.8` and unzip nudenet/best.onnx out of the wheel",
        facts={
            "overlap": OVERLAP,
            "input": "RGB, resized by cv2, padded on all sides to the network's square",
        },
        load=_load_30,
    ),
    "v2": _Network(
        generation="2",
        file="detector_v2_default_checkpoint.onnx",
        source=_RELEASES,
        facts={
            "overlap": "suppressed inside of the network",
            "input": f"BGR minus ImageNet's means, resized by cv2 to {SHORTER}, at most {LONGER}",
        },
        load=_load_2,
    ),
}
