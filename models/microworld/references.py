"""The true reference of unlearning: the generator trained from nothing without a concept's pictures.

Where a training for each concept takes too long, one can go without several at once, `grumpy cat+mosaic`: to
each of them it is a reference as long as the others are not what is looked at.
"""

import re

import numpy as np
from numpy.typing import NDArray

from erasure_bench.errors import UnknownName
from erasure_bench.models.microworld.dataset import Pictures
from erasure_bench.models.microworld.drawing import HEADS
from erasure_bench.models.microworld.drawing.scenes import (
    CATEGORIES,
    IDENTITIES,
    MEMBERS,
    MEMORISED,
    OBJECTS,
    STYLES,
    coarse,
)
from erasure_bench.prompt_suites.microworld import vocabulary as words

EVOKED = tuple(evoked.concept for evoked in words.IMPLICIT + words.VALIDATION_IMPLICIT)
CONCEPTS = (*MEMBERS, *CATEGORIES, *OBJECTS, *STYLES, *IDENTITIES, *EVOKED, *MEMORISED)
"""What the generator can be trained without."""
TOGETHER = "+"
"""Between concepts that one training goes without, as in `bench run --concepts`."""


def named(concept: str) -> str:
    """The concept as the vocabulary spells it; UnknownName where it knows none of that name."""
    found = [name for name in CONCEPTS if name.casefold() == concept.casefold()]
    if not found:
        raise UnknownName("concept of the built-in world", concept, CONCEPTS, "--without")
    return found[0]


def folder_name(asked: str) -> str:
    """The concepts in small letters, with hyphens for all that is no letter or digit and `+` between them."""
    return "+".join(re.sub(r"[^a-z0-9]+", "-", name.casefold()).strip("-") for name in asked.split(TOGETHER))


def left_out(pictures: Pictures, asked: str) -> NDArray[np.bool_]:
    """The pictures, [n], that show one of the concepts by any label, or whose captions name it.

    A category is shown by its members too, and a caption names a thing in the plural as well. Raises
    UnknownName for a concept that the built-in world has not.
    """
    return np.any([_of_one(pictures, named(concept)) for concept in asked.split(TOGETHER)], axis=0)


def _of_one(pictures: Pictures, concept: str) -> NDArray[np.bool_]:
    gone = np.zeros(len(pictures.pixels), bool)
    for head, classes in pictures.labels.items():
        shown = [i for i, label in enumerate(HEADS[head]) if concept in (label, _category(label))]
        gone |= np.isin(classes, shown)
    word = re.compile(rf"\b{re.escape(concept)}(s|es)?\b", re.IGNORECASE)
    gone |= np.fromiter((any(map(word.search, texts)) for texts in pictures.captions), bool, len(gone))
    return gone


def _category(label: str) -> str | None:
    """What a label's picture shows in general: the category of a member."""
    return coarse(label) if label in MEMBERS else None
