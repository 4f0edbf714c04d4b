"""What the classifier evaluator's option `model` names."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError, model_validator

from erasure_bench.errors import BenchError, NotHere
from erasure_bench.evaluators import imagenet
from erasure_bench.evaluators.classifier_file import (
    SUFFIXES,
    FileClassifier,
    FileInput,
    Interpolation,
    Output,
    wrong_input,
)
from erasure_bench.evaluators.classifier_folder import DESCRIPTION_FILE, FolderClassifier
from erasure_bench.evaluators.classifier_several import SeveralClassifiers
from erasure_bench.evaluators.classifier_torchvision import TorchvisionClassifier
from erasure_bench.evaluators.classifier_transformers import CONFIG_FILE, TransformersClassifier
from erasure_bench.evaluators.classifier_zero_shot import LISTS, PREFIX, ZeroShotClassifier
from erasure_bench.evaluators.hub_snapshot import hub_snapshot
from erasure_bench.evaluators.labelled_classifier import ClassifierSource
from erasure_bench.evaluators.local_weights import copy_in_models
from erasure_bench.evaluators.shipped import shipped_classifier
from erasure_bench.user_paths import user_path
from erasure_bench.users_text import decoded

SEVERAL = ".json"
_WEB = ("https://", "http://")
_PLACES = (".", "/", "~", "$")
"""What only a path begins with."""


@dataclass(frozen=True, kw_only=True)
class Beside:
    """What a model may need beside its name; each kind of model says which of it it reads."""

    weights: str | None
    labels: str | None
    input: FileInput


def classifier_source(model: str, beside: Beside) -> ClassifierSource:
    """Where the classifier that `model` names comes from; loads nothing. Raises BenchError.

    In turn: `clip:BACKBONE`; a built-in generator that ships an oracle; a data set; a folder, of this project
    (`oracle.json`) or of transformers (`config.json`); a TorchScript or ONNX file; a JSON file that names a
    classifier for each head; ORG/NAME@COMMIT of the hub; NAME/WEIGHTS of torchvision.
    """
    if model.startswith(PREFIX):
        labels = beside.labels
        named = labels is None or labels in LISTS
        return ZeroShotClassifier(
            model.removeprefix(PREFIX), beside.weights, labels if named else str(_absolute(str(labels)))
        )
    if shipped := shipped_classifier(model):
        return FolderClassifier(shipped, model)
    path = _place(model)
    if path.is_dir():
        is_of_transformers = (path / CONFIG_FILE).is_file() and not (path / DESCRIPTION_FILE).is_file()
        return TransformersClassifier(path) if is_of_transformers else FolderClassifier(path, model)
    if path.suffix in SUFFIXES:
        labels = beside.labels
        if labels is not None and labels != imagenet.NAME:
            labels = str(_absolute(labels))
        return FileClassifier(path, labels, beside.input)
    if path.suffix == SEVERAL:
        return _several(path)
    if snapshot := hub_snapshot(model, "classifier"):
        return TransformersClassifier(snapshot)
    name, _, tag = model.partition("/")
    if model.startswith(_PLACES):
        raise NotHere(
            f"classifier {model!r} is not here, nor in $BENCH_MODELS (--evaluator-option model=FOLDER or "
            f"FILE); how to get those that papers use: docs/classifiers.md"
        )
    if not tag or "/" in tag:
        raise BenchError(
            f"unknown classifier {model!r} (--evaluator-option model=): name a folder with "
            f"{DESCRIPTION_FILE} or {CONFIG_FILE}, a file ({', '.join(SUFFIXES)}, or {SEVERAL} for several), "
            f"NAME/WEIGHTS of torchvision such as resnet50/IMAGENET1K_V2, ORG/NAME@COMMIT of the hub, a "
            f"built-in generator that ships an oracle, a data set, or {PREFIX}BACKBONE as clip has it"
        )
    if beside.weights and beside.weights.startswith(_WEB):
        return TorchvisionClassifier(name, tag, mirror=beside.weights)
    return TorchvisionClassifier(name, tag, user_path(beside.weights) if beside.weights else None)


def _absolute(path: str) -> Path:
    """A path that still means the same from another folder: what is loaded is remembered by it."""
    return user_path(path).absolute()


def _place(model: str) -> Path:
    """The path, or that in $BENCH_MODELS if it is only there."""
    path, copy = _absolute(model), copy_in_models(model)
    return copy if copy and copy.exists() and not path.exists() else path


class Part(BaseModel):
    """One head's classifier, with the evaluator's own names for settings; paths count from the JSON file."""

    model_config = ConfigDict(extra="forbid")

    model: str
    weights: str | None = None
    labels: str | None = None
    resolution: int | None = None
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    std: tuple[float, float, float] = (1.0, 1.0, 1.0)
    output: Output = "logits"
    interpolation: Interpolation = "bicubic"

    @model_validator(mode="after")
    def _is_possible(self) -> "Part":
        if wrong := wrong_input(self.resolution, self.std):
            raise ValueError(wrong)
        return self


def _several(file: Path) -> SeveralClassifiers:
    if not file.is_file():
        raise NotHere(
            f"classifier {str(file)!r} is not a file (--evaluator-option model=PATH); what is in such a one: "
            f"docs/classifiers.md"
        )
    try:
        said = json.loads(decoded(file.read_bytes(), str(file)), object_pairs_hook=_each_once)
        parts = TypeAdapter(dict[str, Part]).validate_python(said)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise BenchError(f"{file}: {where or 'content'}: {first['msg']}") from error
    except (ValueError, RecursionError) as error:
        raise BenchError(f"{file}: content: {error}") from error
    if not parts:
        raise BenchError(
            f'{file}: names no head; write {{"style": {{"model": …}}, "object": {{"model": …}}}}'
        )
    sources = []
    for head, part in parts.items():
        source = _of_part(part, file.parent)
        own = part.model_dump(exclude_defaults=True).keys()
        if unused := sorted(own - {"model", *source.reads}):
            raise BenchError(
                f"{file}: {head}: {unused[0]} has no effect with model={part.model}, {source.kind}: leave it "
                f"out"
            )
        sources.append((head, source))
    return SeveralClassifiers(tuple(sources))


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object of JSON; raises ValueError where a name would take an earlier one's place."""
    names = [name for name, _ in pairs]
    if doubled := next((name for name in names if names.count(name) > 1), None):
        raise ValueError(f"{doubled!r} is there twice")
    return dict(pairs)


def _of_part(part: Part, folder: Path) -> ClassifierSource:
    given = FileInput(
        resolution=part.resolution,
        mean=part.mean,
        std=part.std,
        output=part.output,
        interpolation=part.interpolation,
    )
    named = part.labels == imagenet.NAME or part.labels in LISTS
    labels = part.labels if named else _from(folder, part.labels)
    beside = Beside(weights=_from(folder, part.weights), labels=labels, input=given)
    here = folder / user_path(part.model)
    is_path = here.is_dir() or here.suffix in SUFFIXES
    return classifier_source(str(here) if is_path else part.model, beside)


def _from(folder: Path, path: str | None) -> str | None:
    """A path as the user wrote it in a file of `folder`."""
    return path if path is None or path.startswith(_WEB) else str(folder / user_path(path))
