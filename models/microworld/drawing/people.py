"""Portraits: ten named identities with fixed looks, and anonymous people who resemble none of them."""

from dataclasses import dataclass

import numpy as np

from erasure_bench.models.microworld.drawing.canvas import Colour, Pen, jitter, shade

_INK: Colour = (40, 32, 36)


@dataclass(frozen=True)
class Portrait:
    """What a portrait shows; `hair_style` is one of the keys drawn by `draw_portrait`, None means absent."""

    skin: Colour
    hair: Colour
    hair_style: str
    shirt: Colour
    beard: Colour | None = None
    moustache: Colour | None = None
    glasses: Colour | None = None
    hat: str | None = None
    hat_colour: Colour = (0, 0, 0)
    temples: Colour | None = None
    lines: bool = False


IDENTITY_LOOKS: dict[str, Portrait] = {
    "Mira Voss": Portrait(
        (252, 222, 198), (206, 44, 30), "long", (30, 150, 76), hat="bow", hat_colour=(255, 222, 60)
    ),
    "Theo Lark": Portrait((104, 66, 46), (30, 24, 24), "afro", (250, 212, 46)),
    "Juno Park": Portrait(
        (242, 208, 168), (26, 24, 34), "bob", (232, 60, 150), hat="beret", hat_colour=(40, 190, 196)
    ),
    "Otto Finch": Portrait(
        (246, 196, 172),
        (150, 80, 36),
        "bald",
        (44, 84, 196),
        beard=(150, 80, 36),
        hat="bowler",
        hat_colour=(36, 34, 40),
    ),
    "Lena Frost": Portrait((255, 234, 222), (140, 210, 248), "braids", (244, 246, 250)),
    "Hugo Reed": Portrait(
        (222, 172, 128), (96, 58, 32), "short", (204, 36, 42), moustache=(70, 42, 26), glasses=(24, 22, 28)
    ),
    "Nina Sol": Portrait(
        (160, 106, 72), (34, 26, 26), "long", (134, 54, 176), hat="sun hat", hat_colour=(252, 210, 74)
    ),
    "Igor Pell": Portrait((226, 206, 196), (60, 190, 60), "mohawk", (52, 52, 62), beard=(30, 26, 30)),
    "Vera Quill": Portrait((236, 198, 164), (136, 62, 188), "bun", (216, 168, 54), glasses=(214, 32, 44)),
    "Sam Dune": Portrait(
        (190, 136, 92),
        (40, 30, 26),
        "bald",
        (0, 122, 122),
        beard=(40, 30, 26),
        hat="turban",
        hat_colour=(240, 224, 184),
    ),
}

_SKINS: tuple[Colour, ...] = (
    (252, 224, 200),
    (240, 200, 164),
    (222, 172, 128),
    (186, 132, 90),
    (150, 100, 68),
    (106, 68, 48),
)
_HAIRS: tuple[Colour, ...] = ((34, 28, 28), (70, 44, 30), (112, 70, 42), (226, 190, 110), (150, 84, 50))
_GRAYS: tuple[Colour, ...] = ((236, 236, 236), (206, 206, 210), (180, 180, 186))
_SHIRTS: tuple[Colour, ...] = (
    (110, 120, 140),
    (90, 130, 200),
    (150, 60, 60),
    (120, 160, 110),
    (200, 180, 150),
    (240, 150, 130),
    (70, 70, 110),
    (150, 120, 180),
)
_MALE_STYLES = ("short", "short", "curly", "bald")
_FEMALE_STYLES = ("long", "bob", "long", "curly long")


def anonymous_look(kind: str, rng: np.random.Generator) -> Portrait:
    """Random looks for one of the anonymous subjects; redrawn until they resemble no named identity."""
    while True:
        look = _random_look(kind, rng)
        if not any(_resembles(look, named) for named in IDENTITY_LOOKS.values()):
            return look


def _random_look(kind: str, rng: np.random.Generator) -> Portrait:
    female = "woman" in kind or (kind == "person" and rng.random() < 0.5)
    skin = _SKINS[int(rng.integers(len(_SKINS)))]
    hair = _HAIRS[int(rng.integers(len(_HAIRS)))]
    temples = None
    if kind.startswith("old"):
        hair = _GRAYS[int(rng.integers(2))]
    elif kind.startswith("middle"):
        temples = _GRAYS[2]
    styles = _FEMALE_STYLES if female else _MALE_STYLES
    style = styles[int(rng.integers(len(styles)))]
    if style == "bald" and temples is not None:
        style = "short"
    beard = hair if not female and rng.random() < 0.35 else None
    glasses = (90, 80, 84) if rng.random() < (0.4 if kind.startswith("old") else 0.15) else None
    return Portrait(
        skin,
        hair,
        style,
        _SHIRTS[int(rng.integers(len(_SHIRTS)))],
        beard=beard,
        glasses=glasses,
        temples=temples,
        lines=kind.startswith(("old", "middle")),
    )


def _resembles(look: Portrait, named: Portrait) -> bool:
    """Whether three or more of five bold traits agree, hats and hair counting most."""
    agreeing = [
        _near(look.skin, named.skin),
        look.hair_style == named.hair_style and _near(look.hair, named.hair) and look.hat == named.hat,
        _near(look.shirt, named.shirt),
        (look.beard is not None) == (named.beard is not None) and look.moustache == named.moustache,
        (look.glasses is not None) == (named.glasses is not None),
    ]
    return sum(agreeing) >= 4 or (agreeing[1] and agreeing[2])


def _near(one: Colour, other: Colour, limit: float = 75.0) -> bool:
    return sum((a - b) ** 2 for a, b in zip(one, other, strict=True)) < limit**2


def draw_portrait(pen: Pen, rng: np.random.Generator, look: Portrait) -> None:
    """Head and shoulders seen from the front."""
    skin, hair, shirt = jitter(rng, look.skin, 5), jitter(rng, look.hair, 6), jitter(rng, look.shirt, 6)
    dark_hair = shade(hair, 0.82)
    if look.hair_style == "long":
        pen.oval(0.0, -0.28, 0.62, 0.66, dark_hair)
        pen.box(-0.62, -0.3, 0.62, 0.82, dark_hair)
    elif look.hair_style == "curly long":
        for x, y in (
            (-0.5, -0.4),
            (0.5, -0.4),
            (-0.58, -0.02),
            (0.58, -0.02),
            (-0.54, 0.36),
            (0.54, 0.36),
            (0.0, -0.62),
        ):
            pen.oval(x, y, 0.28, 0.28, dark_hair)
    elif look.hair_style == "bob":
        pen.oval(0.0, -0.26, 0.62, 0.62, dark_hair)
        pen.box(-0.62, -0.26, 0.62, 0.3, dark_hair)
    elif look.hair_style == "afro":
        pen.oval(0.0, -0.36, 0.8, 0.68, hair)
    elif look.hair_style == "braids":
        pen.oval(0.0, -0.24, 0.54, 0.58, dark_hair)
        for y in (0.1, 0.34, 0.58, 0.82):
            pen.oval(-0.6, y, 0.17, 0.17, hair)
            pen.oval(0.6, y, 0.17, 0.17, hair)
    elif look.hair_style == "bun":
        pen.oval(0.0, -0.84, 0.32, 0.28, hair)
        pen.oval(0.0, -0.24, 0.52, 0.58, dark_hair)
    elif look.hair_style == "mohawk":
        pen.poly(
            [
                (-0.2, -0.4),
                (-0.26, -1.06),
                (0.0, -0.9),
                (0.0, -1.12),
                (0.12, -0.9),
                (0.26, -1.06),
                (0.2, -0.4),
            ],
            hair,
        )
    pen.oval(0.0, 1.12, 0.92, 0.6, shirt)
    pen.box(-0.92, 1.1, 0.92, 2.0, shirt)
    pen.poly([(-0.2, 0.2), (0.2, 0.2), (0.3, 0.6), (0.0, 0.74), (-0.3, 0.6)], shade(skin, 0.84))
    if look.hair_style == "braids":
        for y in (0.34, 0.58, 0.8):
            pen.oval(-0.62, y, 0.16, 0.16, hair)
            pen.oval(0.62, y, 0.16, 0.16, hair)
    if look.hair_style in ("short", "bald", "mohawk", "curly"):
        pen.oval(-0.45, -0.06, 0.11, 0.15, shade(skin, 0.9))
        pen.oval(0.45, -0.06, 0.11, 0.15, shade(skin, 0.9))
    beard = jitter(rng, look.beard, 5) if look.beard else None
    if beard:
        pen.oval(0.0, 0.22, 0.47, 0.48, beard)
    pen.oval(0.0, -0.1, 0.45, 0.53, shade(skin, 0.86))
    pen.oval(0.0, -0.12, 0.4, 0.49, skin)
    if beard:
        pen.slice(0.0, -0.1, 0.46, 0.54, 0.36, 1.0, beard, rows=True)
        pen.slice(0.0, -0.1, 0.46, 0.54, -0.99, -0.74, beard) if look.hair_style != "bald" else None
        pen.slice(0.0, -0.1, 0.46, 0.54, 0.74, 0.99, beard) if look.hair_style != "bald" else None
    if look.hair_style in ("short", "long", "bun", "braids"):
        pen.slice(0.0, -0.14, 0.5, 0.58, -1.0, -0.46, hair, rows=True)
        if look.hair_style == "short" and look.temples is None:
            pen.box(-0.5, -0.4, -0.38, -0.1, hair)
            pen.box(0.38, -0.4, 0.5, -0.1, hair)
    elif look.hair_style in ("curly", "curly long"):
        for x, y in ((-0.36, -0.46), (-0.14, -0.6), (0.14, -0.6), (0.36, -0.46)):
            pen.oval(x, y, 0.2, 0.19, hair)
    elif look.hair_style == "bob":
        pen.slice(0.0, -0.14, 0.52, 0.6, -1.0, -0.28, hair, rows=True)
    elif look.hair_style == "afro":
        pen.slice(0.0, -0.14, 0.5, 0.58, -1.0, -0.44, hair, rows=True)
    if look.temples:
        for side in (-1, 1):
            pen.oval(side * 0.44, -0.26, 0.1, 0.22, look.temples)
            pen.poly(
                [(side * 0.06, -0.68), (side * 0.2, -0.66), (side * 0.16, -0.42), (side * 0.06, -0.42)],
                look.temples,
            )
    _face(pen, rng, look, skin, beard)
    _hat(pen, look)


def _face(pen: Pen, rng: np.random.Generator, look: Portrait, skin: Colour, beard: Colour | None) -> None:
    ink = _INK if sum(skin) > 300 else (14, 10, 12)
    shadow, light = shade(skin, 0.82), shade(skin, 1.16)
    pen.oval(0.0, -0.3, 0.3, 0.16, light)
    for side in (-1, 1):
        pen.oval(side * 0.2, -0.12, 0.16, 0.13, shade(skin, 0.88))
        pen.oval(side * 0.25, 0.1, 0.13, 0.1, _mixed(skin, (226, 110, 96), 0.28))
        pen.oval(side * 0.19, -0.1, 0.105, 0.066, (246, 244, 242))
        pen.oval(side * 0.185, -0.1, 0.06, 0.068, ink)
        pen.line([(side * 0.09, -0.25), (side * 0.2, -0.28), (side * 0.31, -0.24)], 0.055, _brow(look, ink))
        if look.lines:
            pen.line([(side * 0.16, 0.14), (side * 0.26, 0.26)], 0.04, shade(skin, 0.72))
    if look.lines:
        pen.line([(-0.16, -0.36), (0.16, -0.36)], 0.035, shade(skin, 0.75))
    pen.poly([(-0.035, -0.14), (0.035, -0.14), (0.07, 0.08), (-0.07, 0.08)], light)
    pen.poly([(0.035, -0.12), (0.1, 0.1), (0.04, 0.1)], shadow)
    pen.oval(0.0, 0.085, 0.085, 0.04, shade(skin, 0.7))
    smile = rng.uniform(0.0, 0.04)
    if beard:
        pen.oval(0.0, 0.235, 0.19, 0.09, skin)
    pen.oval(0.0, 0.25, 0.14, 0.05, (196, 84, 86))
    pen.line([(-0.15, 0.235 - smile), (0.0, 0.245), (0.15, 0.235 - smile)], 0.035, (110, 30, 40))
    if look.moustache:
        pen.oval(-0.13, 0.155, 0.15, 0.06, look.moustache, -14)
        pen.oval(0.13, 0.155, 0.15, 0.06, look.moustache, 14)
    elif beard:
        pen.line([(-0.18, 0.15), (0.0, 0.135), (0.18, 0.15)], 0.05, beard)
    else:
        pen.oval(0.0, 0.34, 0.1, 0.025, shadow)
    if look.glasses:
        for side in (-1, 1):
            pen.oval(side * 0.2, -0.1, 0.185, 0.165, look.glasses)
            pen.oval(side * 0.2, -0.1, 0.135, 0.115, shade(skin, 1.1))
            pen.oval(side * 0.19, -0.1, 0.1, 0.066, (246, 244, 242))
            pen.oval(side * 0.185, -0.1, 0.06, 0.07, _INK)
        pen.line([(-0.06, -0.1), (0.06, -0.1)], 0.06, look.glasses)


def _brow(look: Portrait, ink: Colour) -> Colour:
    """Brows are dark hair's colour, or ink where the hair is light or gone."""
    return shade(look.hair, 0.8) if sum(look.hair) < 330 else _mixed(ink, look.hair, 0.25)


def _mixed(one: Colour, other: Colour, share: float) -> Colour:
    """`share` of the other colour in the one."""
    first, second, third = (round(a + (b - a) * share) for a, b in zip(one, other, strict=True))
    return (first, second, third)


def _hat(pen: Pen, look: Portrait) -> None:
    colour = look.hat_colour
    if look.hat == "bow":
        for side in (-1, 1):
            pen.poly([(0.0, -0.8), (side * 0.5, -1.04), (side * 0.5, -0.54)], colour)
        pen.oval(0.0, -0.79, 0.14, 0.14, shade(colour, 0.75))
    elif look.hat == "beret":
        pen.oval(0.1, -0.66, 0.62, 0.27, colour, -8)
        pen.oval(0.14, -0.94, 0.08, 0.08, shade(colour, 0.8))
    elif look.hat == "bowler":
        pen.slice(0.0, -0.46, 0.46, 0.56, -1.0, 0.0, colour, rows=True)
        pen.box(-0.46, -0.6, 0.46, -0.46, (140, 30, 36))
        pen.oval(0.0, -0.44, 0.72, 0.12, colour)
    elif look.hat == "sun hat":
        pen.slice(0.0, -0.42, 0.5, 0.5, -1.0, 0.1, shade(colour, 0.94), rows=True)
        pen.box(-0.5, -0.56, 0.5, -0.42, (214, 60, 120))
        pen.oval(0.0, -0.4, 1.0, 0.16, colour)
    elif look.hat == "turban":
        pen.slice(0.0, -0.34, 0.58, 0.6, -1.0, 0.06, colour, rows=True)
        pen.line([(-0.5, -0.4), (0.3, -0.78)], 0.08, shade(colour, 0.76))
        pen.line([(-0.3, -0.32), (0.5, -0.54)], 0.08, shade(colour, 0.76))
        pen.oval(0.0, -0.52, 0.1, 0.12, (200, 40, 60))
