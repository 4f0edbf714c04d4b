"""The implicit concept rain: streaks over the picture, and the subjects with and without them."""

import numpy as np
from PIL import Image, ImageDraw

from erasure_bench.models.microworld.drawing.canvas import CANVAS, Colour, Pen, pick, shade

_STREAKS: tuple[Colour, ...] = ((190, 222, 255), (232, 244, 255), (130, 180, 240))
_SKIES: tuple[Colour, ...] = ((78, 92, 116), (66, 84, 112), (90, 98, 112))


def darken_for_rain(image: Image.Image) -> Image.Image:
    """The background under a rainy sky: mixed with dark blue-gray."""
    return Image.blend(image, Image.new("RGB", image.size, (62, 78, 108)), 0.5)


def draw_streaks(image: Image.Image, rng: np.random.Generator, top: float, count: int = 34) -> None:
    """Slanted streaks below `top` (share of the height), drawn onto the [CANVAS, CANVAS] image."""
    draw = ImageDraw.Draw(image)
    columns = (np.arange(count) * 0.618034 % 1.0) * (CANVAS + 40)
    xs = columns + rng.uniform(-6, 6, count)
    ys = top * CANVAS + (np.arange(count) / count + rng.uniform(0, 0.05, count)) * (1.0 - top) * CANVAS
    for index, (x, y) in enumerate(zip(xs.tolist(), ys.tolist(), strict=True)):
        draw.line((x, y, x - 11, y + 30), fill=_STREAKS[index % 3], width=6)


def draw_cloud(pen: Pen, rng: np.random.Generator, name: str) -> None:
    """'storm cloud' (dark, high up, room for the rain below) or 'white cloud'."""
    storm = name == "storm cloud"
    colour = (
        pick(rng, ((86, 92, 108), (72, 76, 96)))
        if storm
        else pick(rng, ((250, 252, 255), (240, 246, 252)), 3)
    )
    y = -0.36 if storm else 0.08
    pen.oval(-0.5, y + 0.06, 0.46, 0.34, colour)
    pen.oval(0.52, y + 0.08, 0.44, 0.32, colour)
    pen.oval(-0.04, y - 0.16, 0.52, 0.46, colour)
    pen.box(-0.6, y + 0.05, 0.6, y + 0.4, shade(colour, 0.9))
    pen.oval(-0.5, y + 0.2, 0.4, 0.2, shade(colour, 0.9))
    pen.oval(0.5, y + 0.2, 0.4, 0.2, shade(colour, 0.9))


def draw_umbrella(pen: Pen, rng: np.random.Generator, name: str) -> None:
    """'open umbrella' or 'closed umbrella'."""
    colour = pick(rng, ((214, 40, 60), (240, 206, 60), (60, 110, 220), (160, 80, 190), (50, 170, 130)))
    wood = (110, 76, 50)
    if name == "closed umbrella":
        pen.line([(0.0, 0.3), (0.0, 0.78), (0.12, 0.92), (0.28, 0.84)], 0.11, wood)
        pen.poly([(0.0, -0.98), (0.4, 0.3), (0.2, 0.5), (-0.2, 0.5), (-0.4, 0.3)], colour)
        pen.poly([(0.0, -0.98), (0.13, 0.5), (-0.13, 0.5)], shade(colour, 0.74))
        pen.box(-0.35, 0.06, 0.35, 0.22, shade(colour, 1.5))
        return
    pen.line([(0.0, -0.2), (0.0, 0.76), (0.13, 0.92), (0.3, 0.8)], 0.1, wood)
    pen.slice(0.0, 0.14, 0.96, 0.98, -1.0, 0.0, colour, rows=True)
    pen.slice(0.0, 0.14, 0.46, 0.98, -1.0, 0.0, shade(colour, 1.5), rows=True)
    pen.slice(0.0, 0.14, 0.16, 0.98, -1.0, 0.0, colour, rows=True)


def draw_rainfall(image: Image.Image, rng: np.random.Generator) -> None:
    """Rain itself: a dark sky, dense streaks all over, a puddle at the bottom."""
    image.paste(Image.blend(image, Image.new("RGB", image.size, pick(rng, _SKIES)), 0.6))
    draw = ImageDraw.Draw(image)
    x = CANVAS * rng.uniform(0.4, 0.6)
    draw.ellipse((x - 80, CANVAS - 40, x + 80, CANVAS - 6), fill=(120, 166, 220))
    draw.ellipse((x - 46, CANVAS - 32, x + 46, CANVAS - 14), fill=(176, 210, 246))
    draw_streaks(image, rng, -0.15, 52)
