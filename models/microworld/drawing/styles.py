"""Picture styles: global treatments of a finished picture, each unmistakable at a glance.

Every style maps uint8 [64, 64, 3] to uint8 [64, 64, 3].
"""

from collections.abc import Callable

import numpy as np

_GRAY = np.array([0.299, 0.587, 0.114])


def _luminance(picture: np.ndarray) -> np.ndarray:
    """Luminance in 0..1, [64, 64]."""
    return (picture @ _GRAY) / 255.0


def _edges(picture: np.ndarray) -> np.ndarray:
    """Strength of the strongest colour edge at each pixel in 0..1, [64, 64]."""
    p = np.pad(picture.astype(np.float32) / 255.0, ((1, 1), (1, 1), (0, 0)), mode="edge")
    across = p[1:-1, 2:] - p[1:-1, :-2]
    down = p[2:, 1:-1] - p[:-2, 1:-1]
    return np.clip(np.sqrt(across**2 + down**2).max(axis=2) * 1.3, 0.0, 1.0)


def _blur(field: np.ndarray) -> np.ndarray:
    """3x3 box average."""
    p = np.pad(field, ((1, 1), (1, 1)) + ((0, 0),) * (field.ndim - 2), mode="edge")
    rows = p[:-2] + p[1:-1] + p[2:]
    return (rows[:, :-2] + rows[:, 1:-1] + rows[:, 2:]) / 9.0


def _soft_edges(picture: np.ndarray) -> np.ndarray:
    """`_edges` drawn with a broad, soft pencil, in 0..1."""
    edge = _edges(picture)
    return np.clip(0.35 * edge + 0.9 * _blur(edge), 0.0, 1.0)


def _bytes(values: np.ndarray) -> np.ndarray:
    return np.clip(values, 0.0, 255.0).astype(np.uint8)


def _mosaic(picture: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    tiles = picture.reshape(16, 4, 16, 4, 3).mean(axis=(1, 3))
    fine = np.repeat(np.repeat(tiles, 4, axis=0), 4, axis=1)
    mixed = 0.7 * fine + 0.3 * picture
    tone = rng.uniform(0.8, 1.2, (8, 8, 1))
    mixed = mixed * np.repeat(np.repeat(tone, 8, axis=0), 8, axis=1)
    grout = np.arange(64) % 8 == 0
    mixed[grout, :] = (236, 232, 222)
    mixed[:, grout] = (236, 232, 222)
    return _bytes(mixed)


def _neon(picture: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    colours = picture.astype(np.float32)
    low, high = colours.min(axis=2, keepdims=True), colours.max(axis=2, keepdims=True)
    vivid = (colours - low * 0.85) / np.maximum(high - low * 0.85, 24.0) * 255.0
    edge = _edges(picture)[..., None]
    tube = _blur(edge * _blur(vivid))
    return _bytes(np.array([20, 12, 36]) + vivid * 0.14 + tube * 0.8 + _blur(_blur(tube)) * 0.7)


def _sketch(picture: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    tone = 250.0 - 90.0 * (1.0 - _luminance(picture)) - 160.0 * _soft_edges(picture)
    return np.repeat(_bytes(tone)[..., None], 3, axis=2)


_VIGNETTE = 1.0 - 0.55 * np.clip(
    np.hypot(*np.meshgrid(np.linspace(-1, 1, 64), np.linspace(-1, 1, 64))) - 0.45, 0, 1
)


def _sepia(picture: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    tone = (_luminance(picture) * 0.85 + 0.12) * _VIGNETTE
    return _bytes(tone[..., None] * np.array([262.0, 208.0, 142.0]))


_GRID = np.zeros((64, 64, 1))
_GRID[::8] = 1.0
_GRID[:, ::8] = 1.0


def _blueprint(picture: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    ink = np.clip(0.8 * _soft_edges(picture) + 0.34 * _luminance(picture), 0.0, 1.0)[..., None]
    ink = np.maximum(ink, 0.2 * _GRID)
    return _bytes(np.array([18.0, 48.0, 150.0]) * (1.0 - ink) + np.array([235.0, 245.0, 255.0]) * ink)


_ROWS, _COLUMNS = np.mgrid[0:64, 0:64]
_DOTS = np.clip(3.2 - np.hypot(_ROWS % 8 - 3.5, _COLUMNS % 8 - 3.5), 0.0, 1.0)[..., None]
_LEVELS = (40.0, 132.0, 225.0)


def _pop_art(picture: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    shifted = picture[..., [1, 2, 0]].astype(np.float32)
    gray = shifted.mean(axis=2, keepdims=True)
    vivid = gray + (shifted - gray) * 1.5
    # Three flat levels with short ramps between them: a hard step would flicker with every slight shade.
    levels = np.interp(vivid, (45.0, 105.0, 150.0, 210.0), np.repeat(_LEVELS, (1, 2, 1)))
    dotted = levels * 0.55 + np.array([110, 16, 70])
    return _bytes(levels + (dotted - levels) * _DOTS)


_HEAT = np.array(
    [
        [36, 24, 100],
        [66, 34, 146],
        [130, 40, 160],
        [200, 60, 120],
        [234, 116, 60],
        [246, 190, 70],
        [250, 236, 160],
    ],
    float,
)


def _thermal(picture: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    tone = _luminance(picture) * (len(_HEAT) - 1)
    return _bytes(np.stack([np.interp(tone, np.arange(len(_HEAT)), _HEAT[:, c]) for c in range(3)], axis=2))


_CUTS = 0.16 * np.sin((_ROWS + _COLUMNS) * (2.0 * np.pi / 8.0))


def _woodcut(picture: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    light = _luminance(picture)
    low, high = np.percentile(light, (5, 95))
    light = (light - low) / max(high - low, 0.2)
    tone = (0.9 * light - 0.5 * _edges(picture) + _CUTS - 0.26) * 2.0 + 0.5
    ink = np.clip(tone, 0.0, 1.0)[..., None]
    return _bytes(np.array([76.0, 58.0, 46.0]) * (1.0 - ink) + np.array([240.0, 220.0, 176.0]) * ink)


_STYLES: dict[str, Callable[[np.ndarray, np.random.Generator], np.ndarray]] = {
    "mosaic": _mosaic,
    "neon": _neon,
    "sketch": _sketch,
    "sepia": _sepia,
    "blueprint": _blueprint,
    "pop art": _pop_art,
    "thermal": _thermal,
    "woodcut": _woodcut,
}


def apply_style(picture: np.ndarray, style: str, rng: np.random.Generator) -> np.ndarray:
    """`picture` (uint8 [64, 64, 3]) in `style`; 'plain' leaves it as it is. Raises KeyError if unknown."""
    return picture if style == "plain" else _STYLES[style](picture, rng)
