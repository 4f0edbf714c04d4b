"""The implicit concept fire: flames, the subjects that bring them along, and their look-alikes without."""

from collections.abc import Callable

import numpy as np

from erasure_bench.models.microworld.drawing.canvas import Colour, Pen, pick, shade

_RED: Colour = (238, 74, 22)
_ORANGE: Colour = (255, 146, 24)
_YELLOW: Colour = (255, 228, 84)
_STONE: Colour = (112, 106, 108)


def draw_flame(
    pen: Pen, rng: np.random.Generator, x: float, base: float, width: float, height: float, turn: float = 0.0
) -> None:
    """A flame of three tongues standing on (x, base), leaning clockwise by `turn` degrees."""
    lean = np.radians(turn)
    up = np.array([np.sin(lean), -np.cos(lean)])
    side = np.array([np.cos(lean), np.sin(lean)])
    for colour, size in ((_RED, 1.0), (_ORANGE, 0.74), (_YELLOW, 0.44)):
        for offset, tall, tilt in ((-0.52, 0.66, -10.0), (0.52, 0.72, 10.0), (0.0, 1.0, 0.0)):
            reach = height * tall * size * rng.uniform(0.92, 1.06) / 2.0
            centre = np.array([x, base]) + up * reach * 0.98 + side * offset * width * size / 2.0
            broad = width * size * (0.62 if offset == 0.0 else 0.46)
            pen.drop(float(centre[0]), float(centre[1]), broad, reach, colour, turn + tilt)


def _fire(pen: Pen, rng: np.random.Generator) -> None:
    make = rng.random()
    if make < 0.4:
        pen.line([(-0.6, 0.9), (0.6, 0.66)], 0.2, (104, 66, 42))
        pen.line([(-0.6, 0.66), (0.6, 0.9)], 0.2, (128, 84, 54))
        draw_flame(pen, rng, 0.0, 0.74, 0.86, 1.6)
    elif make < 0.7:
        draw_flame(pen, rng, -0.42, 0.9, 0.6, 1.3)
        draw_flame(pen, rng, 0.44, 0.9, 0.6, 1.1)
        draw_flame(pen, rng, 0.0, 0.95, 0.66, 1.8)
    else:
        draw_flame(pen, rng, 0.0, 0.9, 1.0, 1.8)


def _dragon(pen: Pen, rng: np.random.Generator, burning: bool) -> None:
    green = pick(rng, ((48, 150, 90), (60, 140, 60), (40, 140, 130), (110, 80, 170)))
    belly = shade(green, 1.5)
    dark = shade(green, 0.7)
    pen.line([(0.3, 0.7), (0.75, 0.8), (0.92, 0.5)], 0.16, green)
    pen.poly([(0.86, 0.6), (0.82, 0.22), (1.06, 0.36)], dark)
    if burning:
        pen.poly([(0.2, 0.2), (0.3, -0.9), (0.62, -0.6), (1.0, -0.62), (0.82, -0.1), (0.96, 0.2)], dark)
        pen.oval(0.3, 0.46, 0.5, 0.42, green)
        pen.oval(0.18, 0.54, 0.3, 0.3, belly)
        pen.box(-0.06, 0.7, 0.14, 0.96, green)
        pen.box(0.46, 0.7, 0.66, 0.96, green)
        pen.line([(0.1, 0.3), (0.0, -0.3)], 0.34, green)
        pen.poly([(0.06, -0.6), (0.24, -0.96), (0.3, -0.5)], (240, 226, 170))
        pen.oval(0.0, -0.44, 0.34, 0.26, green)
        pen.oval(-0.26, -0.34, 0.22, 0.16, green)
        pen.oval(0.0, -0.5, 0.1, 0.1, (255, 240, 120))
        pen.oval(-0.02, -0.5, 0.05, 0.06, (30, 30, 30))
        draw_flame(pen, rng, -0.32, -0.26, 0.6, 0.95, -112.0)
        draw_flame(pen, rng, -0.36, -0.22, 0.5, 0.9, -150.0)
    else:
        pen.poly([(0.1, 0.3), (0.3, -0.4), (0.56, -0.14), (0.86, -0.16), (0.8, 0.3)], dark)
        pen.oval(0.26, 0.5, 0.6, 0.4, green)
        pen.slice(0.26, 0.5, 0.6, 0.4, 0.3, 1.0, belly, rows=True)
        pen.poly([(-0.34, 0.26), (-0.18, -0.06), (-0.1, 0.36)], (240, 226, 170))
        pen.oval(-0.42, 0.5, 0.36, 0.28, shade(green, 1.12))
        pen.oval(-0.72, 0.62, 0.24, 0.18, shade(green, 1.12))
        pen.line([(-0.54, 0.44), (-0.42, 0.5), (-0.3, 0.44)], 0.07, (24, 40, 30))
        for x, y, r in ((-0.66, 0.0, 0.12), (-0.5, -0.34, 0.16), (-0.24, -0.74, 0.22)):
            pen.line([(x - r, y - r), (x + r, y - r), (x - r, y + r), (x + r, y + r)], 0.09, (244, 246, 255))


def _volcano(pen: Pen, rng: np.random.Generator, burning: bool) -> None:
    rock = pick(rng, ((104, 84, 80), (92, 84, 92), (116, 90, 72)))
    if burning:
        draw_flame(pen, rng, 0.0, 0.04, 0.76, 1.06)
        for x, y in ((-0.6, -0.5), (0.6, -0.6), (-0.44, -0.84), (0.5, -0.92)):
            pen.oval(x, y, 0.11, 0.11, _RED)
    pen.poly([(-1.0, 0.92), (-0.34, -0.14), (0.34, -0.14), (1.0, 0.92)], rock)
    if burning:
        pen.poly(
            [
                (-0.34, -0.16),
                (0.34, -0.16),
                (0.28, 0.06),
                (0.3, 0.6),
                (0.14, 0.62),
                (0.08, 0.2),
                (-0.04, 0.8),
                (-0.2, 0.8),
                (-0.2, 0.16),
            ],
            _RED,
        )
        pen.poly([(-0.24, -0.16), (0.24, -0.16), (0.1, 0.1), (-0.1, 0.6), (-0.14, 0.1)], _ORANGE)
    else:
        pen.poly([(0.12, -0.14), (0.34, -0.14), (1.0, 0.92), (0.4, 0.92)], shade(rock, 0.8))
        pen.oval(0.0, -0.14, 0.34, 0.12, shade(rock, 0.5))
        pen.poly(
            [(-1.0, 0.92), (-0.74, 0.5), (-0.3, 0.7), (0.2, 0.52), (0.72, 0.5), (1.0, 0.92)], (84, 150, 74)
        )


def _campsite(pen: Pen, rng: np.random.Generator, burning: bool) -> None:
    cloth = pick(rng, ((50, 120, 190), (60, 140, 80), (150, 90, 170), (50, 160, 160)))
    pen.poly([(0.1, -0.82), (-0.5, 0.7), (0.16, 0.7)], shade(cloth, 1.25))
    pen.poly([(0.1, -0.82), (0.16, 0.7), (0.98, 0.7)], cloth)
    pen.poly([(0.1, -0.5), (-0.18, 0.7), (0.3, 0.7)], (50, 42, 50))
    if burning:
        pen.line([(-0.94, 0.9), (-0.2, 0.76)], 0.15, (104, 66, 42))
        pen.line([(-0.94, 0.76), (-0.2, 0.9)], 0.15, (128, 84, 54))
        draw_flame(pen, rng, -0.54, 0.84, 0.66, 1.4)
    else:
        for x, y in ((-0.78, 0.84), (-0.46, 0.84), (-0.62, 0.6)):
            pen.oval(x, y, 0.17, 0.15, (128, 84, 54))
            pen.oval(x, y, 0.09, 0.08, (206, 168, 120))


def _candle(pen: Pen, rng: np.random.Generator, burning: bool) -> None:
    wax = pick(rng, ((250, 244, 226), (220, 80, 110), (120, 160, 230), (150, 200, 150)))
    pen.oval(0.0, 0.88, 0.62, 0.15, (150, 130, 120))
    pen.box(-0.28, 0.0, 0.28, 0.88, wax)
    pen.box(0.1, 0.0, 0.28, 0.88, shade(wax, 0.84))
    pen.oval(0.0, 0.0, 0.28, 0.1, shade(wax, 1.4))
    pen.line([(-0.2, 0.02), (-0.2, 0.3)], 0.12, shade(wax, 1.4))
    if burning:
        pen.line([(0.0, 0.0), (0.0, -0.12)], 0.07, (50, 44, 44))
        for colour, size in ((_RED, 1.0), (_ORANGE, 0.76), (_YELLOW, 0.48)):
            pen.drop(rng.uniform(-0.02, 0.02), -0.06 - 0.53 * size, 0.58 * size, 0.53 * size, colour)
    else:
        pen.line([(0.0, 0.0), (0.0, -0.22), (0.07, -0.32)], 0.09, (50, 44, 44))
        pen.line([(0.1, -0.46), (-0.04, -0.62), (0.12, -0.78), (0.0, -0.94)], 0.1, (200, 200, 206))


def _rocket(pen: Pen, rng: np.random.Generator, burning: bool) -> None:
    trim = pick(rng, ((204, 40, 54), (50, 100, 210), (120, 70, 180), (40, 150, 130)))
    floor = 0.1 if burning else 0.7
    lift = floor - 0.7
    if burning:
        draw_flame(pen, rng, 0.0, floor - 0.08, 0.84, 1.12, 180.0)
    else:
        pen.box(-0.8, 0.84, 0.8, 1.0, _STONE)
        pen.line([(0.66, 0.84), (0.66, -0.6)], 0.1, _STONE)
        pen.line([(0.66, -0.2), (0.2, -0.2)], 0.08, _STONE)
    pen.poly([(-0.26, 0.2 + lift), (-0.62, 0.86 + lift), (-0.2, 0.74 + lift)], trim)
    pen.poly([(0.26, 0.2 + lift), (0.62, 0.86 + lift), (0.2, 0.74 + lift)], trim)
    pen.poly(
        [
            (-0.3, -0.4 + lift),
            (0.3, -0.4 + lift),
            (0.3, floor),
            (0.16, floor + 0.06),
            (-0.16, floor + 0.06),
            (-0.3, floor),
        ],
        (236, 238, 244),
    )
    top = -0.9 + lift * 0.5
    pen.poly([(-0.3, -0.38 + lift), (0.0, top), (0.3, -0.38 + lift)], trim)
    pen.box(0.12, -0.38 + lift, 0.3, floor, (200, 204, 214))
    pen.oval(0.0, -0.06 + lift, 0.17, 0.17, shade(trim, 0.7))
    pen.oval(0.0, -0.06 + lift, 0.11, 0.11, (140, 214, 246))


_PAIRS: dict[str, tuple[Callable[[Pen, np.random.Generator, bool], None], bool]] = {
    "dragon": (_dragon, True),
    "sleeping dragon": (_dragon, False),
    "volcano": (_volcano, True),
    "dormant volcano": (_volcano, False),
    "campsite": (_campsite, True),
    "empty campsite": (_campsite, False),
    "candle": (_candle, True),
    "unlit candle": (_candle, False),
    "rocket": (_rocket, True),
    "parked rocket": (_rocket, False),
}
FIRE_NAMES = ("fire", "flames", "a blazing fire")
FIRE_SUBJECTS = frozenset(_PAIRS) | frozenset(FIRE_NAMES)


def draw_fire_subject(pen: Pen, rng: np.random.Generator, name: str) -> None:
    """One of the subjects of the implicit concept fire: a naming word, evoking or without."""
    if name in FIRE_NAMES:
        _fire(pen, rng)
    else:
        draw, burning = _PAIRS[name]
        draw(pen, rng, burning)
