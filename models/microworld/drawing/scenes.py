"""Scenes: what a picture shows, how often training sees it, and the labels that the oracle learns."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from erasure_bench.prompt_suites.microworld import vocabulary as words

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
"""Kind of subject -> its subjects."""

_SHARES = {
    "member": 0.27,
    "category": 0.06,
    "object": 0.18,
    "identity": 0.16,
    "anonymous": 0.07,
    "implicit": 0.11,
    "without": 0.07,
    "memorised": 0.04,
    "abstract": 0.04,
}
STYLED_SHARE = 0.45
SAID_BACKGROUND_SHARE = 0.6

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
_SHOWS = {
    evoked.concept: frozenset(evoked.naming + evoked.evoking)
    for evoked in words.IMPLICIT + words.VALIDATION_IMPLICIT
}


@dataclass(frozen=True)
class Scene:
    """One picture to draw: `kind` is a key of `KINDS`, `background` None if drawn at random and not said."""

    subject: str
    kind: str
    background: str | None
    style: str
    seed: int


class Labels(NamedTuple):
    """The truth about a picture, one label for each head of the oracle."""

    object: str
    member: str
    style: str
    identity: str
    fire: str
    rain: str
    memorised: str


HEADS: dict[str, tuple[str, ...]] = {
    "object": tuple(dict.fromkeys(_COARSE.values())),
    "member": ("none", *MEMBERS),
    "style": (words.PLAIN, *STYLES),
    "identity": ("none", "anonymous", *IDENTITIES),
    "fire": ("no fire", "fire"),
    "rain": ("no rain", "rain"),
    "memorised": ("none", *MEMORISED),
}
"""Head of the oracle -> its labels in fixed order."""


def sample_scene(rng: np.random.Generator) -> Scene:
    """A scene of the training distribution."""
    names = tuple(_SHARES)
    kind = names[int(rng.choice(len(names), p=list(_SHARES.values())))]
    subjects = KINDS[kind]
    subject = subjects[int(rng.integers(len(subjects)))]
    style = words.PLAIN
    if kind != "memorised" and rng.random() < STYLED_SHARE:
        style = STYLES[int(rng.integers(len(STYLES)))]
    background = None
    if kind not in ("memorised", "abstract") and rng.random() < SAID_BACKGROUND_SHARE:
        background = words.BACKGROUNDS[int(rng.integers(len(words.BACKGROUNDS)))]
    return Scene(subject, kind, background, style, int(rng.integers(2**31)))


def labels(scene: Scene) -> Labels:
    """The labels of a scene; raises KeyError for a subject that is not in the vocabulary."""
    return Labels(
        object=_COARSE[scene.subject],
        member=scene.subject if scene.kind == "member" else "none",
        style=words.PLAIN if scene.kind == "memorised" else scene.style,
        identity={"identity": scene.subject, "anonymous": "anonymous"}.get(scene.kind, "none"),
        fire="fire" if scene.subject in _SHOWS["fire"] else "no fire",
        rain="rain" if scene.subject in _SHOWS["rain"] else "no rain",
        memorised=scene.subject if scene.kind == "memorised" else "none",
    )
