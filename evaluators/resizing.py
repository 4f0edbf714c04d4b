"""The two ways in which evaluators bring pictures to a network's size, both with Pillow and antialiased."""

from collections.abc import Sequence

import numpy as np

from erasure_bench.evaluators.base import Pixels

NARROWEST = 16
"""How many times the other a side may be: brought to a network's size, a single row would fill the memory."""
SQUARE = "PIL bicubic, antialiased"
SHORTER_SIDE = "shorter side, PIL bilinear, antialiased"


def refuse_narrow(pictures: Sequence[Pixels]) -> None:
    """Raises ValueError where a picture's longer side is more than `NARROWEST` times the other."""
    for pixels in pictures:
        if is_narrow(pixels):
            raise ValueError(f"{pixels.shape[1]}×{pixels.shape[0]} pixels are too narrow for it")


def is_narrow(pixels: Pixels) -> bool:
    """Whether the longer side is more than `NARROWEST` times the other."""
    shorter, longer = sorted(pixels.shape[:2])
    return longer > NARROWEST * shorter


def square(pixels: Pixels, side: int) -> Pixels:
    """RGB pixels [side, side, 3]; the picture is stretched where it is no square."""
    from PIL import Image

    return _resized(pixels, side, side, Image.Resampling.BICUBIC)


def shorter_side(pixels: Pixels, side: int) -> Pixels:
    """RGB pixels whose shorter side has `side` pixels and whose proportions stay.

    As torchvision's `Resize(side)` does with a Pillow picture: the longer side is cut to a whole number.
    """
    from PIL import Image

    height, width = pixels.shape[:2]
    longer = int(side * max(height, width) / min(height, width))
    sizes = (longer, side) if height > width else (side, longer)
    return _resized(pixels, *sizes, Image.Resampling.BILINEAR)


def _resized(pixels: Pixels, height: int, width: int, filter_: int) -> Pixels:
    from PIL import Image

    if pixels.shape[:2] == (height, width):
        return pixels
    resized: Pixels = np.asarray(Image.fromarray(pixels).resize((width, height), Image.Resampling(filter_)))
    return resized
