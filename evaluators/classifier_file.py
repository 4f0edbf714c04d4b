"""A classifier in one file, TorchScript or ONNX, with its labels in another."""

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from erasure_bench.errors import BenchError, NotHere
from erasure_bench.evaluators import imagenet
from erasure_bench.evaluators.base import Pixels
from erasure_bench.evaluators.digests import sha256_of
from erasure_bench.evaluators.labelled_classifier import (
    ONE_HEAD,
    LabelledClassifier,
    Probabilities,
    checked_heads,
    distributions,
)
from erasure_bench.evaluators.onnx_session import open_session, runtime_version
from erasure_bench.evaluators.pixel_batch import pixel_batch
from erasure_bench.evaluators.torchscript_network import open_torchscript
from erasure_bench.user_paths import user_path
from erasure_bench.users_text import decoded

SUFFIXES = (".pt", ".pth", ".ts", ".torchscript", ".onnx")
Output = Literal["logits", "probabilities"]
Interpolation = Literal["bicubic", "bilinear"]


def wrong_input(resolution: int | None, std: Sequence[float]) -> str | None:
    """What is impossible about the size or the spread of a network's input, or None."""
    if resolution is not None and resolution < 1:
        return f"resolution must be at least 1 pixel, got {resolution}"
    if not all(value > 0 for value in std):
        return f"std must be positive, got {tuple(std)}"
    return None


@dataclass(frozen=True, kw_only=True)
class FileInput:
    """What a file's network takes and gives; a resolution (pixels) of None leaves pictures as drawn."""

    resolution: int | None
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    output: Output
    interpolation: Interpolation = "bicubic"

    def batch(self, pixels: Sequence[Pixels]) -> NDArray[np.float32]:
        """[n, 3, height, width], as the network takes it."""
        sized = pixels
        if self.resolution is not None and self.interpolation == "bilinear":
            sized = [_bilinear(picture, self.resolution) for picture in pixels]
        return pixel_batch(sized, self.resolution, self.mean, self.std)


@dataclass(frozen=True)
class FileClassifier:
    """The network in `path`: images [n, 3, height, width] to one output [n, labels].

    `labels` is a file, or `imagenet` for that data set's 1,000 classes in the usual order.
    """

    path: Path
    labels: str | None
    input: FileInput

    kind: ClassVar[str] = "a file with weights of its own"
    reads: ClassVar[tuple[str, ...]] = ("labels", *(setting.name for setting in fields(FileInput)))

    def protocol(self) -> Mapping[str, Any]:
        given = asdict(self.input)
        weights = sha256_of(self._network_file())
        if self.labels == imagenet.NAME:
            labels = {"labels": imagenet.NAME}
        else:
            labels = {"labels_sha256": sha256_of(self._label_file())}
        return {
            "weights_sha256": weights,
            **labels,
            "resize": f"PIL {given.pop('interpolation')}, antialiased",
            **given,
            **({"onnxruntime": runtime_version()} if self.path.suffix == ".onnx" else {}),
        }

    def known_labels(self) -> Collection[str]:
        return () if self.labels == imagenet.NAME else read_labels(self._label_file())

    def known_count(self) -> int | None:
        return imagenet.CLASSES if self.labels == imagenet.NAME else len(self.known_labels())

    def load(self, device: str) -> LabelledClassifier:
        file = self._network_file()
        named = self.labels == imagenet.NAME
        labels = imagenet.imagenet_labels() if named else read_labels(self._label_file())
        heads = checked_heads({ONE_HEAD: labels}, self.labels)
        run = _onnx(file, device) if file.suffix == ".onnx" else open_torchscript(file, device, "classifier")
        network = OneHeadNetwork(run, heads, self.input)
        if self.input.resolution is not None:  # else what sizes it takes is not known
            network.predict([np.zeros((8, 8, 3), np.uint8)])
        return network

    def _network_file(self) -> Path:
        if not self.path.is_file():
            raise NotHere(
                f"classifier {str(self.path)!r} is not a file (--evaluator-option model=PATH); how to "
                f"make those that papers use: docs/classifiers.md"
            )
        return self.path

    def _label_file(self) -> Path:
        return label_file(self.labels, f"{self.path} needs its labels", imagenet.NAME)


def label_file(labels: str | None, needs: str, known: str) -> Path:
    """The file that the option `labels` names, where it is not the name of a `known` list.

    Raises BenchError where there is none; `needs` says which classifier needs them, and what for.
    """
    if labels is None:
        raise BenchError(
            f"classifier {needs}: --evaluator-option labels=FILE "
            f"(one label a line, or a JSON list, in the order of the output), or labels={known}"
        )
    file = user_path(labels)
    if not file.is_file():
        raise BenchError(f"labels {str(file)!r} are not a file (--evaluator-option labels=FILE, or {known})")
    return file


@dataclass(frozen=True, eq=False)
class OneHeadNetwork:
    """A function from an image batch to one array [n, labels]."""

    run: Callable[[Any], Any]
    heads: Mapping[str, tuple[str, ...]]
    input: FileInput

    def predict(self, pixels: Sequence[Pixels]) -> Mapping[str, Probabilities]:
        output = np.asarray(self.run(self.input.batch(pixels)))
        (labels,) = self.heads.values()
        if output.shape != (len(pixels), len(labels)):
            raise BenchError(
                f"the classifier gives {list(output.shape)} for {len(pixels)} pictures and {len(labels)} "
                f"labels: "
                f"the labels file does not fit it (--evaluator-option labels=FILE)"
            )
        is_logits = self.input.output == "logits"
        return {ONE_HEAD: distributions(output, is_logits, "--evaluator-option output")}


def read_labels(file: Path) -> list[str]:
    """Labels of a JSON list, or of a text file with one a line. Raises BenchError for what is no UTF-8."""
    text = decoded(file.read_bytes(), str(file))
    if text.lstrip().startswith("["):
        try:
            return list(json.loads(text))
        except (ValueError, RecursionError) as error:
            raise BenchError(f"labels {file} are no JSON list: {error}") from error
    if text.lstrip().startswith("{"):
        raise BenchError(
            f"labels {file} are a JSON object: write a list, or one label a line, in the order of the output "
            "(--evaluator-option labels=FILE)"
        )
    return [line.strip() for line in text.splitlines() if line.strip()]


def _onnx(file: Path, device: str) -> Callable[[Any], Any]:
    session = open_session(file, device, "classifier")
    name = session.get_inputs()[0].name
    return lambda images: session.run(None, {name: images})[0]


def _bilinear(pixels: Pixels, side: int) -> Pixels:
    from PIL import Image

    if pixels.shape[:2] == (side, side):
        return pixels
    return np.asarray(Image.fromarray(pixels).resize((side, side), Image.Resampling.BILINEAR))
