"""Weights that a user brings, as an edit: published checkpoints beside the edits that methods make here.

Not a method: the weights are read before there is a concept to erase, and are the same for all.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import torch
from pydantic import FiniteFloat
from torch import Tensor

from erasure_bench.errors import BenchError
from erasure_bench.methods.edit import Edit, new_edit
from erasure_bench.models.checkpoints.checkpoint import Checkpoint, check_checkpoint, read_checkpoint
from erasure_bench.models.checkpoints.contents import Contents, WeightsChoice
from erasure_bench.models.checkpoints.files import checkpoint_files
from erasure_bench.models.checkpoints.fitting import fitted, refuse_choice, refuse_scale
from erasure_bench.models.image_model import ImageModel
from erasure_bench.prompt_suites.concepts import Concept

VERSION = "1"
"""Names what this makes: another one is due where that changes (`bench.identity`)."""
USER_WEIGHTS = "user-weights"
EDIT_FOLDER = "folder of an edit made here"


@dataclass(frozen=True, kw_only=True)
class ReadingOptions:
    """How a user wants files to be read: the `weights` and `scale` of `read_checkpoint`."""

    weights: WeightsChoice = "ema"
    scale: FiniteFloat = 1.0


@dataclass(frozen=True, kw_only=True)
class UserWeights(ReadingOptions):
    """What decides such an edit: the files' content and how they are read, never where they lie."""

    digest: str


@dataclass(frozen=True, kw_only=True)
class ReadUserWeights(UserWeights):
    """The same with what the files were taken for, which is noted in the edit."""

    format: str
    notes: tuple[str, ...] = ()


class UserEdit(NamedTuple):
    """An edit from a user's files, with what they were taken for and remarks, both to be shown."""

    edit: Edit
    format: str
    notes: tuple[str, ...] = ()


def read_user_edit(
    path: Path,
    model: ImageModel,
    concepts: Sequence[Concept],
    *,
    weights: WeightsChoice = "ema",
    scale: float = 1.0,
) -> UserEdit:
    """The edit that the files at `path` are: a checkpoint of any known format, or an edit's own folder.

    An edit's folder comes back as it was saved, with its guidance, cost and concepts. Raises
    BenchError where the files cannot be read, or do not belong to the model.
    """
    if checkpoint_files(path).kind == "edit":
        return _own_edit(path, model.digest, model.name, weights, scale)
    checkpoint = read_checkpoint(path, model.named_tensors(), weights=weights, scale=scale)
    edit = user_edit(checkpoint, model, concepts, weights=weights, scale=scale)
    return UserEdit(edit, checkpoint.format, tuple(edit.settings["notes"]))


def check_user_edit(
    path: Path,
    base: Mapping[str, Tensor],
    base_digest: str,
    base_name: str,
    *,
    weights: WeightsChoice = "ema",
    scale: float = 1.0,
) -> str:
    """What `read_user_edit` will take the files for; of `base`, the model's tensors, only shapes count.

    A checkpoint's headers tell it, and its tensors are not read. Raises what `read_user_edit` would.
    """
    if checkpoint_files(path).kind != "edit":
        return check_checkpoint(path, base, weights=weights, scale=scale)
    edit = _own_edit(path, base_digest, base_name, weights, scale)
    fitted(str(path), Contents("edit", dict(edit.edit.tensors)), base)
    return edit.format


def user_edit(
    checkpoint: Checkpoint,
    model: ImageModel,
    concepts: Sequence[Concept],
    *,
    weights: WeightsChoice = "ema",
    scale: float = 1.0,
) -> Edit:
    """An edit with the checkpoint's tensors that differ from the model's; what it cost is not known.

    `weights` and `scale` are noted as what the checkpoint was read with. `concepts` are what it is
    said to erase.
    """
    base = model.named_tensors()
    tensors = {name: value for name, value in checkpoint.tensors.items() if not _same(value, base[name])}
    settings = ReadUserWeights(
        digest=checkpoint.digest,
        weights=weights,
        scale=scale,
        format=checkpoint.format,
        notes=(*checkpoint.notes, *_differences(tensors, checkpoint, model)),
    )
    return new_edit(USER_WEIGHTS, settings, model, concepts, tensors=tensors)


def _same(value: Tensor, own: Tensor) -> bool:
    """Whether putting the value into the model would leave it as it is."""
    return torch.equal(value.to(own.dtype), own.detach().cpu())


def _differences(tensors: dict[str, Tensor], checkpoint: Checkpoint, model: ImageModel) -> tuple[str, ...]:
    """How far the weights are from the base's: the sign of a checkpoint that stands on another base."""
    if not tensors:
        return (f"every tensor is equal to the one of {model.name}: this is the base model itself",)
    note = f"{len(tensors)} of its {len(checkpoint.tensors)} tensors differ from those of {model.name}"
    narrow = {str(value.dtype) for value in tensors.values() if value.dtype.itemsize < model.dtype.itemsize}
    if narrow:
        note += f" (it holds {', '.join(sorted(narrow))}: some by rounding alone)"
    elif len(tensors) == len(model.named_tensors()):
        note += ": trained as a whole, or from another base (EMA against raw weights, SD 1.4 against 1.5)"
    return (note,)


def _own_edit(path: Path, base_digest: str, base_name: str, weights: WeightsChoice, scale: float) -> UserEdit:
    refuse_scale(path, scale, EDIT_FOLDER)
    refuse_choice(path, weights, EDIT_FOLDER)
    edit = Edit.load(path)
    if edit.base_digest != base_digest:
        raise BenchError(
            f"{path}: made from a base model with digest {edit.base_digest[:12]}, but {base_name} has "
            f"{base_digest[:12]} (--model)"
        )
    return UserEdit(edit, f"{EDIT_FOLDER}: {edit.method} of {', '.join(edit.concepts)}")
