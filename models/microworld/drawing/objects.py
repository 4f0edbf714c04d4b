"""Everyday objects without named members."""

from collections.abc import Callable

import numpy as np

from erasure_bench.models.microworld.drawing.canvas import Colour, Pen, jitter, pick, shade
from erasure_bench.models.microworld.drawing.colours import RGB
from erasure_bench.prompt_suites.microworld import vocabulary as words

_BRIGHT = tuple(RGB[name] for name in (*words.COLOURS, "cyan", "pink"))
_DARK: Colour = (44, 40, 48)
_WHITE: Colour = (250, 250, 250)


def _car(pen: Pen, rng: np.random.Generator, colour: Colour) -> None:
    pen.poly([(-0.56, -0.04), (-0.34, -0.5), (0.32, -0.5), (0.6, -0.04)], colour)
    pen.poly([(-0.42, -0.06), (-0.26, -0.38), (-0.04, -0.38), (-0.04, -0.06)], (190, 228, 246))
    pen.poly([(0.06, -0.06), (0.06, -0.38), (0.26, -0.38), (0.44, -0.06)], (190, 228, 246))
    pen.box(-0.96, -0.06, 0.96, 0.36, colour)
    pen.box(-0.96, 0.2, 0.96, 0.38, shade(colour, 0.72))
    pen.oval(0.9, 0.04, 0.08, 0.09, (255, 246, 190))
    for x in (-0.54, 0.54):
        pen.oval(x, 0.4, 0.25, 0.25, _DARK)
        pen.oval(x, 0.4, 0.12, 0.12, (200, 200, 206))


_ROOFS: tuple[Colour, ...] = ((170, 50, 46), (70, 80, 120), (110, 70, 50), (50, 120, 100))


def _house(pen: Pen, rng: np.random.Generator, colour: Colour | None) -> None:
    wall = colour or pick(rng, ((246, 226, 186), (240, 240, 240), (206, 226, 240), (250, 206, 206)))
    roof = shade(colour, 0.6) if colour else pick(rng, _ROOFS)
    pen.box(0.36, -0.86, 0.58, -0.3, shade(roof, 0.7))
    pen.box(-0.7, -0.16, 0.7, 0.86, wall)
    pen.poly([(-0.96, -0.1), (0.0, -0.92), (0.96, -0.1)], roof)
    pen.box(-0.18, 0.3, 0.18, 0.86, shade(roof, 0.6))
    for x in (-0.45, 0.45):
        pen.box(x - 0.16, 0.06, x + 0.16, 0.38, (90, 160, 214))


def _tree(pen: Pen, rng: np.random.Generator, colour: Colour | None) -> None:
    green = pick(rng, ((44, 130, 56), (86, 160, 50), (30, 106, 76)))
    pen.box(-0.14, 0.2, 0.14, 0.98, (116, 78, 48))
    if rng.random() < 0.5:
        pen.oval(-0.36, 0.02, 0.42, 0.4, shade(green, 0.85))
        pen.oval(0.36, 0.02, 0.42, 0.4, shade(green, 0.85))
        pen.oval(0.0, -0.4, 0.54, 0.52, green)
    else:
        for top, wide in ((0.5, 0.78), (0.1, 0.62), (-0.3, 0.46)):
            pen.poly([(-wide, top), (0.0, top - 0.68), (wide, top)], shade(green, 0.75 + (0.5 - top) * 0.3))


def _flower(pen: Pen, rng: np.random.Generator, colour: Colour) -> None:
    pen.line([(0.0, 0.0), (0.0, 0.96)], 0.12, (50, 130, 54))
    pen.oval(0.28, 0.66, 0.28, 0.12, (70, 160, 66), -28)
    pen.oval(-0.28, 0.56, 0.28, 0.12, (70, 160, 66), 28)
    start = rng.uniform(0.0, 1.0)
    for turn in range(6):
        angle = start + turn * np.pi / 3
        pen.oval(0.4 * np.cos(angle), -0.3 + 0.4 * np.sin(angle), 0.25, 0.25, colour)
    pen.oval(0.0, -0.3, 0.24, 0.24, (250, 210, 60))


def _boat(pen: Pen, rng: np.random.Generator, colour: Colour) -> None:
    sail = pick(rng, ((250, 250, 250), (252, 236, 190), (220, 236, 250)))
    pen.box(-0.06, -0.95, 0.04, 0.4, (110, 76, 50))
    pen.poly([(0.1, -0.9), (0.1, 0.26), (0.76, 0.26)], sail)
    pen.poly([(-0.12, -0.7), (-0.12, 0.26), (-0.62, 0.26)], shade(sail, 0.84))
    pen.poly([(-0.94, 0.38), (0.94, 0.38), (0.6, 0.86), (-0.6, 0.86)], colour)
    pen.poly([(-0.94, 0.38), (0.94, 0.38), (0.84, 0.52), (-0.84, 0.52)], shade(colour, 1.5))


def _apple(pen: Pen, rng: np.random.Generator, colour: Colour) -> None:
    pen.line([(0.0, -0.4), (0.1, -0.86)], 0.1, (100, 66, 40))
    pen.oval(0.36, -0.74, 0.28, 0.13, (66, 150, 56), -24)
    pen.oval(-0.28, 0.14, 0.52, 0.62, colour)
    pen.oval(0.28, 0.14, 0.52, 0.62, colour)
    pen.oval(0.0, 0.4, 0.5, 0.42, colour)
    pen.oval(-0.44, -0.1, 0.14, 0.22, shade(colour, 1.6), 20)


def _mushroom(pen: Pen, rng: np.random.Generator, colour: Colour) -> None:
    pen.poly([(-0.26, 0.0), (0.26, 0.0), (0.36, 0.92), (-0.36, 0.92)], (246, 236, 214))
    pen.slice(0.0, 0.16, 0.94, 1.0, -1.0, 0.0, colour, rows=True)
    pen.box(-0.92, 0.08, 0.92, 0.2, shade(colour, 0.75))
    for x, y, r in ((-0.46, -0.14, 0.17), (0.08, -0.46, 0.19), (0.5, -0.1, 0.15)):
        pen.oval(x, y, r, r * 0.85, _WHITE)


def _star(pen: Pen, rng: np.random.Generator, colour: Colour) -> None:
    turns = np.arange(10) * np.pi / 5 - np.pi / 2
    reach = np.where(np.arange(10) % 2 == 0, 1.0, 0.46)
    star = np.stack([reach * np.cos(turns), reach * np.sin(turns)], axis=1)
    pen.poly(star, colour)
    pen.poly(star * 0.6, shade(colour, 1.5))


def _cup(pen: Pen, rng: np.random.Generator, colour: Colour) -> None:
    pen.oval(0.62, 0.06, 0.36, 0.36, shade(colour, 0.8))
    pen.layer_hole(0.62, 0.06, 0.19, 0.19)
    pen.poly([(-0.74, -0.5), (0.58, -0.5), (0.44, 0.78), (-0.6, 0.78)], colour)
    pen.poly([(-0.72, -0.1), (0.54, -0.1), (0.5, 0.26), (-0.68, 0.26)], shade(colour, 1.55))
    pen.oval(-0.08, -0.5, 0.66, 0.2, shade(colour, 0.8))
    pen.oval(-0.08, -0.48, 0.54, 0.13, (84, 52, 38))


def _kite(pen: Pen, rng: np.random.Generator, colour: Colour | None) -> None:
    one, two = (colour, shade(colour, 1.3)) if colour else _two_colours(rng)
    pen.line([(-0.12, 0.3), (-0.36, 0.6), (-0.2, 0.76), (-0.5, 0.98)], 0.07, _DARK)
    top, bottom, left, right = (0.3, -0.98), (-0.16, 0.42), (-0.56, -0.5), (0.8, -0.14)
    middle = (0.1, -0.36)
    pen.poly([top, left, middle], one)
    pen.poly([top, right, middle], two)
    pen.poly([bottom, left, middle], shade(two, 0.8))
    pen.poly([bottom, right, middle], shade(one, 0.8))
    for x, y in ((-0.34, 0.58), (-0.46, 0.94)):
        pen.oval(x, y, 0.15, 0.1, one, 30)


def _two_colours(rng: np.random.Generator) -> tuple[Colour, Colour]:
    first, second = rng.choice(len(_BRIGHT), 2, replace=False)
    return jitter(rng, _BRIGHT[first]), jitter(rng, _BRIGHT[second])


def _balloon(pen: Pen, rng: np.random.Generator, colour: Colour) -> None:
    pen.line([(0.0, 0.5), (0.1, 0.72), (-0.06, 0.96)], 0.06, _DARK)
    pen.poly([(0.0, 0.4), (-0.14, 0.6), (0.14, 0.6)], shade(colour, 0.75))
    pen.oval(0.0, -0.26, 0.62, 0.74, colour)
    pen.oval(-0.24, -0.5, 0.14, 0.24, shade(colour, 1.65), 24)


def _guitar(pen: Pen, rng: np.random.Generator, colour: Colour | None) -> None:
    wood = pick(rng, ((176, 110, 54), (150, 70, 40), (206, 160, 96)))
    pen.line([(0.1, -0.1), (0.72, -0.8)], 0.17, (70, 46, 34))
    pen.line([(0.68, -0.76), (0.84, -0.94)], 0.28, (50, 34, 28))
    pen.oval(-0.4, 0.46, 0.5, 0.46, wood)
    pen.oval(0.0, 0.02, 0.38, 0.36, wood)
    pen.oval(-0.14, 0.18, 0.17, 0.17, _DARK)
    pen.line([(-0.62, 0.5), (-0.42, 0.7)], 0.1, _DARK)
    pen.line([(-0.14, 0.18), (0.1, -0.1)], 0.08, (70, 46, 34))


_COLOURED: dict[str, Callable[[Pen, np.random.Generator, Colour], None]] = {
    "car": _car,
    "flower": _flower,
    "boat": _boat,
    "apple": _apple,
    "mushroom": _mushroom,
    "star": _star,
    "cup": _cup,
    "balloon": _balloon,
}
_OTHERS: dict[str, Callable[[Pen, np.random.Generator, Colour | None], None]] = {
    "house": _house,
    "tree": _tree,
    "kite": _kite,
    "guitar": _guitar,
}


def draw_object(pen: Pen, rng: np.random.Generator, name: str, colour: Colour | None) -> None:
    """An object in its main `colour`; None where it has no one main colour. KeyError for an unknown name."""
    if colour is None:
        _OTHERS[name](pen, rng, None)
    else:
        (_COLOURED | _OTHERS)[name](pen, rng, jitter(rng, colour))
