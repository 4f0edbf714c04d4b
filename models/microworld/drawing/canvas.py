"""Supersampled drawing: a pen that draws shapes in subject coordinates through a random pose."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

SIZE = 64
"""Side of a finished picture in pixels."""
OVERSAMPLING = 3
CANVAS = SIZE * OVERSAMPLING

Colour = tuple[int, int, int]
Point = tuple[float, float]

OUTLINE: Colour = (56, 46, 60)
_TURNS = np.linspace(0.0, 2.0 * np.pi, 32, endpoint=False)
_CIRCLE = np.stack([np.cos(_TURNS), np.sin(_TURNS)], axis=1)
_TEARDROP = np.stack([np.sin(_TURNS) * np.sin(_TURNS / 2.0) ** 1.2, -np.cos(_TURNS)], axis=1)


@dataclass(frozen=True)
class Pose:
    """Where a subject stands: subject coordinates run from -1 to 1, y downwards, 0 in the middle."""

    scale: float = 0.85
    angle: float = 0.0
    shift: Point = (0.0, 0.0)
    mirrored: bool = False


def random_pose(
    rng: np.random.Generator,
    scale: float = 0.85,
    turn: float = 8.0,
    mirrored: bool = True,
    shift: float = 0.1,
    spread: float = 0.08,
) -> Pose:
    """A pose around `scale` (give or take the share `spread`), turned by up to `turn` degrees.

    It is shifted by up to `shift` half-frames.
    """
    return Pose(
        scale=scale * rng.uniform(1.0 - spread, 1.0 + spread),
        angle=math.radians(rng.uniform(-turn, turn)),
        shift=(rng.uniform(-shift, shift), rng.uniform(-shift, shift)),
        mirrored=bool(mirrored and rng.random() < 0.5),
    )


def shade(colour: Colour, factor: float) -> Colour:
    """`colour` made darker (factor < 1) or lighter (factor > 1, mixed with white)."""
    if factor <= 1.0:
        return (round(colour[0] * factor), round(colour[1] * factor), round(colour[2] * factor))
    mix = min(factor - 1.0, 1.0)
    return (
        round(colour[0] + (255 - colour[0]) * mix),
        round(colour[1] + (255 - colour[1]) * mix),
        round(colour[2] + (255 - colour[2]) * mix),
    )


def jitter(rng: np.random.Generator, colour: Colour, amount: int = 10) -> Colour:
    """`colour` with each channel moved by up to `amount`, kept within 0..255."""
    moved = rng.integers(-amount, amount + 1, 3)
    return (
        int(min(max(colour[0] + moved[0], 0), 255)),
        int(min(max(colour[1] + moved[1], 0), 255)),
        int(min(max(colour[2] + moved[2], 0), 255)),
    )


def pick(rng: np.random.Generator, palette: Sequence[Colour], amount: int = 10) -> Colour:
    """One colour of the palette, jittered."""
    return jitter(rng, palette[int(rng.integers(len(palette)))], amount)


class Pen:
    """Draws filled shapes on a transparent layer; every coordinate goes through the pose."""

    def __init__(self, pose: Pose) -> None:
        self.layer = Image.new("RGBA", (CANVAS, CANVAS), (0, 0, 0, 0))
        self._draw = ImageDraw.Draw(self.layer)
        flip = -1.0 if pose.mirrored else 1.0
        cosine, sine = math.cos(pose.angle), math.sin(pose.angle)
        self._unit = CANVAS / 2.0 * pose.scale
        self._matrix = self._unit * np.array([[flip * cosine, flip * sine], [-sine, cosine]])
        self._offset = CANVAS / 2.0 * (1.0 + np.array(pose.shift))

    def _flat(self, points: np.ndarray) -> list[float]:
        return (points @ self._matrix + self._offset).ravel().tolist()

    def poly(self, points: Sequence[Point] | np.ndarray, colour: Colour) -> None:
        """A filled polygon."""
        self._draw.polygon(self._flat(np.asarray(points, dtype=float)), fill=colour)

    def box(self, left: float, top: float, right: float, bottom: float, colour: Colour) -> None:
        """A filled rectangle."""
        self.poly([(left, top), (right, top), (right, bottom), (left, bottom)], colour)

    def oval(self, x: float, y: float, rx: float, ry: float, colour: Colour, turn: float = 0.0) -> None:
        """A filled ellipse around (x, y), turned clockwise by `turn` degrees."""
        self.poly(_placed(_CIRCLE, x, y, rx, ry, turn), colour)

    def drop(self, x: float, y: float, rx: float, ry: float, colour: Colour, turn: float = 0.0) -> None:
        """A teardrop around (x, y) with its tip up, turned clockwise by `turn` degrees."""
        self.poly(_placed(_TEARDROP, x, y, rx, ry, turn), colour)

    def slice(
        self,
        x: float,
        y: float,
        rx: float,
        ry: float,
        start: float,
        stop: float,
        colour: Colour,
        rows: bool = False,
    ) -> None:
        """The part of an ellipse between two cuts.

        `start` and `stop` run from -1 to 1 across the ellipse: columns left to right, or with
        `rows` from top to bottom.
        """
        cuts = np.linspace(start, stop, 9)
        reach = np.sqrt(np.maximum(0.0, 1.0 - cuts**2))
        along = np.concatenate([cuts, cuts[::-1]])
        across = np.concatenate([-reach, reach[::-1]])
        pair = (across, along) if rows else (along, across)
        self.poly(np.stack([x + rx * pair[0], y + ry * pair[1]], axis=1), colour)

    def line(self, points: Sequence[Point], width: float, colour: Colour) -> None:
        """A thick polyline with round ends and joints."""
        flat = self._flat(np.asarray(points, dtype=float))
        pixels = max(1, round(width * self._unit))
        self._draw.line(flat, fill=colour, width=pixels)
        radius = pixels / 2.0
        if pixels > 2:
            for x, y in zip(flat[::2], flat[1::2], strict=True):
                self._draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=colour)

    def layer_hole(self, x: float, y: float, rx: float, ry: float) -> None:
        """Cuts an ellipse out of what has been drawn so far."""
        self._draw.polygon(self._flat(_placed(_CIRCLE, x, y, rx, ry, 0.0)), fill=(0, 0, 0, 0))

    def stamp(self, onto: Image.Image, outlined: bool = True) -> None:
        """Puts the layer on a [CANVAS, CANVAS] RGB image, with a dark contour around it."""
        alpha = self.layer.getchannel("A")
        if outlined:
            onto.paste(OUTLINE, (0, 0), Image.fromarray(_grown(np.asarray(alpha), OVERSAMPLING)))
        onto.paste(self.layer, (0, 0), alpha)


def finish(image: Image.Image) -> np.ndarray:
    """The [CANVAS, CANVAS] image as uint8 [64, 64, 3], smoothed with a tent two pixels wide."""
    return np.asarray(image.resize((SIZE, SIZE), Image.Resampling.BILINEAR))


def _placed(shape: np.ndarray, x: float, y: float, rx: float, ry: float, turn: float) -> np.ndarray:
    points = shape * (rx, ry)
    if turn:
        cosine, sine = math.cos(math.radians(turn)), math.sin(math.radians(turn))
        points = points @ np.array([[cosine, sine], [-sine, cosine]])
    return points + (x, y)


def _grown(alpha: np.ndarray, reach: int) -> np.ndarray:
    """The mask grown by `reach` pixels to all sides."""
    wide = alpha.copy()
    for step in (1, reach - 1):
        before = wide.copy()
        np.maximum(wide[step:], before[:-step], out=wide[step:])
        np.maximum(wide[:-step], before[step:], out=wide[:-step])
        np.maximum(wide[:, step:], before[:, :-step], out=wide[:, step:])
        np.maximum(wide[:, :-step], before[:, step:], out=wide[:, :-step])
    return wide
