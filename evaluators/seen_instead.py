"""Whether a classifier sees anything it knows in a picture, or nothing at all.

A head answers *what* is drawn if it is the classifier's first one, or if it can also say that its things are
not there (`none`, or `no fire` in the head `fire`). Heads of manner, such as a style, do not count: noise may
well look like a mosaic.
"""

from collections.abc import Mapping

from erasure_bench.evaluators.labelled_classifier import Probabilities

NOTHING = "nothing"
"""The label of pictures that show nothing: noise, one colour, what is destroyed."""
NONE = "none"
SURE = 0.5
"""The least probability of a label that counts as seen."""


def content_places(heads: Mapping[str, tuple[str, ...]]) -> dict[str, tuple[int, ...]]:
    """Of each head that answers what is drawn, the indices of the labels that name a thing."""
    first = next(iter(heads))
    found = {}
    for head, labels in heads.items():
        things = tuple(place for place, label in enumerate(labels) if label not in _absences(head))
        if head == first or any(label in (NONE, f"no {head}") for label in labels):
            found[head] = things
    return {head: things for head, things in found.items() if things}


def sees_known(places: Mapping[str, tuple[int, ...]], seen: Mapping[str, Probabilities]) -> bool:
    """Whether some head gives a thing that it knows a probability of at least one half.

    `places` are those of `content_places`, `seen` has one distribution [labels] for each head.
    """
    return any(bool((seen[head][list(things)] >= SURE).any()) for head, things in places.items())


def sees_nothing(heads: Mapping[str, tuple[str, ...]], seen: Mapping[str, Probabilities]) -> bool:
    """Whether the first head that has the label `nothing` gives it a probability of at least one half."""
    head = next(head for head, labels in heads.items() if NOTHING in labels)
    return bool(seen[head][heads[head].index(NOTHING)] >= SURE)


def _absences(head: str) -> tuple[str, ...]:
    return NOTHING, NONE, f"no {head}"
