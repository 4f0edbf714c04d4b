"""Reads a user's weights: recognises the format by what the files hold, and fits them to the base model."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args

from torch import Tensor

from erasure_bench.models.checkpoints.compvis import COMPVIS
from erasure_bench.models.checkpoints.contents import Contents, Format, Source, Target, WeightsChoice, some
from erasure_bench.models.checkpoints.files import CheckpointFiles, checkpoint_files, digest_of
from erasure_bench.models.checkpoints.fitting import fitted, refuse_foreign, refuse_scale
from erasure_bench.models.checkpoints.lora import LORA
from erasure_bench.models.checkpoints.names import extents
from erasure_bench.models.checkpoints.reading import flat_names, read_file
from erasure_bench.models.checkpoints.state_dicts import DELTA, MODULES, STATE_DICT, read_part
from erasure_bench.models.pipeline_files import read_json
from erasure_bench.prompt_suites.errors import BenchError, UnknownName

FORMATS: tuple[Format, ...] = (DELTA, MODULES, LORA, COMPVIS, STATE_DICT)
"""Kinds of files; the first that matches is taken."""

FOLDER_FORMATS = {
    "pipeline": "diffusers pipeline folder",
    "unet": "diffusers UNet folder",
    "text_encoder": "CLIPTextModel folder",
}
KNOWN_FORMATS = (*FOLDER_FORMATS.values(), "PEFT adapter folder", *(known.title for known in FORMATS))
LIGHTNING_LEVEL = "state_dict"
"""The level that Lightning's checkpoints, and compvis deltas after them, keep the weights in."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Checkpoint:
    """Weights to put in the place of a base model's.

    `format` says what they were taken for, in words. `tensors` are full values, on the CPU and in
    the file's precision, by the names of `DiffusionModel.named_tensors`: all that the files hold,
    whether or not they differ from the base's. `notes` say what was ignored or assumed. `digest` is
    that of `checkpoint_digest`.
    """

    format: str
    tensors: Mapping[str, Tensor]
    digest: str
    notes: tuple[str, ...] = field(default=())


def read_checkpoint(
    path: Path,
    base: Mapping[str, Tensor],
    *,
    weights: WeightsChoice = "ema",
    scale: float = 1.0,
) -> Checkpoint:
    """The weights at `path`, a file or folder in any of `KNOWN_FORMATS`, for the model with tensors `base`.

    `weights` chooses between a compvis checkpoint's EMA and raw weights, `scale` is a LoRA's strength.
    Nothing is run that a file holds: only safetensors and weights-only pickles are read. Raises
    BenchError where the format is not known or not safe, where the weights belong to another kind
    of model or another base, and for a `scale` other than 1 of anything but a LoRA.
    """
    if weights not in get_args(WeightsChoice):
        raise UnknownName(
            "choice of weights", weights, get_args(WeightsChoice), "--method-option NAME.weights=…"
        )
    files = checkpoint_files(Path(path))
    target = Target(base=base, weights=weights, scale=scale)
    contents = _contents(files, target)
    return Checkpoint(
        format=contents.format,
        tensors=fitted(f"{files.path}, taken for a {contents.format}", contents, base),
        digest=digest_of(files),
        notes=contents.notes,
    )


def _contents(files: CheckpointFiles, target: Target) -> Contents:
    match files.kind:
        case "file":
            return _recognised(_source(files.weights[""]), target)
        case "adapter":
            assert files.settings is not None
            return _recognised(_source(files.weights[""], read_json(files.settings)), target)
        case "edit":
            raise BenchError(
                f"{files.path}: an edit's folder, which holds more than weights; for these alone name its "
                f"{', '.join(file.name for file in files.weights.values()) or 'weights: it has none'}"
            )
        case _:
            return _parts(files, target)


def _source(path: Path, adapter: Mapping[str, Any] | None = None) -> Source:
    tree, metadata = read_file(path)
    while isinstance(tree.get(LIGHTNING_LEVEL), Mapping):
        tree = tree[LIGHTNING_LEVEL]
    return Source(path=path, tree=tree, metadata=metadata, adapter=adapter or {})


def _recognised(source: Source, target: Target) -> Contents:
    names = flat_names(source.tree)
    refuse_foreign(source.path, names)
    for known in FORMATS:
        if known.matches(source.tree):
            if not known.has_scale:
                refuse_scale(source.path, target.scale, known.title)
            return known.read(source, target)
    held = f"its tensors are named {some(names, 4)}" if names else "it holds no tensors"
    raise BenchError(f"{source.path}: not a known format: {held}; known: {'; '.join(KNOWN_FORMATS)}")


def _parts(files: CheckpointFiles, target: Target) -> Contents:
    """A folder that says itself what its files are."""
    refuse_scale(files.path, target.scale, FOLDER_FORMATS[files.kind])
    tensors: dict[str, Tensor] = {}
    notes: tuple[str, ...] = ()
    for part, path in files.weights.items():
        source = _source(path)
        refuse_foreign(path, flat_names(source.tree))
        found = read_part(source, part)
        tensors |= found.tensors
        notes += found.notes
    if files.kind == "pipeline":
        notes += ("its autoencoder, tokenizer and scheduler are not used: the base model's are",)
    return Contents(
        f"{FOLDER_FORMATS[files.kind]}: {extents(tensors, target.base)}",
        tensors,
        notes,
        complete=tuple(files.weights),
    )
