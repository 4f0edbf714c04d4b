"""Which files make up a checkpoint, and the digest that identifies them; imports no torch."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from erasure_bench.models.digest import file_digest, files_digest
from erasure_bench.models.pipeline_files import WEIGHTS, read_json
from erasure_bench.prompt_suites.errors import BenchError

CheckpointKind = Literal["file", "pipeline", "unet", "text_encoder", "adapter", "edit"]
ADAPTER_WEIGHTS = ("adapter_model.safetensors", "adapter_model.bin")
EDIT_FILE, EDIT_WEIGHTS = "edit.json", "weights.safetensors"
SUFFIXES = (".safetensors", ".ckpt", ".pt", ".pth", ".bin")
UNET_CLASS = "UNet2DConditionModel"
TEXT_ENCODER_CLASSES = {"CLIPTextModel", "CLIPTextModelWithProjection"}
PIPELINE_CLASS = "StableDiffusionPipeline"


@dataclass(frozen=True, kw_only=True)
class CheckpointFiles:
    """What will be read of a checkpoint.

    `weights` are the weight files by the part of the model they hold; a lone file, of which only
    its content says what it holds, has the part "". `settings` is the JSON file that belongs to
    them: a PEFT adapter's or an edit's.
    """

    path: Path
    kind: CheckpointKind
    weights: Mapping[str, Path] = field(default_factory=dict)
    settings: Path | None = None

    @property
    def all(self) -> tuple[Path, ...]:
        """Every file that decides what the checkpoint is."""
        return tuple(self.weights.values()) + (() if self.settings is None else (self.settings,))


def checkpoint_files(path: Path) -> CheckpointFiles:
    """The files of the checkpoint at `path`, a file or a folder of one of the known layouts.

    Raises BenchError where there is nothing, or a folder in which the weights are not found.
    """
    path = path.expanduser()
    if path.is_file():
        return CheckpointFiles(path=path, kind="file", weights={"": path})
    if not path.is_dir():
        raise BenchError(f"{path}: no such file or folder of weights")
    if (path / EDIT_FILE).is_file():
        weights = {"": path / EDIT_WEIGHTS} if (path / EDIT_WEIGHTS).is_file() else {}
        return CheckpointFiles(path=path, kind="edit", weights=weights, settings=path / EDIT_FILE)
    if (path / "model_index.json").is_file():
        return _pipeline(path)
    if (path / "adapter_config.json").is_file():
        return CheckpointFiles(
            path=path,
            kind="adapter",
            weights={"": _first(path, ADAPTER_WEIGHTS)},
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
    if files.kind == "file":
        return file_digest(files.weights[""], afresh=True)
    return files_digest(files.path, sorted(files.all), afresh=True)


def _pipeline(path: Path) -> CheckpointFiles:
    kind = read_json(path / "model_index.json").get("_class_name")
    if kind != PIPELINE_CLASS:
        raise BenchError(f"{path}: a {kind} pipeline; valid: {PIPELINE_CLASS} (SD 1.x and 2.x)")
    weights = {"unet": _first(path / "unet", WEIGHTS["unet"])}
    if (path / "text_encoder").is_dir():
        weights["text_encoder"] = _first(path / "text_encoder", WEIGHTS["text_encoder"])
    return CheckpointFiles(path=path, kind="pipeline", weights=weights)


def _part(path: Path) -> CheckpointFiles:
    config = read_json(path / "config.json")
    if config.get("_class_name") == UNET_CLASS:
        return CheckpointFiles(path=path, kind="unet", weights={"unet": _first(path, WEIGHTS["unet"])})
    if TEXT_ENCODER_CLASSES.intersection(config.get("architectures") or ()):
        return CheckpointFiles(
            path=path,
            kind="text_encoder",
            weights={"text_encoder": _first(path, WEIGHTS["text_encoder"])},
        )
    raise BenchError(
        f"{path}: config.json is of {_class(config)}; valid: {UNET_CLASS}, "
        f"{', '.join(sorted(TEXT_ENCODER_CLASSES))}, or a whole pipeline's folder"
    )


def _class(config: Mapping[str, Any]) -> str:
    names = [config.get("_class_name"), *(config.get("architectures") or ())]
    return " ".join(str(name) for name in names if name) or "no class that it names"


def _lone_file(path: Path) -> CheckpointFiles:
    """A folder that some training script left a single weight file in: what it holds is read from it."""
    found = sorted(file for file in path.iterdir() if file.is_file() and file.suffix in SUFFIXES)
    if len(found) != 1:
        listed = f"holds {', '.join(file.name for file in found)}: name one of them" if found else "has none"
        raise BenchError(
            f"{path}: not the folder of a diffusers pipeline, UNet, text encoder, PEFT adapter or edit; of "
            f"weight files ({', '.join(SUFFIXES)}) it {listed}"
        )
    return CheckpointFiles(path=path, kind="file", weights={"": found[0]})


def _first(folder: Path, names: tuple[str, ...]) -> Path:
    for name in names:
        if (folder / name).is_file():
            return folder / name
    raise BenchError(f"{folder}: no weights there; looked for {', '.join(names)}")
