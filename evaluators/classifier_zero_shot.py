"""A CLIP model as a classifier: which of the labels' texts a picture is nearest to.

Radford et al., Learning Transferable Visual Models From Natural Language Supervision, ICML 2021, section
3.1.2, with one template: p(label | image) = softmax over labels of s·cos(image, "a photo of the {label}"), s
being the model's own scale. MACE (Lu et al., CVPR 2024) measures CIFAR-10's ten classes so.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from erasure_bench.evaluators.base import Pixels
from erasure_bench.evaluators.classifier_file import label_file, read_labels
from erasure_bench.evaluators.clip_model import Clip, load_clip
from erasure_bench.evaluators.clip_source import ClipSource, clip_source
from erasure_bench.evaluators.digests import sha256_of
from erasure_bench.evaluators.labelled_classifier import (
    ONE_HEAD,
    LabelledClassifier,
    Probabilities,
    checked_heads,
    softmax,
)
from erasure_bench.evaluators.packages import version_of
from erasure_bench.prompt_suites.class_names import CIFAR10

PREFIX = "clip:"
TEMPLATE = "a photo of the {}"
LISTS: Mapping[str, tuple[str, ...]] = {"cifar10": CIFAR10}
"""What the option `labels` may call names that need no file."""


@dataclass(frozen=True)
class ZeroShotClassifier:
    """`backbone` and `weights` as `clip_source` reads them, `labels` a file of them or one of `LISTS`."""

    backbone: str
    weights: str | None
    labels: str | None

    kind: ClassVar[str] = "a CLIP model, which has its own preprocessing"
    reads: ClassVar[tuple[str, ...]] = ("weights", "labels")

    def protocol(self) -> Mapping[str, Any]:
        source = self._source()
        of_labels = self.labels if self.labels in LISTS else sha256_of(self._file())
        return {
            **source.protocol(),
            "template": TEMPLATE,
            "labels": of_labels,
            "resize": source.resize,
            "open_clip": version_of("open_clip_torch"),
        }

    def known_labels(self) -> Collection[str]:
        return LISTS.get(self.labels or "", ()) or tuple(read_labels(self._file()))

    def known_count(self) -> int | None:
        return len(self.known_labels())

    def load(self, device: str) -> LabelledClassifier:
        heads = checked_heads({ONE_HEAD: tuple(self.known_labels())}, self.labels)
        clip = load_clip(self._source(), "fp32", device)
        texts = clip.encode_texts([TEMPLATE.format(label) for label in heads[ONE_HEAD]])
        return NearestText(clip, heads, texts)

    def _source(self) -> ClipSource:
        return clip_source(self.backbone, self.weights, f"model={PREFIX}")

    def _file(self) -> Path:
        needs = f"{PREFIX}{self.backbone} needs the labels to choose from"
        return label_file(self.labels, needs, ", ".join(LISTS))


@dataclass(frozen=True, eq=False)
class NearestText:
    """A CLIP model beside its labels and the embeddings of their texts [labels, width]."""

    clip: Clip
    heads: Mapping[str, tuple[str, ...]]
    texts: Any

    def predict(self, pixels: Sequence[Pixels]) -> Mapping[str, Probabilities]:
        return {ONE_HEAD: softmax(self.clip.logit_scale * (self.clip.encode_images(pixels) @ self.texts.T))}
