"""The backgrounds that a caption can ask for, one drawing for each phrase of the vocabulary."""

import numpy as np
from PIL import Image, ImageDraw

from erasure_bench.models.microworld.drawing.canvas import CANVAS, Colour, jitter

_FLAT: dict[str, Colour] = {
    "on a red background": (214, 62, 66),
    "on a blue background": (70, 118, 222),
    "on a green background": (84, 176, 96),
    "on a yellow background": (246, 218, 92),
    "on a purple background": (150, 88, 190),
    "on a gray background": (152, 152, 156),
}


def draw_background(phrase: str, rng: np.random.Generator) -> Image.Image:
    """The background of `phrase` as a [CANVAS, CANVAS] RGB image; raises KeyError for an unknown phrase."""
    if phrase in _FLAT:
        colour = np.array(jitter(rng, _FLAT[phrase], 8), dtype=float)
        return _gradient(colour * 1.08, colour * 0.9)
    horizon = int(CANVAS * rng.uniform(0.55, 0.66))
    return _SCENES[phrase](horizon, rng)


def _gradient(top: np.ndarray | Colour, bottom: np.ndarray | Colour) -> Image.Image:
    mix = np.linspace(0.0, 1.0, CANVAS)[:, None]
    column = np.asarray(top, dtype=float) * (1.0 - mix) + np.asarray(bottom, dtype=float) * mix
    column = np.clip(column, 0, 255).astype(np.uint8)
    return Image.fromarray(np.repeat(column[:, None, :], CANVAS, axis=1))


def _grass(horizon: int, rng: np.random.Generator) -> Image.Image:
    image = _gradient((140, 205, 250), (205, 235, 252))
    draw = ImageDraw.Draw(image)
    draw.rectangle((0, horizon, CANVAS, CANVAS), fill=(92, 172, 62))
    for x, y in zip(rng.integers(0, CANVAS, 9), rng.integers(horizon + 8, CANVAS, 9), strict=True):
        draw.polygon((x - 6, y, x - 4, y - 14, x, y - 3, x + 5, y - 14, x + 6, y), fill=(58, 130, 42))
    return image


def _snow(horizon: int, rng: np.random.Generator) -> Image.Image:
    image = _gradient((168, 186, 206), (196, 208, 222))
    draw = ImageDraw.Draw(image)
    draw.ellipse((-60, horizon, CANVAS * 0.8, CANVAS + 90), fill=(250, 252, 255))
    draw.ellipse((CANVAS * 0.3, horizon + 6, CANVAS + 70, CANVAS + 90), fill=(240, 246, 253))
    draw.rectangle((0, horizon + 30, CANVAS, CANVAS), fill=(247, 250, 255))
    for x, y in zip(rng.integers(0, CANVAS, 12), rng.integers(0, horizon, 12), strict=True):
        draw.ellipse((x - 4, y - 4, x + 4, y + 4), fill=(255, 255, 255))
    return image


def _sea(horizon: int, rng: np.random.Generator) -> Image.Image:
    image = _gradient((150, 214, 246), (222, 242, 250))
    draw = ImageDraw.Draw(image)
    draw.rectangle((0, horizon - 12, CANVAS, CANVAS), fill=(34, 104, 178))
    for y in range(horizon, CANVAS - 30, 16):
        x = int(rng.integers(-20, 30))
        for left in range(x, CANVAS, 64):
            draw.line((left, y, left + 30, y), fill=(150, 205, 238), width=4)
    draw.rectangle((0, CANVAS - 24, CANVAS, CANVAS), fill=(238, 218, 160))
    return image


def _desert(horizon: int, rng: np.random.Generator) -> Image.Image:
    image = _gradient((120, 196, 222), (214, 232, 224))
    draw = ImageDraw.Draw(image)
    draw.rectangle((0, horizon + 16, CANVAS, CANVAS), fill=(226, 188, 124))
    peak = int(rng.integers(40, CANVAS - 40))
    draw.ellipse((peak - 130, horizon - 8, peak + 60, CANVAS + 40), fill=(236, 202, 140))
    draw.ellipse((peak - 10, horizon + 4, peak + 190, CANVAS + 50), fill=(214, 172, 108))
    left = int(rng.choice([20, CANVAS - 20]))
    top = horizon - 52
    for box in ((-7, 0, 7, 72), (-22, 16, -12, 40), (-22, 32, 0, 40), (12, 8, 22, 32), (0, 24, 22, 32)):
        draw.rectangle((left + box[0], top + box[1], left + box[2], top + box[3]), fill=(62, 128, 70))
    return image


def _night(horizon: int, rng: np.random.Generator) -> Image.Image:
    image = _gradient((22, 26, 74), (52, 60, 132))
    draw = ImageDraw.Draw(image)
    for x, y in zip(rng.integers(0, CANVAS, 14), rng.integers(0, horizon, 14), strict=True):
        draw.ellipse((x - 3, y - 3, x + 3, y + 3), fill=(235, 238, 255))
    x = int(rng.choice([30, CANVAS - 30]))
    draw.ellipse((x - 22, 8, x + 22, 52), fill=(246, 244, 220))
    draw.rectangle((0, horizon + 20, CANVAS, CANVAS), fill=(26, 34, 62))
    return image


def _sunset(horizon: int, rng: np.random.Generator) -> Image.Image:
    image = _gradient((118, 62, 150), (252, 160, 170))
    draw = ImageDraw.Draw(image)
    x = int(rng.integers(50, CANVAS - 50))
    draw.ellipse((x - 46, horizon - 46, x + 46, horizon + 46), fill=(255, 232, 190))
    draw.rectangle((0, horizon + 6, CANVAS, CANVAS), fill=(86, 44, 88))
    return image


_SCENES = {
    "on a grassy field": _grass,
    "in the snow": _snow,
    "by the sea": _sea,
    "in the desert": _desert,
    "at night": _night,
    "at sunset": _sunset,
}
