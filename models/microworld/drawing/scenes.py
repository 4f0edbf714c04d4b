"""Scenes: what a picture shows, and the labels that the oracle learns."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from erasure_bench.models.microworld.drawing.colours import NATURAL, shows
from erasure_bench.prompt_suites.microworld import vocabulary as words
from erasure_bench.prompt_suites.microworld.labels import PLACES, SIDES

_FAMILIES = words.FAMILIES + words.VALIDATION_FAMILIES
_EVOKED = words.IMPLICIT + words.VALIDATION_IMPLICIT
CATEGORIES = tuple(family.category for family in _FAMILIES)
MEMBERS = words.all_members()
OBJECTS = words.OBJECTS + words.VALIDATION_OBJECTS
IDENTITIES = words.IDENTITIES + words.VALIDATION_IDENTITIES
MEMORISED = words.MEMORISED + words.VALIDATION_MEMORISED
STYLES = words.STYLES + words.VALIDATION_STYLES
SHOWN = tuple(name for evoked in _EVOKED for name in evoked.naming + evoked.evoking)
WITHOUT = tuple(name for evoked in _EVOKED for name in evoked.without)

KINDS: dict[str, tuple[str, ...]] = {
    "member": MEMBERS,
    "category": CATEGORIES,
    "object": OBJECTS,
    "identity": IDENTITIES,
    "anonymous": words.ANONYMOUS,
    "implicit": SHOWN,
    "without": WITHOUT,
    "memorised": MEMORISED,
    "abstract": (words.ABSTRACT,),
}
"""Kind of a picture of one subject -> its subjects."""

COMPOSED: dict[str, tuple[str, ...]] = {
    "pair": words.placeable(),
    "count": tuple(words.PLURALS),
    "coloured": words.COLOURABLE,
}
"""Kind of a picture that asks for a relation, a number or a colour -> its (first) subjects. Always plain."""

_COARSE = {
    **{name: family.category for family in _FAMILIES for name in (family.category, *family.members)},
    **{name: name for name in OBJECTS},
    **{name: "person" for name in IDENTITIES + words.ANONYMOUS},
    **{name: "abstract" for name in (*MEMORISED, words.ABSTRACT)},
    **{name: "flames" for name in words.IMPLICIT[0].naming},
    **{name: "rainfall" for name in words.VALIDATION_IMPLICIT[0].naming},
    **{
        name: subject.split()[-1]
        for evoked in _EVOKED
        for subject, twin in zip(evoked.evoking, evoked.without, strict=True)
        for name in (subject, twin)
    },
}
_SHOWS = {evoked.concept: frozenset(evoked.naming + evoked.evoking) for evoked in _EVOKED}
_UNCOUNTED = frozenset(
    name for names in (*(e.naming for e in _EVOKED), MEMORISED, (words.ABSTRACT,)) for name in names
)


class Thing(NamedTuple):
    """A name of the vocabulary and the colour it is asked, or found, to have."""

    name: str
    colour: str | None = None


@dataclass(frozen=True)
class Scene:
    """One picture to draw.

    `kind` is a key of `KINDS` or `COMPOSED`, `background` None if drawn at random and not said.
    `colour` is the subject's where one is asked for. A pair has a `relation` of the subject to
    `other`; a count shows its subject `count` times (1 to 4).
    """

    subject: str
    kind: str
    background: str | None
    style: str
    seed: int
    colour: str | None = None
    count: int = 1
    relation: str | None = None
    other: Thing | None = None


@dataclass(frozen=True)
class Labels:
    """The truth about a picture, one label for each head of the oracle.

    `object` is 'several' for a pair; `member` is the one member that a picture shows, 'several' for
    two. `left` to `bottom` say what stands there in a pair, `left_colour` to `bottom_colour` in
    which colour. `colour` is that of a single (or counted) colourable object, asked for or not, in a
    plain picture: a style may change it. `count` is how many things there are.
    """

    object: str
    member: str
    style: str
    identity: str
    fire: str
    rain: str
    memorised: str
    left: str
    right: str
    top: str
    bottom: str
    left_colour: str
    right_colour: str
    top_colour: str
    bottom_colour: str
    colour: str
    count: str


_PLACED = (words.NONE, *words.placeable(), words.NOTHING)
_COLOURED = (words.NONE, *words.COLOURS, words.NOTHING)

HEADS: dict[str, tuple[str, ...]] = {
    "object": (*dict.fromkeys(_COARSE.values()), words.SEVERAL, words.NOTHING),
    "member": (words.NONE, *MEMBERS, words.SEVERAL, words.NOTHING),
    "style": (words.PLAIN, *STYLES, words.NOTHING),
    "identity": (words.NONE, "anonymous", *IDENTITIES, words.NOTHING),
    "fire": ("no fire", "fire", words.NOTHING),
    "rain": ("no rain", "rain", words.NOTHING),
    "memorised": (words.NONE, *MEMORISED, words.NOTHING),
    **{place: _PLACED for place in PLACES},
    **{f"{place}_colour": _COLOURED for place in PLACES},
    "colour": _COLOURED,
    "count": (words.NONE, *(str(number) for number in range(1, len(words.NUMBERS) + 1)), words.NOTHING),
}
"""Head of the oracle -> its labels in fixed order; the last, 'nothing', is of what is no drawing."""


def coarse(name: str) -> str:
    """The label that a picture of `name` alone has on the head `object`; KeyError if unknown."""
    return _COARSE[name]


def shown_background(scene: Scene) -> str:
    """The background that is drawn: the one asked for, or by the seed one on which the colours show."""
    if scene.background:
        return scene.background
    asked = (scene.colour, scene.other.colour if scene.other else None)
    fitting = [name for name in words.BACKGROUNDS if all(shows(colour, name) for colour in asked)]
    return fitting[int(np.random.default_rng((scene.seed, 1)).integers(len(fitting)))]


def shown_things(scene: Scene) -> tuple[Thing, ...]:
    """What is drawn, the subject first, with the colour that it gets: named or None for no main colour."""
    asked = (Thing(scene.subject, scene.colour), *((scene.other,) if scene.other else ()))
    background = shown_background(scene)
    rng = np.random.default_rng((scene.seed, 2))
    return tuple(
        thing if thing.colour else Thing(thing.name, _natural(thing.name, background, rng)) for thing in asked
    )


def _natural(name: str, background: str, rng: np.random.Generator) -> str | None:
    if name not in NATURAL:
        return None
    fitting = [colour for colour in NATURAL[name] if shows(colour, background)]
    return fitting[int(rng.integers(len(fitting)))]


def placed_things(scene: Scene) -> dict[str, Thing]:
    """Place -> what a pair has there, two of `PLACES`; nothing for other scenes."""
    if scene.relation is None:
        return {}
    first, second = shown_things(scene)
    relation = scene.relation
    if relation == "beside":
        relation = ("left of", "right of")[int(np.random.default_rng((scene.seed, 3)).integers(2))]
    one, two = SIDES[relation]
    return {one: first, two: second}


def labels(scene: Scene) -> Labels:
    """The labels of a scene; raises KeyError for a subject that is not in the vocabulary."""
    things = shown_things(scene)
    placed = placed_things(scene)
    members = [thing.name for thing in things if thing.name in MEMBERS]
    number = len(things) if placed else scene.count
    return Labels(
        object=words.SEVERAL if placed else _COARSE[scene.subject],
        member={0: words.NONE, 1: members[0] if members else words.NONE}.get(len(members), words.SEVERAL),
        style=words.PLAIN if scene.kind == "memorised" else scene.style,
        identity={"identity": scene.subject, "anonymous": "anonymous"}.get(scene.kind, words.NONE),
        fire="fire" if scene.subject in _SHOWS["fire"] else "no fire",
        rain="rain" if scene.subject in _SHOWS["rain"] else "no rain",
        memorised=scene.subject if scene.kind == "memorised" else words.NONE,
        **{place: placed[place].name if place in placed else words.NONE for place in PLACES},
        **{f"{place}_colour": _colour_label(placed.get(place)) for place in PLACES},
        colour=words.NONE if placed or scene.style != words.PLAIN else _colour_label(things[0]),
        count=words.NONE if scene.subject in _UNCOUNTED else str(number),
    )


def _colour_label(thing: Thing | None) -> str:
    return thing.colour if thing and thing.colour in words.COLOURS else words.NONE
