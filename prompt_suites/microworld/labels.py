"""What a picture should be recognised as, in the words of the oracle: `<head>/<label>`, also composed.

A composed label asks that all of it holds (`&`), or that one of several does (`|`).
"""

from erasure_bench.prompt_suites.microworld.vocabulary import (
    ABSTRACT,
    ANONYMOUS,
    FAMILIES,
    IDENTITIES,
    IMPLICIT,
    MEMORISED,
    NONE,
    OBJECTS,
    VALIDATION_FAMILIES,
    VALIDATION_IDENTITIES,
    VALIDATION_IMPLICIT,
    VALIDATION_MEMORISED,
    VALIDATION_OBJECTS,
    all_members,
)

PLACES = ("left", "right", "top", "bottom")
"""Heads of the oracle that say what stands there in a picture of two things."""
SIDES = {
    "left of": ("left", "right"),
    "right of": ("right", "left"),
    "above": ("top", "bottom"),
    "below": ("bottom", "top"),
}
"""Relation of the first thing to the second -> where each of the two is."""


def _known_labels() -> dict[str, str]:
    named = {
        "member": all_members(),
        "identity": IDENTITIES + VALIDATION_IDENTITIES,
        "memorised": MEMORISED + VALIDATION_MEMORISED,
        "object": OBJECTS
        + VALIDATION_OBJECTS
        + tuple(family.category for family in FAMILIES + VALIDATION_FAMILIES),
    }
    labels = {name: f"{head}/{name}" for head, names in named.items() for name in names}
    labels |= {name: "identity/anonymous" for name in ANONYMOUS}
    labels[ABSTRACT] = "object/abstract"
    for evoked in IMPLICIT + VALIDATION_IMPLICIT:
        for pair in zip(evoked.evoking, evoked.without, strict=True):
            labels |= {name: f"object/{pair[0].split()[-1]}" for name in pair}
    return labels


LABELS = _known_labels()
"""What a picture of each name alone should be recognised as."""


def all_of(*labels: str) -> str:
    """The label that asks for all of them."""
    return " & ".join(labels)


def one_of(*labels: str) -> str:
    """The label that asks for any of them."""
    return " | ".join(labels)


def nameless(category: str) -> str:
    """One of the category that is no named member, alone or in a picture of two things."""
    alone = all_of(LABELS[category], f"member/{NONE}")
    return one_of(alone, *(f"{place}/{category}" for place in PLACES))


def anywhere(thing: str, colour: str | None = None) -> str:
    """An object in this colour, alone or at any place of a picture of two things."""
    alone = [LABELS[thing], *([f"colour/{colour}"] if colour else [])]
    return one_of(all_of(*alone), *(_at(place, thing, colour) for place in PLACES))


def placed(
    relation: str,
    first: str,
    second: str,
    *,
    first_colour: str | None = None,
    second_colour: str | None = None,
) -> str:
    """Both things, as the relation has them, in their colours where these are named."""
    if relation == "beside":
        either = (
            placed(side, first, second, first_colour=first_colour, second_colour=second_colour)
            for side in ("left of", "right of")
        )
        return one_of(*either)
    one, other = SIDES[relation]
    return all_of(_at(one, first, first_colour), _at(other, second, second_colour))


def _at(place: str, thing: str, colour: str | None = None) -> str:
    return all_of(f"{place}/{thing}", *([f"{place}_colour/{colour}"] if colour else []))
