"""Gives an edit back as weights that other tools load."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from erasure_bench.errors import BenchError
from erasure_bench.methods.edit import Edit
from erasure_bench.models.checkpoints.exporting import ExportFormat, base_tensors, export_weights
from erasure_bench.models.conditional.description import is_class_model
from erasure_bench.models.conditional.exporting import class_model_tensors, export_class_model
from erasure_bench.models.layouts import layout_of


def export_edit(
    edit: Edit, base: Path, format: ExportFormat | None, out: Path, origin: Mapping[str, Any] | None = None
) -> Path:
    """Writes the edit to `out` (a folder for a whole model, else a file) and returns it.

    `base` is the folder of the model that the edit was made from, a pipeline's or a class-conditional one's;
    without a `format` it is written as a folder of the same kind. `origin` (JSON values) says where the
    edit comes from, beside what it says of itself. Raises BenchError for an edit of the sampling or
    with an attachment, which no weights can hold, for another base, and as `export_weights` does.
    """
    whose = f"the edit of {', '.join(edit.concepts)} by {edit.method}"
    if edit.guidance is not None:
        raise BenchError(f"{whose} works while sampling and cannot be exported as weights")
    if (digest := layout_of(base).digest(base)) != edit.base_digest:
        raise BenchError(
            f"{whose} was made from a base model with digest {edit.base_digest[:12]}, but {base} has "
            f"{digest[:12]} (--model)"
        )
    about = {
        **(origin or {}),
        "method": edit.method,
        "settings": dict(edit.settings),
        "concepts": list(edit.concepts),
        "base_digest": edit.base_digest,
        "versions": dict(edit.versions),
    }
    export = export_class_model if is_class_model(base) else export_weights
    return export(base, _weights(edit, base, whose), out, format=format, about=about)


def _weights(edit: Edit, base: Path, whose: str) -> Mapping[str, Tensor]:
    """The edit's weights with its attachments in them."""
    changed = dict(edit.tensors)
    read = class_model_tensors if is_class_model(base) else base_tensors
    own = read(base) if edit.attachments else {}
    for attachment in edit.attachments:
        try:
            changed |= attachment.as_weights(own | changed)
        except BenchError as error:
            raise BenchError(f"{whose} cannot be exported as weights: {error}") from error
    return changed
