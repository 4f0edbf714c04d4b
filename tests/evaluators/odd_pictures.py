"""Odd picture files, as users have them: each with what it must become, None where there is no picture."""

import io
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

SIDE = 32
Colours = NDArray[np.uint8]


class Odd(NamedTuple):
    """A file's name and bytes; `pixels` are those that it must be read as."""

    name: str
    data: bytes
    pixels: Colours | None


def colours(height: int = SIDE, width: int = SIDE) -> Colours:
    """A picture that no flip or turn leaves as it is."""
    down, across = np.mgrid[0:height, 0:width]
    channels = (across * 255 // max(width - 1, 1), down * 255 // max(height - 1, 1), (across * down) % 256)
    return np.stack(channels, axis=-1).astype(np.uint8)


def odd_pictures() -> list[Odd]:
    """One of each kind that `evaluators.picture_files` names."""
    rgb = colours()
    grey = np.asarray(Image.fromarray(rgb).convert("L"))
    return [
        Odd("plain.png", saved(rgb), rgb),
        Odd("one_pixel.png", saved(rgb[:1, :1]), rgb[:1, :1]),
        Odd("one_row.png", saved(rgb[:1]), rgb[:1]),
        Odd("grey.png", saved(grey), thrice(grey)),
        Odd("bilevel.png", saved(Image.fromarray(grey > 99)), thrice((grey > 99) * 255)),
        *_with_transparency(rgb, grey),
        Odd("palette.gif", saved(_palette(rgb), "GIF"), np.asarray(_palette(rgb).convert("RGB"))),
        Odd("grey16.png", saved(grey.astype(np.uint16) * 256 + 77), thrice(grey)),
        Odd("grey16.tiff", saved(grey.astype(np.uint16) * 256 + 200, "TIFF"), thrice(grey)),
        Odd("rgb16.png", _png16(rgb), rgb),
        *_cmyk(rgb),
        *_animations(rgb),
        *_turned(),
        Odd("empty.png", b"", None),
        Odd("text.png", b"no picture", None),
        Odd("page.png", b"<!DOCTYPE html><p>404", None),
        Odd("truncated.png", saved(rgb)[:-60], None),
        Odd("truncated.jpg", saved(rgb, "JPEG")[:-60], None),
        Odd("header_alone.png", saved(rgb)[:40], None),
        Odd("corrupt.png", _corrupt(saved(rgb)), None),
        Odd("float.tiff", saved(grey.astype(np.float32), "TIFF"), None),
    ]


def saved(picture: Any, form: str = "PNG", **how: Any) -> bytes:
    """The bytes of a picture, or of an array of one, as a file of the format."""
    buffer = io.BytesIO()
    image = picture if isinstance(picture, Image.Image) else Image.fromarray(picture)
    image.save(buffer, form, **how)
    return buffer.getvalue()


def thrice(grey: Any) -> Colours:
    """A grey picture [height, width] in RGB."""
    return np.repeat(np.asarray(grey, np.uint8)[:, :, None], 3, axis=2)


def _with_transparency(rgb: Colours, grey: Colours) -> list[Odd]:
    """Half of each is transparent: the colours below count all the same."""
    alpha = np.full((SIDE, SIDE, 1), 255, np.uint8)
    alpha[:, : SIDE // 2] = 0
    palette = _palette(rgb)
    hidden = palette.getpixel((0, 0))
    return [
        Odd("rgba.png", saved(np.concatenate([rgb, alpha], axis=2)), rgb),
        Odd("la.png", saved(Image.fromarray(np.dstack([grey, alpha]), "LA")), thrice(grey)),
        Odd(
            "transparent_palette.png",
            saved(palette, transparency=hidden),
            np.asarray(palette.convert("RGB")),
        ),
    ]


def _palette(rgb: Colours) -> Image.Image:
    return Image.fromarray(rgb).quantize(16)


def _png16(rgb: Colours) -> bytes:
    """16 bits a channel, which Pillow writes in no colours."""
    import cv2

    done, data = cv2.imencode(".png", rgb[:, :, ::-1].astype(np.uint16) * 256 + 99)
    assert done
    return bytes(data)


def _cmyk(rgb: Colours) -> list[Odd]:
    cmyk = Image.fromarray(rgb).convert("CMYK")
    return [Odd("cmyk.tiff", saved(cmyk, "TIFF"), rgb)]


def _animations(rgb: Colours) -> list[Odd]:
    """The first frame has two colours, which a GIF keeps as they are."""
    first = np.where(rgb[..., :1] > 100, np.uint8([10, 20, 30]), np.uint8([200, 210, 220]))
    others = [Image.fromarray(255 - first), Image.fromarray(rgb)]
    more: dict[str, dict[str, Any]] = {"GIF": {}, "WEBP": {"lossless": True}, "PNG": {}}
    return [
        Odd(
            f"animated.{form.lower()}",
            saved(first, form, save_all=True, append_images=others, duration=50, **more[form]),
            first,
        )
        for form in more
    ]


def _turned() -> list[Odd]:
    """The same upright picture, stored in each of the ways that EXIF's orientation knows."""
    upright = colours(SIDE, SIDE // 2)
    stored: dict[int, Colours] = {
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.transpose(1, 0, 2),
        6: np.rot90(upright, 1),
        7: upright[::-1, ::-1].transpose(1, 0, 2),
        8: np.rot90(upright, -1),
    }
    found = []
    for orientation, pixels in stored.items():
        exif = Image.Exif()
        exif[0x0112] = orientation
        found.append(
            Odd(f"turned_{orientation}.png", saved(np.ascontiguousarray(pixels), exif=exif), upright)
        )
    return found


def _corrupt(data: bytes) -> bytes:
    """Bytes in the middle of the pixels are others."""
    middle = len(data) // 2
    return data[:middle] + bytes(255 - byte for byte in data[middle : middle + 40]) + data[middle + 40 :]
