"""Sizes of a model's pictures, read from its configs, and a suite's sizes on that model."""

from pathlib import Path
from typing import NamedTuple

from erasure_bench.models.fitness import blocks
from erasure_bench.models.json_files import read_json


class ModelSizes(NamedTuple):
    """Native side and the multiple that sides must be of, both in pixels."""

    resolution: int
    multiple: int


def model_sizes(directory: Path) -> ModelSizes:
    """What `DiffusionModel.resolution` and `.size_multiple` will be, without loading the weights."""
    unet = read_json(directory / "unet" / "config.json")
    factor = 2 ** (blocks(read_json(directory / "vae" / "config.json"), "vae") - 1)
    side = unet["sample_size"]
    return ModelSizes(
        resolution=(side if isinstance(side, int) else side[0]) * factor,
        multiple=factor * 2 ** (blocks(unet, "unet") - 1),
    )


def scaled_side(side: int | None, reference: int | None, model: ModelSizes) -> int:
    """A side in pixels on this model, rounded to the nearest multiple (at least one).

    `side` None means the native side; `reference` is the resolution that `side` refers to, None
    where it is already the model's.
    """
    if side is None:
        return model.resolution
    pixels = side * model.resolution / reference if reference else side
    # Halves go up, not to the even neighbour: sizes must not depend on which multiple they lie beside.
    return max(1, int(pixels / model.multiple + 0.5)) * model.multiple
