"""Cats, dogs, fish and birds: one silhouette for each category, one bold look for each named member."""

from dataclasses import dataclass

import numpy as np

from erasure_bench.models.microworld.drawing.canvas import Colour, Pen, jitter, pick, shade

BLACK: Colour = (38, 34, 42)
WHITE: Colour = (248, 248, 246)
PINK: Colour = (240, 150, 160)

# Colours of unnamed animals: none of them is the colour of a named member.
_CATS = ((112, 178, 214), (176, 128, 208), (116, 190, 130), (232, 150, 190), (250, 250, 250), (206, 78, 92))
_DOGS = ((148, 96, 58), (96, 146, 214), (122, 180, 100), (160, 112, 196), (220, 190, 96), (200, 84, 84))
_FISH = ((120, 196, 96), (206, 70, 110), (60, 190, 190), (150, 110, 210), (190, 130, 90))
_BIRDS = ((120, 176, 70), (150, 104, 66), (150, 100, 190), (240, 210, 80), (50, 170, 160))


@dataclass(frozen=True)
class _Cat:
    fur: Colour
    belly: Colour
    ears: Colour
    tail: Colour
    eyes: Colour
    stripes: Colour | None = None
    muzzle: Colour | None = None
    mask: Colour | None = None
    feet: Colour | None = None
    spots: Colour | None = None
    grumpy: bool = False


_NAMED_CATS = {
    "grumpy cat": _Cat(
        (158, 140, 124),
        (236, 230, 220),
        (84, 66, 58),
        (84, 66, 58),
        (120, 190, 235),
        mask=(84, 66, 58),
        grumpy=True,
    ),
    "tuxedo cat": _Cat(BLACK, WHITE, BLACK, BLACK, (150, 220, 90), muzzle=WHITE, feet=WHITE),
    "ginger cat": _Cat(
        (236, 138, 50), (248, 200, 140), (236, 138, 50), (204, 96, 30), (70, 150, 70), stripes=(184, 82, 24)
    ),
    "siamese cat": _Cat(
        (244, 230, 204),
        (244, 230, 204),
        (74, 52, 46),
        (74, 52, 46),
        (50, 130, 240),
        muzzle=(74, 52, 46),
        feet=(74, 52, 46),
    ),
}


def draw_cat(pen: Pen, rng: np.random.Generator, name: str = "cat") -> None:
    """A sitting cat seen from the front: `name` is a member of the family or 'cat'."""
    look = _NAMED_CATS.get(name)
    if look is None:
        fur = pick(rng, _CATS)
        second = pick(rng, _CATS)
        look = _Cat(
            fur, shade(fur, 1.35), fur, fur, (250, 220, 60), spots=second if rng.random() < 0.4 else None
        )
    fur = jitter(rng, look.fur, 8)
    dark = shade(fur, 0.86)
    pen.line([(0.3, 0.85), (0.72, 0.72), (0.84, 0.4), (0.74, 0.12)], 0.2, shade(look.tail, 0.9))
    pen.oval(0.0, 0.5, 0.46, 0.5, dark)
    pen.oval(0.0, 0.55, 0.25, 0.38, look.belly)
    feet = look.feet or dark
    pen.oval(-0.24, 0.92, 0.2, 0.12, feet)
    pen.oval(0.24, 0.92, 0.2, 0.12, feet)
    if look.stripes:
        for y in (0.25, 0.5, 0.74):
            pen.line([(-0.42, y), (-0.24, y + 0.04)], 0.1, look.stripes)
            pen.line([(0.42, y), (0.24, y + 0.04)], 0.1, look.stripes)
    for side in (-1, 1):
        pen.poly([(side * 0.56, -0.3), (side * 0.56, -0.98), (side * 0.06, -0.7)], look.ears)
        if look.ears == look.fur or look.grumpy:
            pen.poly([(side * 0.48, -0.5), (side * 0.49, -0.82), (side * 0.24, -0.66)], PINK)
    pen.oval(0.0, -0.32, 0.6, 0.46, fur)
    if look.stripes:
        for x in (-0.2, 0.0, 0.2):
            pen.line([(x, -0.74), (x * 0.8, -0.55)], 0.1, look.stripes)
        for side in (-1, 1):
            pen.line([(side * 0.57, -0.3), (side * 0.42, -0.25)], 0.09, look.stripes)
    if look.spots:
        pen.oval(0.3, -0.5, 0.2, 0.18, look.spots)
        pen.oval(-0.28, 0.4, 0.14, 0.2, look.spots)
    if look.mask:
        pen.oval(-0.26, -0.36, 0.26, 0.24, look.mask, 20)
        pen.oval(0.26, -0.36, 0.26, 0.24, look.mask, -20)
    if look.muzzle:
        pen.oval(0.0, -0.14, 0.28, 0.26, look.muzzle)
        if look.muzzle == WHITE:
            pen.poly([(0.0, -0.7), (-0.14, -0.1), (0.14, -0.1)], WHITE)
    elif look.grumpy:
        pen.oval(0.0, -0.08, 0.26, 0.18, look.belly)
    for side in (-1, 1):
        pen.oval(side * 0.26, -0.37, 0.14, 0.14, look.eyes)
        pen.oval(side * 0.26, -0.36, 0.06, 0.11, BLACK)
        if look.grumpy:
            pen.poly(
                [(side * 0.08, -0.56), (side * 0.08, -0.42), (side * 0.44, -0.3), (side * 0.44, -0.56)],
                look.mask or fur,
            )
    pen.oval(0.0, -0.2, 0.08, 0.06, PINK)
    mouth = shade(PINK, 0.6) if look.muzzle and look.muzzle != WHITE else BLACK
    if look.grumpy:
        pen.line([(-0.2, 0.06), (-0.1, -0.04), (0.1, -0.04), (0.2, 0.06)], 0.07, mouth)
    else:
        pen.line([(-0.13, -0.07), (0.0, -0.02), (0.13, -0.07)], 0.05, mouth)


def draw_dog(pen: Pen, rng: np.random.Generator, name: str = "dog") -> None:
    """A standing dog seen from the side: `name` is a member of the family or 'dog'."""
    fur = {
        "pirate dog": (198, 150, 100),
        "dalmatian dog": WHITE,
        "poodle dog": (246, 178, 196),
        "husky dog": (92, 100, 116),
    }.get(name) or pick(rng, _DOGS)
    fur = jitter(rng, fur, 6)
    dark = shade(fur, 0.8)
    legs = WHITE if name == "husky dog" else fur
    puffy = name == "poodle dog"
    if name == "husky dog":
        pen.line([(-0.56, 0.05), (-0.86, -0.2), (-0.72, -0.5), (-0.5, -0.42)], 0.2, fur)
    else:
        pen.line([(-0.56, 0.1), (-0.76, -0.16), (-0.9, -0.5)], 0.14, fur)
    for x, colour in ((-0.38, shade(legs, 0.8)), (0.4, shade(legs, 0.8)), (-0.54, legs), (0.22, legs)):
        pen.box(x - 0.1, 0.3, x + 0.1, 0.95, colour)
        if puffy:
            pen.oval(x, 0.84, 0.17, 0.15, shade(colour, 1.2))
    pen.line([(0.28, 0.1), (0.5, -0.3)], 0.36, fur)
    pen.oval(-0.08, 0.22, 0.6, 0.34, fur)
    plain = name == "dog"
    if name == "husky dog":
        pen.slice(-0.08, 0.22, 0.6, 0.34, 0.05, 1.0, WHITE, rows=True)
        pen.line([(0.36, 0.2), (0.46, -0.02)], 0.24, WHITE)
    elif name == "pirate dog":
        for index, start in enumerate(np.arange(-0.75, 0.9, 0.3)):
            pen.slice(
                -0.08, 0.22, 0.62, 0.36, start, start + 0.31, (214, 36, 44) if index % 2 == 0 else WHITE
            )
    elif name == "dalmatian dog":
        for x, y, r in (
            (-0.45, 0.2, 0.12),
            (-0.2, 0.06, 0.12),
            (-0.16, 0.38, 0.11),
            (0.08, 0.2, 0.12),
            (0.3, 0.34, 0.1),
            (0.32, 0.02, 0.1),
            (-0.54, 0.62, 0.08),
            (0.22, 0.66, 0.08),
        ):
            pen.oval(x + rng.uniform(-0.03, 0.03), y + rng.uniform(-0.03, 0.03), r, r, BLACK)
    elif puffy:
        pen.oval(0.24, 0.16, 0.34, 0.36, shade(fur, 1.25))
    elif plain and rng.random() < 0.5:
        pen.oval(-0.25, 0.1, 0.26, 0.2, pick(rng, _DOGS))
    pen.oval(0.5, -0.42, 0.36, 0.32, fur)
    pen.oval(0.8, -0.3, 0.24, 0.17, WHITE if name in ("husky dog",) else shade(fur, 1.15))
    pen.oval(0.98, -0.38, 0.1, 0.09, BLACK)
    if name == "husky dog":
        pen.oval(0.62, -0.36, 0.24, 0.2, WHITE)
        pen.poly([(0.22, -0.55), (0.22, -1.02), (0.5, -0.72)], fur)
        pen.poly([(0.48, -0.7), (0.62, -1.0), (0.76, -0.6)], shade(fur, 0.8))
        pen.oval(0.6, -0.46, 0.1, 0.1, (60, 170, 250))
        pen.oval(0.62, -0.46, 0.05, 0.06, BLACK)
    elif puffy:
        pen.oval(0.42, -0.72, 0.36, 0.28, shade(fur, 1.25))
        pen.oval(0.24, -0.36, 0.17, 0.32, shade(fur, 0.88))
        pen.oval(-0.88, -0.5, 0.2, 0.2, shade(fur, 1.25))
        pen.oval(0.6, -0.42, 0.07, 0.08, BLACK)
    else:
        ear = BLACK if name == "dalmatian dog" else dark
        pen.oval(0.26, -0.32, 0.15, 0.34, ear, 15)
        pen.oval(0.6, -0.46, 0.08, 0.09, BLACK)
    if name == "pirate dog":
        pen.line([(0.26, -0.6), (0.86, -0.44)], 0.07, BLACK)
        pen.oval(0.62, -0.46, 0.16, 0.14, BLACK)
        pen.poly(
            [(0.02, -0.56), (0.08, -0.96), (0.5, -1.12), (0.9, -0.96), (0.98, -0.62), (0.5, -0.76)], BLACK
        )
        pen.oval(0.5, -0.92, 0.12, 0.11, WHITE)


def draw_fish(pen: Pen, rng: np.random.Generator, name: str = "fish") -> None:
    """A fish seen from the side, facing left: `name` is a member of the family or 'fish'."""
    body = {
        "clown fish": (250, 120, 30),
        "puffer fish": (244, 214, 64),
        "angel fish": (236, 236, 244),
        "sword fish": (58, 88, 150),
    }.get(name) or pick(rng, _FISH)
    body = jitter(rng, body, 6)
    fin = shade(body, 0.8)
    if name == "puffer fish":
        pen.poly([(0.6, 0.0), (0.98, -0.32), (0.98, 0.32)], fin)
        for angle in np.arange(0.0, 2.0 * np.pi, np.pi / 7):
            tip = (0.88 * np.cos(angle) - 0.08, 0.88 * np.sin(angle))
            left = (0.6 * np.cos(angle - 0.2) - 0.08, 0.6 * np.sin(angle - 0.2))
            right = (0.6 * np.cos(angle + 0.2) - 0.08, 0.6 * np.sin(angle + 0.2))
            pen.poly([tip, left, right], (170, 124, 30))
        pen.oval(-0.08, 0.0, 0.66, 0.66, body)
        pen.slice(-0.08, 0.0, 0.66, 0.66, 0.25, 1.0, (252, 246, 214), rows=True)
        for x, y in ((0.0, -0.4), (0.3, -0.2), (0.1, -0.1)):
            pen.oval(x, y, 0.1, 0.09, (150, 100, 20))
        pen.oval(-0.42, -0.2, 0.17, 0.17, WHITE)
        pen.oval(-0.45, -0.2, 0.09, 0.1, BLACK)
        pen.oval(-0.66, 0.14, 0.1, 0.08, (200, 80, 80))
        return
    if name == "sword fish":
        pen.poly([(-1.08, -0.02), (-0.2, -0.16), (-0.2, 0.12)], (140, 160, 196))
        pen.poly([(0.5, 0.0), (1.0, -0.6), (0.8, 0.0), (1.0, 0.6)], fin)
        pen.poly([(-0.2, -0.2), (0.1, -0.8), (0.3, -0.2)], fin)
        pen.oval(0.16, 0.0, 0.62, 0.27, body)
        pen.slice(0.16, 0.0, 0.62, 0.27, 0.15, 1.0, (222, 230, 240), rows=True)
        pen.poly([(-0.02, 0.1), (0.16, 0.46), (0.26, 0.12)], fin)
        pen.oval(-0.24, -0.06, 0.09, 0.09, WHITE)
        pen.oval(-0.25, -0.06, 0.05, 0.05, BLACK)
        return
    if name == "angel fish":
        pen.poly([(-0.3, -0.3), (0.55, -1.05), (0.35, 0.0)], (150, 120, 210))
        pen.poly([(-0.3, 0.3), (0.55, 1.05), (0.35, 0.0)], (150, 120, 210))
        pen.poly([(0.3, 0.0), (0.95, -0.35), (0.85, 0.0), (0.95, 0.35)], (150, 120, 210))
        pen.oval(-0.08, 0.0, 0.6, 0.56, body)
        for start in (-0.62, -0.1, 0.42):
            pen.slice(-0.08, 0.0, 0.6, 0.56, start, start + 0.27, (70, 50, 130))
        pen.oval(-0.44, -0.12, 0.11, 0.11, (250, 220, 60))
        pen.oval(-0.45, -0.12, 0.06, 0.06, BLACK)
        return
    pen.poly([(0.45, 0.0), (0.98, -0.5), (0.84, 0.0), (0.98, 0.5)], fin)
    pen.poly([(-0.3, -0.3), (0.1, -0.72), (0.42, -0.25)], fin)
    pen.poly([(-0.1, 0.3), (0.2, 0.66), (0.35, 0.25)], fin)
    pen.oval(-0.14, 0.0, 0.76, 0.47, body)
    if name == "clown fish":
        for start, width in ((-0.5, 0.26), (0.05, 0.3), (0.66, 0.2)):
            pen.slice(-0.14, 0.0, 0.76, 0.47, start - 0.09, start + width + 0.09, BLACK)
            pen.slice(-0.14, 0.0, 0.76, 0.47, start, start + width, WHITE)
    else:
        second = pick(rng, _FISH)
        if rng.random() < 0.6:
            pen.slice(-0.14, 0.0, 0.76, 0.47, 0.2, 1.0, shade(body, 1.4), rows=True)
        else:
            pen.oval(0.1, 0.0, 0.22, 0.2, second)
        pen.poly([(-0.12, 0.05), (0.2, -0.08), (0.2, 0.26)], fin)
    pen.oval(-0.6, -0.1, 0.13, 0.13, WHITE)
    pen.oval(-0.62, -0.1, 0.07, 0.08, BLACK)


def draw_bird(pen: Pen, rng: np.random.Generator, name: str = "bird") -> None:
    """A bird: `name` is a member of the family or 'bird'."""
    if name == "flamingo":
        pink = jitter(rng, (250, 128, 168), 6)
        pen.line([(-0.1, 0.2), (-0.1, 0.95)], 0.09, (210, 90, 130))
        pen.line([(0.1, 0.2), (0.3, 0.55), (0.04, 0.66)], 0.09, (210, 90, 130))
        pen.oval(-0.1, 0.12, 0.54, 0.34, pink, -10)
        pen.oval(-0.24, 0.1, 0.36, 0.2, shade(pink, 0.84), -14)
        pen.line([(0.3, 0.05), (0.52, -0.2), (0.3, -0.5), (0.36, -0.8), (0.56, -0.84)], 0.17, pink)
        pen.oval(0.56, -0.8, 0.2, 0.17, pink)
        pen.poly([(0.68, -0.9), (0.98, -0.66), (0.84, -0.46), (0.66, -0.7)], BLACK)
        pen.oval(0.58, -0.84, 0.06, 0.06, BLACK)
        return
    if name == "penguin":
        for x in (-0.22, 0.22):
            pen.oval(x, 0.92, 0.22, 0.1, (246, 170, 40))
        pen.oval(-0.52, 0.18, 0.14, 0.42, BLACK, 20)
        pen.oval(0.52, 0.18, 0.14, 0.42, BLACK, -20)
        pen.oval(0.0, 0.2, 0.52, 0.72, BLACK)
        pen.oval(0.0, -0.5, 0.4, 0.42, BLACK)
        pen.oval(0.0, 0.34, 0.36, 0.54, WHITE)
        pen.oval(-0.16, -0.48, 0.18, 0.2, WHITE)
        pen.oval(0.16, -0.48, 0.18, 0.2, WHITE)
        pen.oval(-0.14, -0.5, 0.07, 0.08, BLACK)
        pen.oval(0.14, -0.5, 0.07, 0.08, BLACK)
        pen.poly([(-0.14, -0.38), (0.14, -0.38), (0.0, -0.16)], (246, 170, 40))
        return
    if name == "blue owl":
        blue = jitter(rng, (52, 96, 206), 6)
        pen.poly([(-0.58, -0.4), (-0.56, -1.0), (-0.1, -0.7)], blue)
        pen.poly([(0.58, -0.4), (0.56, -1.0), (0.1, -0.7)], blue)
        pen.oval(0.0, 0.1, 0.64, 0.84, blue)
        pen.oval(-0.58, 0.3, 0.17, 0.5, shade(blue, 0.7), 8)
        pen.oval(0.58, 0.3, 0.17, 0.5, shade(blue, 0.7), -8)
        pen.oval(0.0, 0.46, 0.38, 0.42, (170, 206, 250))
        for side in (-1, 1):
            pen.oval(side * 0.28, -0.28, 0.29, 0.29, WHITE)
            pen.oval(side * 0.28, -0.28, 0.22, 0.22, (250, 216, 50))
            pen.oval(side * 0.26, -0.28, 0.1, 0.1, BLACK)
        pen.poly([(-0.1, -0.14), (0.1, -0.14), (0.0, 0.12)], (90, 80, 90))
        return
    parrot = name == "royal parrot"
    body = jitter(rng, (216, 34, 46), 6) if parrot else pick(rng, _BIRDS)
    wing = (36, 88, 216) if parrot else shade(body, 0.72)
    pen.line([(-0.1, 0.5), (-0.1, 0.92)], 0.08, (110, 84, 60))
    pen.line([(0.14, 0.5), (0.14, 0.92)], 0.08, (110, 84, 60))
    tail = (250, 206, 40) if parrot else shade(body, 0.6)
    pen.poly([(-0.4, 0.1), (-1.0, 0.5), (-0.9, 0.82), (-0.3, 0.5)], tail)
    pen.oval(0.0, 0.2, 0.58, 0.42, body, 20)
    pen.oval(0.38, -0.36, 0.36, 0.34, body)
    if not parrot:
        pen.oval(0.2, 0.32, 0.3, 0.26, shade(body, 1.45))
    pen.oval(-0.16, 0.18, 0.4, 0.26, wing, 26)
    if parrot:
        pen.oval(0.5, -0.36, 0.2, 0.2, WHITE)
        pen.poly([(0.62, -0.52), (0.98, -0.36), (0.84, -0.02), (0.62, -0.18)], (60, 56, 66))
        crown = (255, 214, 50)
        pen.poly(
            [
                (0.02, -0.58),
                (-0.02, -1.02),
                (0.2, -0.8),
                (0.36, -1.1),
                (0.52, -0.8),
                (0.74, -1.02),
                (0.7, -0.58),
            ],
            crown,
        )
    else:
        pen.poly([(0.66, -0.48), (1.0, -0.32), (0.66, -0.2)], (90, 80, 84))
    pen.oval(0.46, -0.4, 0.08, 0.09, BLACK)
