"""Unit embeddings of pictures by any CLIP model that `clip_source` reads, as features."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from erasure_bench.evaluators.base import Pixels
from erasure_bench.evaluators.clip_model import Clip, Precision, load_clip
from erasure_bench.evaluators.clip_source import clip_source
from erasure_bench.evaluators.packages import version_of


@dataclass(frozen=True)
class ClipFeatures:
    """A CLIP model's picture encoder with its own preprocessing; features have unit length."""

    backbone: str
    weights: str | None = None
    precision: Precision = "fp32"
    device: str = "cpu"

    def protocol(self) -> Mapping[str, Any]:
        source = clip_source(self.backbone, self.weights)
        return {
            **source.protocol(),
            "precision": self.precision,
            "resize": source.resize,
            "open_clip": version_of("open_clip_torch"),
        }

    def prepare(self) -> None:
        """Loads the model; raises BenchError where it cannot be."""
        self._model()

    def features(self, pixels: Sequence[Pixels]) -> Any:
        return self._model().encode_images(pixels).numpy()

    def _model(self) -> Clip:
        return load_clip(clip_source(self.backbone, self.weights), self.precision, self.device)
