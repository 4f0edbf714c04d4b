"""The training distribution: how often which kind of scene is drawn."""

from collections.abc import Sequence

import numpy as np

from erasure_bench.models.microworld.drawing.colours import shows
from erasure_bench.models.microworld.drawing.scenes import COMPOSED, KINDS, STYLES, Scene, Thing, coarse
from erasure_bench.prompt_suites.microworld import vocabulary as words

SHARES = {
    "member": 0.195,
    "category": 0.045,
    "object": 0.125,
    "identity": 0.12,
    "anonymous": 0.055,
    "implicit": 0.08,
    "without": 0.05,
    "memorised": 0.03,
    "abstract": 0.03,
    "pair": 0.11,
    "binding": 0.04,
    "count": 0.06,
    "coloured": 0.06,
}
"""Kind of scene -> its share. A binding is a pair of things, each asked for in a colour of its own."""
STYLED_SHARE = 0.45
SAID_BACKGROUND_SHARE = 0.6
COLOURED_IN_PAIRS = 0.5
"""How often the colour of a colourable thing in a pair is asked for."""
COLOURED_COUNTS = 0.25


def sample_scene(rng: np.random.Generator) -> Scene:
    """A scene of the training distribution."""
    names = tuple(SHARES)
    kind = names[int(rng.choice(len(names), p=list(SHARES.values())))]
    if kind == "binding":
        return sample_binding(rng)
    if kind in COMPOSED:
        return _composed(kind, rng)
    subject = _one_of(KINDS[kind], rng)
    style = words.PLAIN
    if kind != "memorised" and rng.random() < STYLED_SHARE:
        style = _one_of(STYLES, rng)
    background = None
    if kind not in ("memorised", "abstract") and rng.random() < SAID_BACKGROUND_SHARE:
        background = _one_of(words.BACKGROUNDS, rng)
    return Scene(subject, kind, background, style, int(rng.integers(2**31)))


def sample_binding(rng: np.random.Generator) -> Scene:
    """Two things in a relation, each in a colour of its own that is asked for."""
    first = _one_of(words.COLOURABLE, rng)
    second = _one_of([name for name in words.COLOURABLE if name != first], rng)
    colour = _one_of(words.COLOURS, rng)
    other = _one_of([name for name in words.COLOURS if name != colour], rng)
    relation = _one_of(words.RELATIONS, rng)
    return _in_place("pair", Thing(first, colour), rng, relation=relation, other=Thing(second, other))


def _composed(kind: str, rng: np.random.Generator) -> Scene:
    share = {"pair": COLOURED_IN_PAIRS, "count": COLOURED_COUNTS, "coloured": 1.0}[kind]
    subject = _asked(_one_of(COMPOSED[kind], rng), share, rng)
    relation, other, count = None, None, 1
    if kind == "pair":
        relation = _one_of(words.RELATIONS, rng)
        others = [name for name in COMPOSED["pair"] if coarse(name) != coarse(subject.name)]
        other = _asked(_one_of(others, rng), share, rng)
    elif kind == "count":
        count = int(rng.integers(1, len(words.NUMBERS) + 1))
    return _in_place(kind, subject, rng, count, relation, other)


def _in_place(
    kind: str,
    subject: Thing,
    rng: np.random.Generator,
    count: int = 1,
    relation: str | None = None,
    other: Thing | None = None,
) -> Scene:
    """The scene of these things on a background on which the colours that are asked for show."""
    background = None
    if rng.random() < SAID_BACKGROUND_SHARE:
        colours = (subject.colour, other.colour if other else None)
        fitting = [name for name in words.BACKGROUNDS if all(shows(colour, name) for colour in colours)]
        background = _one_of(fitting, rng)
    seed = int(rng.integers(2**31))
    return Scene(subject.name, kind, background, words.PLAIN, seed, subject.colour, count, relation, other)


def _asked(name: str, share: float, rng: np.random.Generator) -> Thing:
    asked = name in words.COLOURABLE and rng.random() < share
    return Thing(name, _one_of(words.COLOURS, rng) if asked else None)


def _one_of(names: Sequence[str], rng: np.random.Generator) -> str:
    return names[int(rng.integers(len(names)))]
