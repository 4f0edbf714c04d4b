"""Which files make up a checkpoint, and the digest that identifies them; imports no torch."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from erasure_bench.errors import BenchError
from erasure_bench.models.conditional.description import DESCRIPTION as CLASS_DESCRIPTION
from erasure_bench.models.conditional.description import WEIGHTS as CLASS_WEIGHTS
from erasure_bench.models.conditional.description import is_class_model, missing_files
from erasure_bench.models.digest import file_digest, files_digest
from erasure_bench.models.json_files import read_json
from erasure_bench.models.pipeline_files import check_kind
from erasure_bench.models.weight_files import INDEX_SUFFIX, WEIGHTS, is_index, shards, weight_files
from erasure_bench.user_paths import user_path

CheckpointKind = Literal["file", "pipeline", "unet", "text_encoder", "class-model", "adapter", "edit"]
ADAPTER_WEIGHTS = ("adapter_model.safetensors", "adapter_model.bin")
EDIT_FILE, EDIT_WEIGHTS = "edit.json", "weights.safetensors"
SUFFIXES = (".safetensors", ".ckpt", ".pt", ".pth", ".bin")
UNET_CLASS = "UNet2DConditionModel"
TEXT_ENCODER_CLASSES = {"CLIPTextModel", "CLIPTextModelWithProjection"}
SHARD = re.compile(r"(?P<name>.+)-\d{5}-of-(?P<count>\d{5})")


@dataclass(frozen=True, kw_only=True)
class CheckpointFiles:
    """What will be read of a checkpoint.

    `weights` are the weight files, several where they are shards, by the part of the model they hold;
    those of which only the content says what they hold have the part "". `settings` is the JSON file
    that belongs to them: a PEFT adapter's, an edit's or a class-conditional model's.
    """

    path: Path
    kind: CheckpointKind
    weights: Mapping[str, tuple[Path, ...]] = field(default_factory=dict)
    settings: Path | None = None

    @property
    def all(self) -> tuple[Path, ...]:
        """Every file that decides what the checkpoint is."""
        weights = tuple(path for paths in self.weights.values() for path in paths)
        return weights + (() if self.settings is None else (self.settings,))


def checkpoint_files(path: Path) -> CheckpointFiles:
    """The files of the checkpoint at `path`, a file or a folder of one of the known layouts.

    Raises BenchError where there is nothing, or a folder in which the weights are not found.
    """
    path = user_path(path)
    if path.is_file():
        return _file(path)
    if not path.is_dir():
        raise BenchError(f"{path}: no such file or folder of weights")
    if (path / EDIT_FILE).is_file():
        weights = {"": (path / EDIT_WEIGHTS,)} if (path / EDIT_WEIGHTS).is_file() else {}
        return CheckpointFiles(path=path, kind="edit", weights=weights, settings=path / EDIT_FILE)
    if (path / "model_index.json").is_file():
        return _pipeline(path)
    if is_class_model(path):
        if missing := missing_files(path):
            raise BenchError(f"{path}: not a complete class-conditional model: missing {', '.join(missing)}")
        return CheckpointFiles(
            path=path,
            kind="class-model",
            weights={"": (path / CLASS_WEIGHTS,)},
            settings=path / CLASS_DESCRIPTION,
        )
    if (path / "adapter_config.json").is_file():
        return CheckpointFiles(
            path=path,
            kind="adapter",
            weights={"": (_adapter_weights(path),)},
            settings=path / "adapter_config.json",
        )
    if (path / "config.json").is_file():
        return _part(path)
    return _lone_file(path)


def checkpoint_digest(path: Path) -> str:
    """Lower-case hex SHA-256 of a checkpoint file, or over the sorted (name, SHA-256) of a folder's files.

    Always of what the files hold now: nothing is remembered. Raises BenchError as `checkpoint_files` does.
    """
    return digest_of(checkpoint_files(path))


def digest_of(files: CheckpointFiles) -> str:
    """`checkpoint_digest` of files that are known already."""
    if files.kind == "file" and len(files.all) == 1:
        return file_digest(files.all[0], afresh=True)
    folder = files.path if files.path.is_dir() else files.path.parent
    return files_digest(folder, sorted(files.all), afresh=True)


def _file(path: Path) -> CheckpointFiles:
    """A file that is named itself: the weights, or the index of their shards."""
    if is_index(path):
        return CheckpointFiles(path=path, kind="file", weights={"": _all_there(shards(path))})
    if shard := SHARD.fullmatch(path.stem):
        raise BenchError(
            f"{path}: one of {int(shard['count'])} shards, a part of the weights: name the folder or its "
            f"index, {shard['name']}{path.suffix}{INDEX_SUFFIX}"
        )
    return CheckpointFiles(path=path, kind="file", weights={"": (path,)})


def _pipeline(path: Path) -> CheckpointFiles:
    check_kind(path)
    weights = {"unet": _weights(path / "unet", "unet")}
    if (path / "text_encoder").is_dir():
        weights["text_encoder"] = _weights(path / "text_encoder", "text_encoder")
    return CheckpointFiles(path=path, kind="pipeline", weights=weights)


def _part(path: Path) -> CheckpointFiles:
    config = read_json(path / "config.json")
    if config.get("_class_name") == UNET_CLASS:
        return CheckpointFiles(path=path, kind="unet", weights={"unet": _weights(path, "unet")})
    if TEXT_ENCODER_CLASSES.intersection(config.get("architectures") or ()):
        return CheckpointFiles(
            path=path,
            kind="text_encoder",
            weights={"text_encoder": _weights(path, "text_encoder")},
        )
    raise BenchError(
        f"{path}: config.json is of {_class(config)}; valid: {UNET_CLASS}, "
        f"{', '.join(sorted(TEXT_ENCODER_CLASSES))}, or a whole pipeline's folder"
    )


def _class(config: Mapping[str, Any]) -> str:
    names = [config.get("_class_name"), *(config.get("architectures") or ())]
    return " ".join(str(name) for name in names if name) or "no class that it names"


def _lone_file(path: Path) -> CheckpointFiles:
    """A folder that some training script left its weights in: what they are is read from them."""
    indexes = sorted(file for file in path.iterdir() if file.is_file() and is_index(file))
    if len(indexes) == 1:
        return CheckpointFiles(path=path, kind="file", weights={"": _all_there(shards(indexes[0]))})
    found = sorted(file for file in path.iterdir() if file.is_file() and file.suffix in SUFFIXES)
    if len(found) != 1:
        listed = f"holds {', '.join(file.name for file in found)}: name one of them" if found else "has none"
        raise BenchError(
            f"{path}: not the folder of a diffusers pipeline, UNet, text encoder, class model, PEFT adapter "
            f"or edit; of weight files ({', '.join(SUFFIXES)}) it {listed}"
        )
    return CheckpointFiles(path=path, kind="file", weights=_file(found[0]).weights)


def _weights(folder: Path, part: str) -> tuple[Path, ...]:
    if found := weight_files(folder, part):
        return _all_there(found.paths)
    raise BenchError(f"{folder}: no weights there; looked for {', '.join(WEIGHTS[part])}")


def _all_there(paths: tuple[Path, ...]) -> tuple[Path, ...]:
    if missing := [path for path in paths if not path.is_file()]:
        names = ", ".join(path.name for path in missing[:3])
        raise BenchError(
            f"{missing[0].parent}: lacks {names}{', …' if len(missing) > 3 else ''}, which its index names"
        )
    return paths


def _adapter_weights(folder: Path) -> Path:
    for name in ADAPTER_WEIGHTS:
        if (folder / name).is_file():
            return folder / name
    raise BenchError(f"{folder}: no weights there; looked for {', '.join(ADAPTER_WEIGHTS)}")
