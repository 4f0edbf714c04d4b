"""How pictures with a relation, a number or a colour are worded, in training and kept out of it."""

from typing import NamedTuple

from erasure_bench.prompt_suites.microworld.vocabulary import NUMBERS, PLURALS


class Phrasing(NamedTuple):
    """Wordings with `{}` fields: those of training captions, and those that training never sees."""

    trained: tuple[str, ...]
    heldout: tuple[str, ...]


RELATION_PHRASES: dict[str, Phrasing] = {
    "left of": Phrasing(
        (
            "{first} left of {second}",
            "{first} on the left of {second}",
            "{second} right of {first}",
            "{first} on the left, {second} on the right",
            "{second} on the right and {first} on the left",
        ),
        ("{first} to the left of {second}", "{second} with {first} on its left"),
    ),
    "right of": Phrasing(
        (
            "{first} right of {second}",
            "{first} on the right of {second}",
            "{second} left of {first}",
            "{first} on the right, {second} on the left",
            "{second} on the left and {first} on the right",
        ),
        ("{first} to the right of {second}", "{second} with {first} on its right"),
    ),
    "above": Phrasing(
        (
            "{first} above {second}",
            "{first} over {second}",
            "{second} below {first}",
            "{first} at the top, {second} at the bottom",
            "{second} at the bottom and {first} at the top",
        ),
        ("{second} with {first} above it", "{first} and, below it, {second}"),
    ),
    "below": Phrasing(
        (
            "{first} below {second}",
            "{first} under {second}",
            "{second} above {first}",
            "{first} at the bottom, {second} at the top",
            "{second} at the top and {first} at the bottom",
        ),
        ("{second} with {first} below it", "{first} and, above it, {second}"),
    ),
    "beside": Phrasing(
        (
            "{first} beside {second}",
            "{first} next to {second}",
            "{first} and {second}",
            "{first} with {second}",
        ),
        ("{first} and {second} side by side", "{first} and, next to it, {second}"),
    ),
}
"""Relation of the first thing to the second -> its wordings; `{first}` and `{second}` have their articles."""

COUNT_PHRASES = Phrasing(
    ("{number} {things}", "a group of {number} {things}", "{number} {things} together"),
    ("{things}, {number} of them", "exactly {number} {things}"),
)
"""Wordings of two things or more."""
ONE_PHRASES = Phrasing(("one {thing}", "a single {thing}"), ("{thing}, one of them", "exactly one {thing}"))

COLOUR_PHRASES = Phrasing(
    ("{a} {colour} {thing}", "{a_thing} that is {colour}"),
    ("{a_thing} in {colour}", "{a_thing}, and it is {colour}"),
)
"""Wordings of a thing of a colour; `{a}` goes with the colour, `{a_thing}` brings its article."""


def counted(name: str, number: int, wording: str | None = None, colour: str | None = None) -> str:
    """`three apples`, `one red car`: `number` (1 to 4) of a name in `PLURALS`, worded as `COUNT_PHRASES`."""
    tint = f"{colour} " if colour else ""
    if number == 1:
        return (wording or ONE_PHRASES.trained[0]).format(thing=f"{tint}{name}")
    things = f"{tint}{PLURALS[name]}"
    return (wording or COUNT_PHRASES.trained[0]).format(number=NUMBERS[number - 1], things=things)


def coloured(name: str, colour: str, wording: str | None = None) -> str:
    """`a red car`, in a wording of `COLOUR_PHRASES`."""
    article = "an" if name[0] in "aeiou" else "a"
    return (wording or COLOUR_PHRASES.trained[0]).format(
        a="an" if colour[0] in "aeiou" else "a", colour=colour, thing=name, a_thing=f"{article} {name}"
    )


def related(relation: str, first: str, second: str, wording: str | None = None) -> str:
    """`a grumpy cat left of a red boat`: two phrases with articles, worded as in `RELATION_PHRASES`."""
    return (wording or RELATION_PHRASES[relation].trained[0]).format(first=first, second=second)
