"""Pictures that a user keeps in files, as the RGB pixels that evaluators take."""

from pathlib import Path

import numpy as np

from erasure_bench.errors import BenchError
from erasure_bench.evaluators.base import Pixels
from erasure_bench.stand_ins import refuse_stand_in

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff"})
_SIXTEEN_BITS = 257
"""White is 65,535 in 16 bits and 255 in 8."""


def picture_files(folder: Path) -> list[Path]:
    """The pictures in `folder`, at any depth, in the order of their names."""
    return sorted(file for file in folder.rglob("*") if file.suffix.lower() in SUFFIXES and file.is_file())


def read_picture(file: Path) -> Pixels:
    """RGB pixels [height, width, 3].

    Grey becomes three equal channels, transparency is dropped (as other tools do), 16 bits are rounded to 8;
    of several frames the first counts. Raises BenchError for what cannot be read as a picture.
    """
    from PIL import Image

    refuse_stand_in(file)
    try:
        with Image.open(file) as picture:
            if picture.mode.startswith("I"):
                return _grey_of_16_bits(np.asarray(picture))
            if picture.mode == "F":
                raise ValueError("pixels are floating-point numbers, whose range is not known")
            return np.asarray(picture.convert("RGB"))
    except Exception as error:  # decoders fail in ways of their own
        raise BenchError(
            f"{file}: is no picture that can be read: {' '.join(str(error).split())[:200]}"
        ) from error


def _grey_of_16_bits(values: np.ndarray) -> Pixels:
    if values.min() < 0 or values.max() > 255 * _SIXTEEN_BITS:
        raise ValueError("pixels are outside of the 16-bit range")
    grey = np.rint(values / _SIXTEEN_BITS).astype(np.uint8)
    return np.repeat(grey[..., None], 3, axis=-1)
