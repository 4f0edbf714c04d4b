"""Features by the network of a folder that says itself which reads it (`classifier_folder`)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from erasure_bench.errors import BenchError
from erasure_bench.evaluators.base import Pixels
from erasure_bench.evaluators.classifier_folder import FolderClassifier
from erasure_bench.evaluators.digests import loaded_once
from erasure_bench.evaluators.pixel_batch import pixel_batch


@dataclass(frozen=True)
class FolderFeatures:
    """The network in `path`, which must have `features(images)`; `name` is what the user called it."""

    path: Path
    name: str
    device: str = "cpu"

    def protocol(self) -> Mapping[str, Any]:
        return {
            "features": "of the layer below the heads",
            **FolderClassifier(self.path, self.name).protocol(),
        }

    def prepare(self) -> None:
        """Loads the network; raises BenchError where it cannot be, or has no features."""
        _network(self)

    def features(self, pixels: Sequence[Pixels]) -> Any:
        import torch

        network, resolution = _network(self)
        images = torch.from_numpy(pixel_batch(pixels, resolution)).to(self.device)
        with torch.inference_mode():
            return network.features(images).float().cpu().numpy()


@loaded_once(2)
def _network(extractor: FolderFeatures) -> tuple[Any, int | None]:
    network, resolution = FolderClassifier(extractor.path, extractor.name).network()
    if not callable(getattr(network, "features", None)):
        raise BenchError(f"{extractor.path}: its network {type(network).__name__} has no features(images)")
    return network.to(extractor.device).eval(), resolution
