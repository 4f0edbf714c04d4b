"""Sizes of a model's pictures, read from its folder, and a suite's sizes on that model."""

from pathlib import Path

from erasure_bench.models.layouts import ModelSizes, layout_of

__all__ = ["ModelSizes", "model_sizes", "scaled_side"]


def model_sizes(directory: Path) -> ModelSizes:
    """Of the model in a folder, without loading the weights."""
    return layout_of(directory).sizes(directory)


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
