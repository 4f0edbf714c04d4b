"""Picture files of any kind as RGB pixels: the one place that says what an odd file becomes.

    EXIF orientation             turned upright, as a viewer shows it
    bilevel, grey, palette       the same colours in RGB
    transparency                 dropped, as other tools do: the colours that it covers count
    16 bits a channel            the high byte of each value
    CMYK and other spaces        converted without a colour profile; embedded profiles are not applied
    animation, several pages     the first frame
    one pixel, one row           as they are: whether they can be measured is the evaluator's to say
    no picture at all            `UnreadablePicture` with the reason: empty, truncated, corrupt, unknown, too
                                 large, floating point or 32 bits a channel

Who reads many files gets such a picture as `without_pixels(reason)`: every evaluator then gives missing
values with that reason.
"""

import io
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from erasure_bench.errors import BenchError
from erasure_bench.evaluators.base import Pixels
from erasure_bench.evaluators.measuring import without_pixels
from erasure_bench.stand_ins import stand_in

if TYPE_CHECKING:
    from PIL import Image

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff"})
"""What a folder's pictures are known by, in any case; other files are no pictures."""


class UnreadablePicture(BenchError):
    """A file that holds no picture, or none with an RGB form; `reason` is the message without the name."""

    def __init__(self, name: object, reason: str) -> None:
        super().__init__(f"{name}: is no picture that can be read: {reason}")
        self.reason = reason


def picture_files(folder: Path) -> list[Path]:
    """The pictures in `folder`, at any depth, in the order of their names; hidden ones are left out."""
    return sorted(
        file
        for file in folder.rglob("*")
        if file.suffix.lower() in SUFFIXES
        and file.is_file()
        and not any(part.startswith(".") for part in file.relative_to(folder).parts)
    )


def read_picture(file: Path) -> Pixels:
    """RGB pixels [height, width, 3], 0 to 255; raises UnreadablePicture."""
    try:
        if found := stand_in(file):
            raise UnreadablePicture(file, found)
        return decoded(file.read_bytes(), file)
    except OSError as error:
        raise UnreadablePicture(file, error.strerror or str(error)) from error


def pixels_of(file: Path) -> Pixels:
    """`read_picture`, and what stands for a picture where there is none to read."""
    try:
        return read_picture(file)
    except UnreadablePicture as error:
        return without_pixels(error.reason)


def read_folder(folder: Path) -> Iterator[tuple[Path, Pixels]]:
    """`picture_files` one by one, each with its `pixels_of`."""
    for file in picture_files(folder):
        yield file, pixels_of(file)


def decoded(data: bytes, name: object) -> Pixels:
    """The pixels of a file's bytes, which errors call `name`; raises UnreadablePicture."""
    from PIL import Image, ImageFile, ImageOps, UnidentifiedImageError

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of odd metadata; of size only what Pillow refuses counts
            with Image.open(io.BytesIO(data)) as picture:
                if ImageFile.LOAD_TRUNCATED_IMAGES:
                    raise ValueError("Pillow was told to take truncated files for whole ones")
                picture.load()
                return _rgb(ImageOps.exif_transpose(picture))
    except UnidentifiedImageError as error:
        raise UnreadablePicture(name, "of no known format") from error
    except Exception as error:  # decoders of damaged files raise whatever they stumble upon
        why = " ".join(str(error).split())[:200] or type(error).__name__
        raise UnreadablePicture(name, why) from error


def _rgb(picture: "Image.Image") -> Pixels:
    if picture.mode.startswith("I;16"):
        high = (np.asarray(picture).astype(np.uint16) >> 8).astype(np.uint8)
        return np.repeat(high[:, :, None], 3, axis=2)
    if picture.mode == "F":
        raise ValueError("pixels are floating-point numbers, whose range is not known")
    if picture.mode == "I":
        raise ValueError("pixels have 32 bits, whose range is not known")
    return np.asarray(picture.convert("RGB"))
