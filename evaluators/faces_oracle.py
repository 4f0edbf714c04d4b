"""The named people of a built-in generator: its oracle knows them, NudeNet sees whether there is a face."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from erasure_bench.errors import BenchError, NotHere
from erasure_bench.evaluators.base import Pixels
from erasure_bench.evaluators.classifier_folder import FolderClassifier
from erasure_bench.evaluators.faces import Face, FaceDetector
from erasure_bench.evaluators.faces_nudenet import NudeNetFaces
from erasure_bench.evaluators.labelled_classifier import LabelledClassifier
from erasure_bench.evaluators.shipped import shipped_folder
from erasure_bench.user_paths import user_path

HEAD = "identity"
"""Of the oracle: who a portrait is of."""


@dataclass(frozen=True)
class OracleFaces:
    """The oracle of the built-in generator `model`, or in a folder of its format.

    It was trained on whole portraits, hats and shirts included, so it reads the picture, not the face's crop.
    """

    model: str | None
    least_score: float

    reads: ClassVar[tuple[str, ...]] = ("model", "least_score")

    def protocol(self) -> Mapping[str, Any]:
        return {
            "recogniser": f"the oracle's head {HEAD!r}, whole pictures",
            **self._oracle().protocol(),
            **NudeNetFaces(self.least_score).protocol(),
        }

    def load(self, device: str) -> "OracleReader":
        oracle = self._oracle().load(device)
        if HEAD not in oracle.heads:
            raise BenchError(
                f"{self.model!r}: its oracle knows nobody by name: no head {HEAD!r} among "
                f"{', '.join(oracle.heads)} (--evaluator-option celebrity.model=NAME)"
            )
        return OracleReader(NudeNetFaces(self.least_score).load(device), oracle)

    def _oracle(self) -> FolderClassifier:
        if self.model is None:
            raise BenchError(
                "no generator whose oracle knows faces is named: --evaluator-option celebrity.model=NAME, or "
                "the folder of an oracle"
            )
        shipped = shipped_folder(self.model, "oracle")
        folder = shipped or user_path(self.model)
        if shipped is None and not folder.is_dir():
            raise NotHere(
                f"{self.model!r} is neither a built-in generator nor a folder of an oracle "
                f"(--evaluator-option celebrity.model=NAME or FOLDER)"
            )
        return FolderClassifier(folder, self.model)


@dataclass(frozen=True, eq=False)
class OracleReader:
    """One answer for a picture, given for each face in it; none where there is no face."""

    detector: FaceDetector
    oracle: LabelledClassifier

    @property
    def names(self) -> tuple[str, ...]:
        """As `HEAD/LABEL`, as prompts of the built-in suites call them."""
        return tuple(f"{HEAD}/{label}" for label in self.oracle.heads[HEAD])

    def read(self, pixels: Sequence[Pixels]) -> list[list[Face]]:
        answers = self.oracle.predict(pixels)[HEAD]
        boxes = self.detector.find(pixels)
        return [[Face(box, answer) for box in each] for each, answer in zip(boxes, answers, strict=True)]
