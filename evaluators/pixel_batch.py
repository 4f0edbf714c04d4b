"""Pictures of any sizes as one float batch for a network."""

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from erasure_bench.evaluators.base import Pixels
from erasure_bench.evaluators.resizing import square


def pixel_batch(
    pixels: Sequence[Pixels],
    resolution: int | None = None,
    mean: Sequence[float] = (0.0, 0.0, 0.0),
    std: Sequence[float] = (1.0, 1.0, 1.0),
) -> NDArray[np.float32]:
    """[n, 3, height, width]: RGB in [0, 1], minus `mean`, divided by `std`.

    With a `resolution`, a picture of another size is first resized to resolution × resolution
    (bicubic, antialiased); without one, all pictures must have the same size.
    """
    resized = pixels if resolution is None else [square(picture, resolution) for picture in pixels]
    values = np.stack(resized).astype(np.float32) / np.float32(255)
    normalised = (values - np.asarray(mean, np.float32)) / np.asarray(std, np.float32)
    return np.ascontiguousarray(normalised.transpose(0, 3, 1, 2))


def by_size(pixels: Iterable[Pixels]) -> list[list[int]]:
    """The places of the pictures of each size: what can be one batch without being resized."""
    places: dict[tuple[int, ...], list[int]] = {}
    for place, picture in enumerate(pixels):
        places.setdefault(picture.shape, []).append(place)
    return [*places.values()]
