"""Pictures of any sizes as one float batch for a network."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from erasure_bench.evaluators.base import Pixels


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
    from PIL import Image

    resized = [
        picture
        if resolution is None or picture.shape[:2] == (resolution, resolution)
        else np.asarray(Image.fromarray(picture).resize((resolution, resolution), Image.Resampling.BICUBIC))
        for picture in pixels
    ]
    values = np.stack(resized).astype(np.float32) / np.float32(255)
    normalised = (values - np.asarray(mean, np.float32)) / np.asarray(std, np.float32)
    return np.ascontiguousarray(normalised.transpose(0, 3, 1, 2))
