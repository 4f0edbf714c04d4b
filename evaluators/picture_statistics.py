"""What one picture is like, in numbers that noise, blur, flat colour and broken pictures change.

Natural-scene statistics after Mittal et al. (Making a "Completely Blind" Image Quality Analyzer, IEEE Signal
Processing Letters 2013): luminance normalised by its local mean and contrast, on two scales, and how
neighbouring values go together; beside them gradients, coarse layout and colour. Nothing here was learnt from
pictures: what is usual is for `reference_range` to find out.
"""

import math
from collections.abc import Iterator
from functools import partial

import numpy as np
from numpy.typing import NDArray

from erasure_bench.evaluators.base import Pixels

Plane = NDArray[np.float32]
Statistics = NDArray[np.float64]

SMALLEST = 16
"""The least side, in pixels, of a picture that can be measured."""
_LUMINANCE = np.array([[0.299, 0.587, 0.114]], np.float32)
_OPPONENTS = np.array([[0.5, 0.5, -1.0], [0.5, -0.5, 0.0]], np.float32)
"""Yellow against blue, red against green."""
_LEVEL = 1 / 255
_FLAT = 2 * _LEVEL
_CLIPPED = 4 * _LEVEL
_LEAST = 2e-3
"""Added before a logarithm: differences below half a level of 255 are none."""


def picture_statistics(pixels: Pixels) -> Statistics:
    """The statistics [n] of RGB pixels [height, width, 3], each side at least `SMALLEST`; all are finite."""
    import cv2

    values = pixels.astype(np.float32) * np.float32(_LEVEL)
    luminance = cv2.transform(values, _LUMINANCE)
    half, quarter, thumbnail = (
        cv2.resize(luminance, size, interpolation=cv2.INTER_AREA) for size in _sizes(luminance)
    )
    return np.array(
        [
            *_texture(luminance),
            *_texture(half),
            *_layout(luminance, quarter, thumbnail),
            *_colour(values, luminance, cv2.transform(values, _OPPONENTS)),
        ],
        np.float64,
    )


def _sizes(plane: Plane) -> Iterator[tuple[int, int]]:
    """Width and height at a half, at a quarter, and of a thumbnail."""
    height, width = plane.shape
    for divisor in (2, 4):
        yield max(1, width // divisor), max(1, height // divisor)
    yield 8, 8


def _texture(plane: Plane) -> Iterator[float]:
    """Local contrast, the shape of the normalised luminance and how neighbours go together, gradients."""
    import cv2

    blurred = partial(cv2.GaussianBlur, ksize=(7, 7), sigmaX=7 / 6, borderType=cv2.BORDER_REPLICATE)
    centred = plane - blurred(plane)
    contrast = np.sqrt(np.maximum(blurred(plane * plane) - blurred(plane) ** 2, 0))
    normalised = centred / (contrast + np.float32(_FLAT))
    power, size = _mean(normalised**2), _mean(np.abs(normalised))
    logs = np.log(contrast + np.float32(_LEAST))
    yield math.log(power + 0.01)
    yield math.log((power + 1e-3) / (size**2 + 1e-3))
    for one, other in (
        (normalised[:, :-1], normalised[:, 1:]),
        (normalised[:-1], normalised[1:]),
        (normalised[:-1, :-1], normalised[1:, 1:]),
    ):
        yield _mean(one * other) / (power + 1e-3)
    yield from (_log(_mean(contrast)), _mean(logs), float(logs.std()))
    across, down = np.abs(np.diff(plane, axis=1)), np.abs(np.diff(plane, axis=0))
    yield _log((_mean(across) + _mean(down)) / 2)
    yield ((across < _FLAT).mean() + (down < _FLAT).mean()) / 2
    yield _log(_mean(across)) - _log(_mean(down))
    for profile in (across.mean(axis=0), down.mean(axis=1)):
        steepest = np.sort(profile)[-max(1, len(profile) // 20) :]
        yield _log(_mean(steepest)) - _log(_mean(profile))


def _layout(plane: Plane, quarter: Plane, thumbnail: Plane) -> Iterator[float]:
    """Coarse contrast, seams of a grid, and how the halves differ."""
    yield _log(_steps(quarter))
    yield _log(_steps(thumbnail)) - _log(float(thumbnail.std()))
    across, down = np.abs(np.diff(plane, axis=1)).mean(axis=0), np.abs(np.diff(plane, axis=0)).mean(axis=1)
    for parts in (4, 8):
        seams = [
            profile[(len(profile) + 1) * part // parts - 1]
            for profile in (across, down)
            for part in range(1, parts)
        ]
        yield _log(float(np.mean(seams))) - _log((_mean(across) + _mean(down)) / 2)
    yield _mean(thumbnail[:4]) - _mean(thumbnail[4:])
    yield _mean(thumbnail[:, :4]) - _mean(thumbnail[:, 4:])


def _colour(values: NDArray[np.float32], luminance: Plane, opponents: NDArray[np.float32]) -> Iterator[float]:
    """Brightness, chroma, their edges and what is clipped."""
    yield _mean(luminance)
    yield _log(float(luminance.std()))
    chroma = np.hypot(opponents[..., 0], opponents[..., 1])
    yield from (_log(_mean(chroma), 0.01), _log(float(chroma.std()), 0.01))
    for channel in (0, 1):
        yield _mean(opponents[..., channel])
        yield _log(_steps(opponents[..., channel]))
    yield _log(float(((values <= _CLIPPED) | (values >= 1 - _CLIPPED)).mean()), 0.01)
    shares = np.bincount((luminance.ravel() * 31.99).astype(np.intp), minlength=32) / luminance.size
    shares = shares[shares > 0]
    yield float(-(shares * np.log(shares)).sum())


def _steps(plane: Plane) -> float:
    """The mean difference between neighbours."""
    return (_mean(np.abs(np.diff(plane, axis=0))) + _mean(np.abs(np.diff(plane, axis=1)))) / 2


def _mean(values: NDArray[np.float32]) -> float:
    return float(values.mean(dtype=np.float64))


def _log(value: float, least: float = _LEAST) -> float:
    return math.log(value + least)
