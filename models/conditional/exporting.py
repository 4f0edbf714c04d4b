"""Writes a class-conditional model with other weights in it: as a folder like its own, or as one file."""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file
from torch import Tensor

from erasure_bench.errors import BenchError
from erasure_bench.models.checkpoints.contents import Contents
from erasure_bench.models.checkpoints.exporting import (
    ExportFormat,
    appearing,
    check_export,
    in_one_dtype,
    metadata,
    ready,
    write_about,
)
from erasure_bench.models.checkpoints.fitting import fitted
from erasure_bench.models.conditional.description import DESCRIPTION, WEIGHTS
from erasure_bench.models.conditional.folder import check_class_model, class_model_part

FORMATS: tuple[ExportFormat, ...] = ("class-model", "safetensors", "delta")
"""The first is what is written where nothing is said."""


def export_class_model(
    base: Path,
    tensors: Mapping[str, Tensor],
    out: Path,
    *,
    format: ExportFormat | None = None,
    about: Mapping[str, Any] | None = None,
) -> Path:
    """Writes the model in the folder `base` with `tensors` in it to `out`; returns it.

    `tensors` are full values by the names of `ImageModel.named_tensors`. A file has the names that the
    network's own `load_state_dict` takes. `about` is as in `export_weights`. Raises BenchError as that does,
    and for the format of another kind of model.
    """
    chosen = format or FORMATS[0]
    if chosen not in FORMATS:
        raise BenchError(
            f"{base.name} is asked by a class, and diffusers has no pipeline for that: valid here: "
            f"{', '.join(FORMATS)} (--format)"
        )
    check_class_model(base)
    check_export(tensors, out)
    part = class_model_part(base)
    own = class_model_tensors(base)
    changed = fitted("the edit", Contents("edit", dict(tensors)), own)
    kept = changed if chosen == "delta" else in_one_dtype({**own, **changed})
    named = {name.removeprefix(f"{part}."): tensor for name, tensor in ready(kept).items()}
    note = metadata(about)
    with appearing(out) as temporary:
        if chosen != "class-model":
            save_file(named, temporary, note)
        else:
            temporary.mkdir()
            save_file(named, temporary / WEIGHTS, note)
            shutil.copyfile(base / DESCRIPTION, temporary / DESCRIPTION)
            write_about(temporary, about)
    return out


def class_model_tensors(directory: Path) -> dict[str, Tensor]:
    """The folder's tensors by the names of `ImageModel.named_tensors`."""
    part = class_model_part(directory)
    return {f"{part}.{name}": tensor for name, tensor in load_file(directory / WEIGHTS).items()}
