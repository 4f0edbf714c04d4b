"""A classifier in the folder format of transformers, such as UnlearnDiffAtk's ViT for 129 artists."""

import json
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from erasure_bench.errors import BenchError
from erasure_bench.evaluators.base import Pixels
from erasure_bench.evaluators.hub_snapshot import HubSnapshot, folder_of, identity
from erasure_bench.evaluators.labelled_classifier import (
    ONE_HEAD,
    LabelledClassifier,
    Probabilities,
    checked_heads,
    softmax,
)
from erasure_bench.evaluators.packages import required_module, version_of

CONFIG_FILE = "config.json"
_UNNAMED = re.compile(r"LABEL_\d+")
"""What transformers calls labels that nobody named."""


@dataclass(frozen=True)
class TransformersClassifier:
    """AutoModelForImageClassification with the image processor and the labels of the same folder."""

    place: Path | HubSnapshot

    kind: ClassVar[str] = "a folder of transformers, which has labels and a preprocessing of its own"
    reads: ClassVar[tuple[str, ...]] = ()

    def protocol(self) -> Mapping[str, Any]:
        return {
            **identity(self.place),
            "resize": "the folder's own image processor",
            "transformers": version_of("transformers"),
        }

    def known_labels(self) -> Collection[str]:
        return _labels(self.place) if isinstance(self.place, Path) else ()

    def known_count(self) -> int | None:
        return len(self.known_labels()) or None

    def load(self, device: str) -> LabelledClassifier:
        transformers = required_module("transformers", "transformers", "classifier")
        folder = folder_of(self.place, "classifier")
        heads = checked_heads({ONE_HEAD: _labels(folder)}, folder)
        try:
            own_code = {"local_files_only": True, "trust_remote_code": False}
            processor = transformers.AutoImageProcessor.from_pretrained(folder, **own_code)
            network = transformers.AutoModelForImageClassification.from_pretrained(folder, **own_code)
        except Exception as error:
            raise BenchError(
                f"classifier {folder} cannot be loaded by transformers {version_of('transformers')}: "
                f"{' '.join(str(error).split())[:300]}"
            ) from error
        return ProcessedNetwork(network.to(device).eval(), heads, processor, device)


@dataclass(frozen=True, eq=False)
class ProcessedNetwork:
    """A classifier of transformers behind its image processor."""

    network: Any
    heads: Mapping[str, tuple[str, ...]]
    processor: Any
    device: str

    def predict(self, pixels: Sequence[Pixels]) -> Mapping[str, Probabilities]:
        import torch
        from PIL import Image

        pictures = [Image.fromarray(picture) for picture in pixels]
        images = self.processor(images=pictures, return_tensors="pt")["pixel_values"]
        with torch.inference_mode():
            logits = self.network(pixel_values=images.to(self.device)).logits
        (head,) = self.heads
        return {head: softmax(logits)}


def _labels(folder: Path) -> list[str]:
    """The labels of `config.json` in the order of the output."""
    file = folder / CONFIG_FILE
    try:
        by_index = json.loads(file.read_text(encoding="utf-8")).get("id2label") or {}
        labels = [str(by_index[index]) for index in sorted(by_index, key=int)]
    except (OSError, ValueError, AttributeError, RecursionError) as error:
        raise BenchError(f"classifier {folder}: {CONFIG_FILE} cannot be read: {error}") from error
    if not labels or all(_UNNAMED.fullmatch(label) for label in labels):
        raise BenchError(f"classifier {folder}: {CONFIG_FILE} names no labels (id2label)")
    return labels
