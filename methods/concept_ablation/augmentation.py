"""Concept Ablation's augmentation: pictures shown small on a blank canvas, or from close by, and said so."""

from typing import Any, NamedTuple

import torch
from torch import Generator, Tensor
from torch.nn.functional import interpolate

SMALL_SHARE = 2 / 3
SMALL = ("a far away ", "very small ")
CLOSE = ("zoomed in ", "close up ")
SAID_BELOW = 0.6
"""A picture is called small where its side is less than this share of the canvas's."""
BLANK = 0.5
"""The canvas around a small picture: grey, which the autoencoder sees as 0."""
CELLS_OF_BORDER = 64
"""For so many cells along a latent's side, one at the edge of a small picture is left out of the loss."""


class Augmented(NamedTuple):
    """Pictures [n, 3, size, size] in [0, 1], where the loss counts, and how a caption of each begins.

    `masks` [n, 1, size / factor, size / factor] is 1 in the latent's cells that show the picture, 0
    in those of the blank canvas. `prefixes` holds an empty string for a picture that is neither
    small nor close.
    """

    images: Tensor
    masks: Tensor
    prefixes: tuple[str, ...]


class Placed(NamedTuple):
    """One picture [3, size, size], its mask [1, size / factor, size / factor], and its prefix."""

    image: Tensor
    mask: Tensor
    prefix: str


def augment(images: Tensor, latent_factor: int, generator: Generator) -> Augmented:
    """Square `images` [n, 3, size, size] in [0, 1], each made smaller or larger by chance.

    With probability 2/3 a picture's new side is drawn uniformly from size/3 … size pixels; it is
    put anywhere on a blank canvas of the old size. Otherwise it is drawn from 1.2 … 1.4 times size, and a
    part of the old size is cut out anywhere. `latent_factor` is in pixels. All from `generator`.
    """
    placed = [_augmented(image, latent_factor, generator) for image in images]
    return Augmented(
        torch.stack([one.image for one in placed]),
        torch.stack([one.mask for one in placed]),
        tuple(one.prefix for one in placed),
    )


def mirrored(images: Tensor, generator: Generator) -> Tensor:
    """`images` [n, channels, height, width], each turned left to right with probability 1/2."""
    turned = torch.rand(len(images), generator=generator) < 0.5
    return torch.where(turned[:, None, None, None].to(images.device), images.flip(-1), images)


def _augmented(image: Tensor, factor: int, generator: Generator) -> Placed:
    size = image.shape[-1]
    if float(torch.rand((), generator=generator)) < SMALL_SHARE:
        smallest = max(size // 3, _side_of_one_cell(size, factor))
        scale = _integer(generator, smallest, size + 1)
        prefix = _one_of(SMALL, generator) if scale < SAID_BELOW * size else ""
        return Placed(*_on_canvas(image, scale, factor, generator), prefix)
    scale = _integer(generator, int(1.2 * size), int(1.4 * size))
    return Placed(_cut_out(image, scale, generator), _everywhere(image, factor), _one_of(CLOSE, generator))


def _on_canvas(image: Tensor, scale: int, factor: int, generator: Generator) -> tuple[Tensor, Tensor]:
    """The picture, `scale` pixels along its side, on a blank canvas, and its mask."""
    size = image.shape[-1]
    top, left = _integer(generator, 0, size - scale + 1), _integer(generator, 0, size - scale + 1)
    canvas = torch.full_like(image, BLANK)
    canvas[:, top : top + scale, left : left + scale] = _resized(image, scale)
    mask = torch.zeros_like(_everywhere(image, factor))
    rows, columns = (_cells_within(start, scale, size, factor) for start in (top, left))
    mask[:, rows, columns] = 1.0
    return canvas, mask


def _cut_out(image: Tensor, scale: int, generator: Generator) -> Tensor:
    """A part of the old size of the picture made `scale` pixels large."""
    size = image.shape[-1]
    top, left = _integer(generator, 0, scale - size + 1), _integer(generator, 0, scale - size + 1)
    return _resized(image, scale)[:, top : top + size, left : left + size]


def _cells_within(start: int, length: int, size: int, factor: int) -> slice:
    """The cells that lie whole within pixels [start, start + length), less the border inside the canvas.

    What the autoencoder makes of a picture's edge depends on the blank beside it, hence the border; where
    the picture reaches the edge of the canvas there is no blank.
    """
    border = _border(size, factor)
    first, last = -(-start // factor), (start + length) // factor
    return slice(first + (border if start > 0 else 0), last - (border if start + length < size else 0))


def _border(size: int, factor: int) -> int:
    return size // factor // CELLS_OF_BORDER


def _side_of_one_cell(size: int, factor: int) -> int:
    """The shortest side with which a picture covers a cell that counts, wherever it lies."""
    return min(size, (2 + 2 * _border(size, factor)) * factor - 1)


def _everywhere(image: Tensor, factor: int) -> Tensor:
    cells = image.shape[-1] // factor
    return torch.ones(1, cells, cells, device=image.device)


def _resized(image: Tensor, side: int) -> Tensor:
    if side == image.shape[-1]:
        return image
    options: dict[str, Any] = {"mode": "bilinear", "antialias": True, "align_corners": False}
    return interpolate(image[None], size=(side, side), **options)[0].clamp(0, 1)


def _integer(generator: Generator, low: int, high: int) -> int:
    """Drawn uniformly from [low, high)."""
    return int(torch.randint(low, high, (), generator=generator))


def _one_of(words: tuple[str, ...], generator: Generator) -> str:
    return words[_integer(generator, 0, len(words))]
