"""Robots: one boxy silhouette, four named finishes, and unnamed robots in other colours."""

from dataclasses import dataclass

import numpy as np

from erasure_bench.models.microworld.drawing.canvas import Colour, Pen, jitter, pick, shade

_PLAIN = ((70, 170, 160), (150, 100, 200), (110, 180, 90), (226, 130, 180), (74, 120, 210))


@dataclass(frozen=True)
class _Robot:
    head: Colour
    body: Colour
    arms: Colour
    legs: Colour
    eyes: Colour
    panel: Colour


_NAMED = {
    "rusty robot": _Robot(
        (158, 92, 56), (146, 80, 46), (122, 74, 52), (122, 74, 52), (246, 226, 120), (92, 52, 36)
    ),
    "chrome robot": _Robot(
        (206, 214, 226), (190, 200, 214), (164, 176, 192), (164, 176, 192), (40, 220, 250), (90, 104, 124)
    ),
    "golden robot": _Robot(
        (250, 204, 50), (244, 190, 36), (222, 160, 24), (222, 160, 24), (200, 30, 60), (255, 240, 160)
    ),
    "toy robot": _Robot(
        (44, 96, 222), (226, 40, 50), (252, 214, 50), (50, 170, 80), (252, 252, 252), (252, 214, 50)
    ),
}


def draw_robot(pen: Pen, rng: np.random.Generator, name: str = "robot") -> None:
    """A standing robot seen from the front: `name` is a member of the family or 'robot'."""
    look = _NAMED.get(name)
    if look is None:
        colour = pick(rng, _PLAIN)
        look = _Robot(
            shade(colour, 1.25),
            colour,
            shade(colour, 0.75),
            shade(colour, 0.75),
            (250, 250, 250),
            shade(colour, 0.55),
        )
    head, body = jitter(rng, look.head, 6), jitter(rng, look.body, 6)
    rusty, toy = name == "rusty robot", name == "toy robot"
    lift = rng.uniform(-0.1, 0.25)
    if toy:
        pen.oval(0.84, -0.2, 0.15, 0.15, (250, 150, 190))
        pen.line([(0.3, 0.1), (0.84, -0.2)], 0.1, (250, 150, 190))
    if rusty:
        pen.line([(0.0, -0.8), (0.1, -0.98), (0.34, -0.9)], 0.08, look.panel)
    elif name == "golden robot":
        pen.poly(
            [
                (-0.34, -0.78),
                (-0.4, -1.08),
                (-0.16, -0.92),
                (0.0, -1.12),
                (0.16, -0.92),
                (0.4, -1.08),
                (0.34, -0.78),
            ],
            (200, 30, 60),
        )
    else:
        pen.line([(0.0, -0.8), (0.0, -0.98)], 0.08, look.panel)
        pen.oval(0.0, -1.0, 0.1, 0.1, look.eyes)
    pen.box(-0.34, 0.45, -0.08, 0.95, look.legs)
    pen.box(0.08, 0.45, 0.34, 0.95, look.legs)
    pen.box(-0.42, 0.84, -0.04, 1.0, shade(look.legs, 0.7))
    pen.box(0.04, 0.84, 0.42, 1.0, shade(look.legs, 0.7))
    pen.line([(-0.5, -0.04), (-0.7, 0.3 - lift)], 0.2, look.arms)
    pen.line([(0.5, -0.04), (0.7, 0.3 + lift)], 0.2, look.arms)
    pen.oval(-0.72, 0.38 - lift, 0.15, 0.15, shade(look.arms, 0.75))
    pen.oval(0.72, 0.38 + lift, 0.15, 0.15, shade(look.arms, 0.75))
    pen.box(-0.48, -0.14, 0.48, 0.54, body)
    if name == "chrome robot":
        pen.oval(0.0, -0.66, 0.42, 0.26, head)
        pen.box(-0.42, -0.66, 0.42, -0.2, head)
    else:
        pen.box(-0.42, -0.8, 0.42, -0.2, head)
    if name == "chrome robot":
        pen.poly([(-0.3, -0.14), (0.0, -0.14), (-0.28, 0.54), (-0.48, 0.54), (-0.48, 0.2)], (248, 252, 255))
    if rusty:
        for x, y, r in (
            (-0.3, 0.36, 0.16),
            (0.34, 0.0, 0.13),
            (0.28, -0.7, 0.12),
            (-0.36, -0.3, 0.1),
            (0.1, 0.44, 0.1),
        ):
            pen.oval(x, y, r, r * 0.8, (64, 38, 30))
        for x, y in ((0.22, 0.3), (-0.3, -0.02)):
            pen.oval(x, y, 0.12, 0.09, (90, 160, 140))
    if toy:
        pen.oval(0.0, 0.2, 0.22, 0.22, look.panel)
    else:
        pen.box(-0.2, 0.06, 0.2, 0.36, look.panel)
    if name == "chrome robot":
        pen.oval(0.0, -0.56, 0.5, 0.16, look.panel)
        pen.oval(0.0, -0.56, 0.4, 0.09, look.eyes)
    else:
        pen.oval(-0.2, -0.54, 0.13, 0.13, look.eyes)
        pen.oval(0.2, -0.54, 0.13, 0.13, (40, 30, 30) if rusty else look.eyes)
        pen.oval(-0.2, -0.54, 0.05, 0.05, (30, 30, 40))
        if not rusty:
            pen.oval(0.2, -0.54, 0.05, 0.05, (30, 30, 40))
    pen.box(-0.22, -0.36, 0.22, -0.27, look.panel)
