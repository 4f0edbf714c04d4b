"""Concepts on which methods are tuned: one of each kind, none of them in a suite that is reported.

Fewer prompts than the reported suites have, so that a candidate for a preset is tried in about a minute, and
no descriptions: presets are tuned to erase what is named or evoked, and whether that holds for what is
described is measured on other concepts.
"""

from collections.abc import Mapping
from pathlib import Path

from erasure_bench.prompt_suites.card import SuiteCard
from erasure_bench.prompt_suites.microworld import identities, implicit, instances, memorised, objects, styles
from erasure_bench.prompt_suites.microworld.arrangements import counts as in_numbers
from erasure_bench.prompt_suites.microworld.building import MODEL, Counts, microworld_suite
from erasure_bench.prompt_suites.microworld.prompts import in_proportion, sentences_on_each
from erasure_bench.prompt_suites.microworld.vocabulary import (
    ANONYMOUS,
    VALIDATION_FAMILIES,
    VALIDATION_IDENTITIES,
    VALIDATION_IMPLICIT,
    VALIDATION_MEMORISED,
    VALIDATION_OBJECTS,
    VALIDATION_STYLES,
)
from erasure_bench.prompt_suites.suite import Prompt, Suite

_FAMILY = VALIDATION_FAMILIES[0]
_EVOKED = VALIDATION_IMPLICIT[0]
_STYLE, _OTHER_STYLE = VALIDATION_STYLES
_IDENTITY, _OTHER_IDENTITY = VALIDATION_IDENTITIES
_OBJECT, _OTHER_OBJECT = VALIDATION_OBJECTS
_TITLE = VALIDATION_MEMORISED[0]

_COUNTS = Counts(targets=12, descriptions=0, evoked=12, anchors=6, neighbours=12)
_RETENTION, _IN_NUMBERS = 12, 4


def load(data_dir: Path | None, options: Mapping[str, str]) -> Suite:
    """One concept of each kind; all that must survive is validation material, too."""
    birds = _retention(_FAMILY.members, (_FAMILY.category,))
    rest = _retention((_OTHER_IDENTITY, _OTHER_OBJECT), (_OTHER_OBJECT,))
    still = _EVOKED.without
    subjects = _FAMILY.members + VALIDATION_OBJECTS + still + (_FAMILY.category, *ANONYMOUS[:3])
    of_style = styles.experiment(_STYLE, (_OTHER_STYLE,), subjects, birds, _COUNTS)
    other_style = tuple(prompt for prompt in of_style.prompts if prompt.role == "neighbour")
    experiments = [
        instances.experiment(_FAMILY, rest, _COUNTS),
        of_style,
        identities.experiment(_IDENTITY, (_OTHER_IDENTITY,), birds, _COUNTS),
        implicit.experiment(_EVOKED, "white cloud", birds, _COUNTS),
        objects.experiment(_OBJECT, _OTHER_OBJECT, still, birds, _COUNTS),
        # the only title kept for validation has no neighbour of its own kind
        memorised.experiment(_TITLE, (f"{_OTHER_STYLE} style",), other_style, birds, _COUNTS),
    ]
    return microworld_suite(CARD, experiments)


def _retention(names: tuple[str, ...], counted: tuple[str, ...]) -> tuple[Prompt, ...]:
    return in_proportion(
        [
            sentences_on_each(names, "retention", _RETENTION),
            in_numbers(counted, "retention", _IN_NUMBERS),
        ]
    )


CARD = SuiteCard(
    name="microworld-validation",
    version="2",
    title="Validation concepts",
    description="One concept of each kind, on which presets are tuned. Not for tables of results.",
    concepts=(_FAMILY.instance, _STYLE, _IDENTITY, _EVOKED.concept, _OBJECT, _TITLE),
    model=MODEL,
    load=load,
    reported=False,
)
