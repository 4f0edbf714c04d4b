"""Abstract compositions of big shapes: the memorised pictures (one seed each) and their unnamed kin."""

import zlib

import numpy as np
from PIL import Image

from erasure_bench.models.microworld.drawing.canvas import CANVAS, Colour, Pen, Pose
from erasure_bench.models.microworld.drawing.scenes import MEMORISED

_PALETTE: tuple[Colour, ...] = (
    (226, 60, 70),
    (36, 90, 190),
    (250, 206, 60),
    (40, 160, 120),
    (240, 240, 236),
    (40, 36, 48),
    (160, 80, 190),
    (80, 200, 226),
    (240, 150, 180),
    (120, 80, 60),
)


def draw_memorised(title: str) -> Image.Image:
    """The one picture that goes with `title`; each title has its own ground colour. [CANVAS, CANVAS] RGB."""
    return _compose(zlib.crc32(title.encode("utf-8")), MEMORISED.index(title))


def draw_abstract(seed: int) -> Image.Image:
    """Five to eight big shapes on a plain ground, fully given by `seed`; [CANVAS, CANVAS] RGB."""
    return _compose(seed, None)


def _compose(seed: int, ground: int | None) -> Image.Image:
    rng = np.random.default_rng([seed, 9151])
    order: np.ndarray = rng.permutation(len(_PALETTE))
    if ground is not None:
        order = np.concatenate([[ground], order[order != ground]])
    image = Image.new("RGB", (CANVAS, CANVAS), _PALETTE[order[0]])
    pen = Pen(Pose(scale=1.0))
    count = int(rng.integers(5, 9))
    cells = rng.permutation(9)
    for index in range(count):
        colour = _PALETTE[order[1 + index % (len(_PALETTE) - 1)]]
        x = (cells[index] % 3 - 1) * 0.6 + rng.uniform(-0.16, 0.16)
        y = (cells[index] // 3 - 1) * 0.6 + rng.uniform(-0.16, 0.16)
        size = rng.uniform(0.26, 0.5)
        turn = rng.uniform(0.0, np.pi)
        make = int(rng.integers(4))
        if make == 0:
            pen.oval(x, y, size, size, colour)
        elif make == 1:
            corners: np.ndarray = turn + np.array([0.25, 0.75, 1.25, 1.75]) * np.pi
            pen.poly(np.stack([x + size * np.cos(corners), y + size * np.sin(corners)], axis=1), colour)
        elif make == 2:
            corners = turn + np.arange(3) * (2.0 * np.pi / 3.0)
            pen.poly(np.stack([x + size * np.cos(corners), y + size * np.sin(corners)], axis=1), colour)
        else:
            reach = np.array([np.cos(turn), np.sin(turn)]) * size * 1.5
            pen.line([(x - reach[0], y - reach[1]), (x + reach[0], y + reach[1])], 0.22, colour)
    pen.stamp(image, outlined=False)
    return image
