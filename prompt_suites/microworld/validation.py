"""Concepts on which methods are tuned: one of each kind, none of them in a suite that is reported."""

from collections.abc import Mapping
from pathlib import Path

from erasure_bench.prompt_suites.card import SuiteCard
from erasure_bench.prompt_suites.microworld import identities, implicit, instances, memorised, objects, styles
from erasure_bench.prompt_suites.microworld.building import MODEL, TARGETS, microworld_suite
from erasure_bench.prompt_suites.microworld.vocabulary import (
    ANONYMOUS,
    VALIDATION_FAMILIES,
    VALIDATION_IDENTITIES,
    VALIDATION_IMPLICIT,
    VALIDATION_MEMORISED,
    VALIDATION_OBJECTS,
    VALIDATION_STYLES,
)
from erasure_bench.prompt_suites.microworld.wording import in_style, pictures_of, pictures_of_each
from erasure_bench.prompt_suites.suite import Suite

_FAMILY = VALIDATION_FAMILIES[0]
_EVOKED = VALIDATION_IMPLICIT[0]
_STYLE, _OTHER_STYLE = VALIDATION_STYLES
_IDENTITY, _OTHER_IDENTITY = VALIDATION_IDENTITIES
_OBJECT, _OTHER_OBJECT = VALIDATION_OBJECTS
_TITLE = VALIDATION_MEMORISED[0]


def load(data_dir: Path | None, options: Mapping[str, str]) -> Suite:
    """One concept of each kind; all that must survive is validation material, too."""
    members = _FAMILY.members
    birds = pictures_of_each(members, "retention", 3)
    rest = pictures_of_each((_OTHER_IDENTITY, _OTHER_OBJECT), "retention", 6)
    still = _EVOKED.without
    subjects = members + VALIDATION_OBJECTS + still + (_FAMILY.category, *ANONYMOUS[:3])
    other_style = in_style(_OTHER_STYLE, "neighbour", subjects)
    experiments = [
        instances.experiment(_FAMILY, rest),
        styles.experiment(_STYLE, (_OTHER_STYLE,), subjects, other_style, birds),
        identities.experiment(
            _IDENTITY, (_OTHER_IDENTITY,), pictures_of(_OTHER_IDENTITY, "neighbour", TARGETS), birds
        ),
        implicit.experiment(_EVOKED, "white cloud", birds),
        objects.experiment(_OBJECT, _OTHER_OBJECT, still, birds),
        # the only title kept for validation has no neighbour of its own kind
        memorised.experiment(_TITLE, (f"{_OTHER_STYLE} style",), other_style, birds),
    ]
    return microworld_suite(CARD, experiments)


CARD = SuiteCard(
    name="microworld-validation",
    version="1.1",
    title="Validation concepts",
    description="One concept of each kind, on which presets are tuned. Not for tables of results.",
    concepts=(_FAMILY.instance, _STYLE, _IDENTITY, _EVOKED.concept, _OBJECT, _TITLE),
    model=MODEL,
    load=load,
    reported=False,
)
