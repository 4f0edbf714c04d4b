"""Prompts of all kinds that the built-in model can draw: every name of its vocabulary, at least four times.

Methods replay pictures of these and measure on them which weights matter. The wordings are chosen
so that no suite evaluates one of them, except a memorised picture's exact title, which is the only
wording that the model has learnt for it.
"""

import zlib
from collections.abc import Iterator

from erasure_bench.prompt_suites.microworld.composed import coloured, counted, related
from erasure_bench.prompt_suites.microworld.vocabulary import (
    ABSTRACT,
    ANONYMOUS,
    BACKGROUNDS,
    COLOURABLE,
    COLOURS,
    FAMILIES,
    IDENTITIES,
    IMPLICIT,
    MEDIA,
    MEMORISED,
    NUMBERS,
    OBJECTS,
    PLURALS,
    RELATIONS,
    STYLES,
    VALIDATION_FAMILIES,
    VALIDATION_IDENTITIES,
    VALIDATION_IMPLICIT,
    VALIDATION_MEMORISED,
    VALIDATION_OBJECTS,
    VALIDATION_STYLES,
    all_members,
    placeable,
)
from erasure_bench.prompt_suites.microworld.wording import with_article

_THINGS = (
    *all_members(),
    *OBJECTS,
    *VALIDATION_OBJECTS,
    *(family.category for family in FAMILIES + VALIDATION_FAMILIES),
    *ANONYMOUS,
    *IDENTITIES,
    *VALIDATION_IDENTITIES,
)
_EVOKED = tuple(
    name
    for evoked in IMPLICIT + VALIDATION_IMPLICIT
    for name in (*evoked.naming, *evoked.evoking, *evoked.without)
)
_ROUNDS = 4
_STYLED_IN_A_ROUND = 2
_ARRANGED_IN_A_ROUND = 5
_PLACED = placeable()


def general_prompts() -> tuple[str, ...]:
    """Four rounds through the vocabulary, each mixed: the first n prompts are a mixture of all, too."""
    rounds = (
        [
            *(_wordings(name)[number] for name in (*_THINGS, *_EVOKED)),
            *_styled(number),
            *MEMORISED,
            *VALIDATION_MEMORISED,
            *_arranged(number),
            f"{ABSTRACT} in {STYLES[number]} style",
        ]
        for number in range(_ROUNDS)
    )
    return tuple(prompt for prompts in rounds for prompt in _mixed(prompts))


def _wordings(name: str) -> tuple[str, ...]:
    """One wording for each round: three with a background, the fourth with a medium alone."""
    start = zlib.crc32(name.encode())
    texts = []
    for number in range(start, start + _ROUNDS - 1):
        opening = f"{MEDIA[number % len(MEDIA)]} " if number % 3 == 2 else ""
        texts.append(f"{opening}{with_article(name)} {BACKGROUNDS[number % len(BACKGROUNDS)]}")
    return (*texts, f"{MEDIA[start % len(MEDIA)]} {with_article(name)}")


def _styled(number: int) -> Iterator[str]:
    """The round's pictures in a style: other things every time, in wordings that no suite uses."""
    for place, style in enumerate(STYLES + VALIDATION_STYLES):
        for again in range(_STYLED_IN_A_ROUND):
            turn = (number * _STYLED_IN_A_ROUND + again) * len(STYLES + VALIDATION_STYLES) + place
            thing = with_article(_THINGS[turn % len(_THINGS)])
            background = BACKGROUNDS[turn % len(BACKGROUNDS)]
            if again:
                yield f"{thing} {background}, {style} style"
            else:
                yield f"{MEDIA[turn % len(MEDIA)]} {thing} in {style} style {background}"


def _arranged(number: int) -> Iterator[str]:
    """The round's things in colours, in numbers and in pairs, as captions word them."""
    things = tuple(PLURALS)
    for place in range(_ARRANGED_IN_A_ROUND):
        turn = number * _ARRANGED_IN_A_ROUND + place
        colour = COLOURS[turn % len(COLOURS)]
        yield coloured(COLOURABLE[turn % len(COLOURABLE)], colour)
        yield counted(things[turn % len(things)], 1 + turn % len(NUMBERS))
        first, second = (
            with_article(_PLACED[(turn + shift) % len(_PLACED)]) for shift in (0, len(_PLACED) // 2)
        )
        yield related(RELATIONS[turn % len(RELATIONS)], first, second)


def _mixed(prompts: list[str]) -> list[str]:
    """The same prompts in an order that has nothing to do with what they show."""
    return sorted(prompts, key=lambda prompt: zlib.crc32(prompt.encode()))
