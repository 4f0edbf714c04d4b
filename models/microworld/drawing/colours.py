"""The named colours of things, the colours each object has of itself, and where a colour would not show."""

from erasure_bench.models.microworld.drawing.canvas import Colour
from erasure_bench.prompt_suites.microworld import vocabulary as words

RGB: dict[str, Colour] = {
    "red": (214, 40, 48),
    "blue": (46, 104, 222),
    "green": (50, 160, 70),
    "yellow": (246, 210, 50),
    "purple": (146, 74, 194),
    "cyan": (50, 190, 200),
    "pink": (240, 130, 180),
    "white": (248, 248, 248),
    "brown": (140, 88, 56),
}
"""Every colour a thing can be given; those outside `vocabulary.COLOURS` are never asked for."""

_BRIGHT = (*words.COLOURS, "cyan", "pink")
NATURAL: dict[str, tuple[str, ...]] = {
    "car": _BRIGHT,
    "boat": _BRIGHT,
    "balloon": _BRIGHT,
    "cup": (*_BRIGHT, "white"),
    "flower": ("red", "blue", "purple", "pink", "white"),
    "apple": ("red", "red", "green"),
    "mushroom": ("red", "blue", "purple", "brown"),
    "star": ("yellow", "yellow", "cyan", "pink"),
}
"""Object -> the colours it is drawn in when none is asked for; other objects have no one main colour then."""

_HIDING: dict[str, tuple[str, ...]] = {
    "on a red background": ("red",),
    "on a blue background": ("blue",),
    "on a green background": ("green",),
    "on a yellow background": ("yellow",),
    "on a purple background": ("purple",),
    "on a grassy field": ("green",),
    "in the snow": ("white",),
    "by the sea": ("blue", "cyan"),
    "in the desert": ("yellow", "brown"),
    "at night": ("blue", "purple"),
    "at sunset": ("purple", "pink"),
}


def shows(colour: str | None, background: str) -> bool:
    """Whether a thing of this colour stands out on the background; one without a main colour always may."""
    return colour not in _HIDING.get(background, ())
