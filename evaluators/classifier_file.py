"""A classifier in one file, TorchScript or ONNX, with its labels in another."""

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np

from erasure_bench.errors import BenchError
from erasure_bench.evaluators.base import Pixels
from erasure_bench.evaluators.digests import sha256_of
from erasure_bench.evaluators.labelled_classifier import (
    ONE_HEAD,
    LabelledClassifier,
    Probabilities,
    checked_heads,
    softmax,
)
from erasure_bench.evaluators.onnx_session import open_session
from erasure_bench.evaluators.pixel_batch import pixel_batch
from erasure_bench.evaluators.resizing import SQUARE
from erasure_bench.evaluators.torchscript_network import open_torchscript

SUFFIXES = (".pt", ".pth", ".ts", ".torchscript", ".onnx")


@dataclass(frozen=True, kw_only=True)
class FileInput:
    """What a file's network takes and gives; a resolution (pixels) of None leaves pictures as drawn."""

    resolution: int | None
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    output: Literal["logits", "probabilities"]


@dataclass(frozen=True)
class FileClassifier:
    """The network in `path`: images [n, 3, height, width] to one output [n, labels]."""

    path: Path
    labels: Path | None
    input: FileInput

    kind: ClassVar[str] = "a file with weights of its own"
    reads: ClassVar[tuple[str, ...]] = ("labels", *(setting.name for setting in fields(FileInput)))

    def protocol(self) -> Mapping[str, Any]:
        return {
            "weights_sha256": sha256_of(self._network_file()),
            "labels_sha256": sha256_of(self._label_file()),
            "resize": SQUARE,
            **asdict(self.input),
        }

    def known_labels(self) -> Collection[str]:
        return read_labels(self._label_file())

    def load(self, device: str) -> LabelledClassifier:
        file = self._network_file()
        heads = checked_heads({ONE_HEAD: read_labels(self._label_file())}, self.labels)
        run = _onnx(file, device) if file.suffix == ".onnx" else open_torchscript(file, device, "classifier")
        return OneHeadNetwork(run, heads, self.input)

    def _network_file(self) -> Path:
        if not self.path.is_file():
            raise BenchError(f"classifier {str(self.path)!r} is not a file (--evaluator-option model=PATH)")
        return self.path

    def _label_file(self) -> Path:
        if self.labels is None:
            raise BenchError(
                f"classifier {self.path} needs its labels: --evaluator-option labels=FILE "
                f"(one label a line, or a JSON list, in the order of the output)"
            )
        if not self.labels.is_file():
            raise BenchError(f"labels {str(self.labels)!r} are not a file (--evaluator-option labels=FILE)")
        return self.labels


@dataclass(frozen=True, eq=False)
class OneHeadNetwork:
    """A function from an image batch to one array [n, labels]."""

    run: Callable[[Any], Any]
    heads: Mapping[str, tuple[str, ...]]
    input: FileInput

    def predict(self, pixels: Sequence[Pixels]) -> Mapping[str, Probabilities]:
        images = pixel_batch(pixels, self.input.resolution, self.input.mean, self.input.std)
        output = np.asarray(self.run(images))
        (labels,) = self.heads.values()
        if output.shape != (len(pixels), len(labels)):
            raise BenchError(
                f"the classifier gives {list(output.shape)} for {len(pixels)} pictures and {len(labels)} "
                f"labels: "
                f"the labels file does not fit it (--evaluator-option labels=FILE)"
            )
        is_logits = self.input.output == "logits"
        return {ONE_HEAD: softmax(output) if is_logits else output.astype(np.float64)}


def read_labels(file: Path) -> list[str]:
    """Labels of a JSON list, or of a text file with one a line."""
    text = file.read_text(encoding="utf-8")
    if text.lstrip().startswith("["):
        try:
            return list(json.loads(text))
        except json.JSONDecodeError as error:
            raise BenchError(f"labels {file} are no JSON list: {error}") from error
    return [line.strip() for line in text.splitlines() if line.strip()]


def _onnx(file: Path, device: str) -> Callable[[Any], Any]:
    session = open_session(file, device, "classifier")
    name = session.get_inputs()[0].name
    return lambda images: session.run(None, {name: images})[0]
