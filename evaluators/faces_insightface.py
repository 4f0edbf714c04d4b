"""insightface's packs of ONNX networks: SCRFD finds faces, ArcFace describes each by 512 numbers.

Guo et al., Sample and Computation Redistribution for Efficient Face Detection, ICLR 2022; Deng et al.,
ArcFace, CVPR 2019. The packs are for non-commercial research only; none is fetched here.
"""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from erasure_bench.errors import BenchError, NotHere
from erasure_bench.evaluators.base import Pixels
from erasure_bench.evaluators.digests import sha256_of
from erasure_bench.evaluators.faces import Box, Distance, Face, surest_first
from erasure_bench.evaluators.onnx_session import execution_providers, runtime_version
from erasure_bench.evaluators.packages import required_module, version_of
from erasure_bench.user_paths import user_path

NEEDED_BY = "celebrity"
USUAL_PACK = "~/.insightface/models/buffalo_l"
DETECTION_SIZE = (640, 640)
PARTS = ("detection", "recognition")


@dataclass(frozen=True)
class InsightfacePack:
    """A pack's folder, such as an unpacked buffalo_l.zip; None is where insightface itself keeps that one."""

    path: str | None
    least_score: float

    reads: ClassVar[tuple[str, ...]] = ("pack", "least_score", "threshold")
    distance: ClassVar[Distance] = "cosine"

    def protocol(self) -> Mapping[str, Any]:
        folder = self._folder()
        return {
            "recogniser": f"insightface-{folder.name}",
            "weights_sha256": {file.name: sha256_of(file) for file in _networks(folder)},
            "least_score": self.least_score,
            "detection_size": list(DETECTION_SIZE),
            "input": "BGR array, aligned by five landmarks",
            "insightface": version_of("insightface"),
            "onnxruntime": runtime_version(),
            "opencv": version_of("opencv-python-headless"),
        }

    def load(self, device: str) -> "InsightfaceReader":
        folder = self._folder()
        app = required_module("insightface.app", "insightface", NEEDED_BY)
        providers = execution_providers(device, NEEDED_BY)
        try:
            # A folder that is there is never looked for elsewhere, nor fetched.
            analysis = app.FaceAnalysis(str(folder), allowed_modules=list(PARTS), providers=providers)
            analysis.prepare(0, det_thresh=self.least_score, det_size=DETECTION_SIZE)
        except Exception as error:  # insightface asserts, onnxruntime has classes of its own
            raise _no_pack(folder, f"{type(error).__name__}: {' '.join(str(error).split())[:200]}") from error
        if lacking := [part for part in PARTS if part not in analysis.models]:
            raise _no_pack(folder, f"no network for {' and '.join(lacking)}")
        _with_finite_output(analysis.det_model)
        return InsightfaceReader(analysis)

    def _folder(self) -> Path:
        folder = user_path(self.path or USUAL_PACK)
        if not folder.is_dir() or not _networks(folder):
            raise NotHere(
                f"insightface's networks are missing, looked for *.onnx in {folder}: unpack buffalo_l.zip of "
                f"insightface's release 'model-zoo' (non-commercial research only) and name the folder: "
                f"--evaluator-option celebrity.pack=FOLDER"
            )
        return folder


@dataclass(frozen=True, eq=False)
class InsightfaceReader:
    """A prepared `FaceAnalysis`, one picture after the other: its detectors take no batch."""

    analysis: Any

    def read(self, pixels: Sequence[Pixels]) -> list[list[Face]]:
        return [self._faces(picture) for picture in pixels]

    def _faces(self, picture: Pixels) -> list[Face]:
        with warnings.catch_warnings():
            # insightface aligns with what scikit-image will rename.
            warnings.simplefilter("ignore", FutureWarning)
            found = self.analysis.get(np.ascontiguousarray(picture[..., ::-1]))
        return surest_first(
            [
                Face(
                    Box(*map(float, (*face.bbox, face.det_score))),
                    np.asarray(face.normed_embedding, dtype=np.float64),
                )
                for face in found
            ]
        )


@dataclass(frozen=True, eq=False)
class _Finite:
    """A session whose outputs must be finite: insightface would take a score that is none for no face."""

    session: Any

    def run(self, *asked: Any, **more: Any) -> list[Any]:
        found: list[Any] = self.session.run(*asked, **more)
        if not all(np.isfinite(each).all() for each in found):
            raise ValueError("the detector's output is not finite")
        return found

    def __getattr__(self, name: str) -> Any:
        return getattr(self.session, name)


def _with_finite_output(detector: Any) -> None:
    """Its own session, and those that SCRFD makes of it, one for each size of picture."""
    detector.session = _Finite(detector.session)
    if (made := getattr(detector, "resolution_session_factory", None)) is not None:
        detector.resolution_session_factory = lambda *asked, **more: _Finite(made(*asked, **more))


def _networks(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.onnx"))


def _no_pack(folder: Path, why: str) -> BenchError:
    return BenchError(
        f"{folder} is no pack of insightface for recognition: {why} "
        f"(--evaluator-option celebrity.pack=FOLDER)"
    )
