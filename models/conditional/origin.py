"""The pictures that a class-conditional model was trained on."""

from pathlib import Path
from typing import TYPE_CHECKING

from erasure_bench.errors import BenchError
from erasure_bench.models.conditional.description import is_class_model, read_description
from erasure_bench.models.datasets.registry import load_dataset

if TYPE_CHECKING:
    from erasure_bench.models.datasets.base import LabelledParts


def training_data(directory: Path, data_dir: Path | None = None) -> "LabelledParts":
    """Both parts of the data set that the model in `directory` names.

    Raises BenchError where it names none, the pictures are not here, or they are other ones.
    """
    origin = read_description(directory).origin if is_class_model(directory) else None
    if origin is None:
        raise BenchError(f"{directory}: does not say which pictures the model was trained on")
    parts = load_dataset(origin.data, data_dir)
    if (digest := parts.digest()) != origin.digest:
        raise BenchError(
            f"the pictures of {origin.data} here ({parts.origin}, digest {digest[:12]}) are not those that "
            f"{directory.name} was trained on ({origin.digest[:12]}): give their folder (--data-dir)"
        )
    return parts
