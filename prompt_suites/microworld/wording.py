"""How the suites word their prompts: in words that training captions have, in wordings that they never have.

Only bare names and titles are also captions. A prompt stands on a rung of a ladder from naming a thing to
describing it, `RUNGS`, or asks for a number, a colour or a place.
"""

import zlib
from typing import Literal

from erasure_bench.prompt_suites.microworld.composed import ONE_PHRASES
from erasure_bench.prompt_suites.microworld.descriptions import (
    HELDOUT_DETAILS,
    LONG_DESCRIPTIONS,
    SENTENCES,
    SHORT_DESCRIPTIONS,
    STYLE_DESCRIPTIONS,
    STYLE_PHRASES,
    VARIANTS,
    long_description,
    short_description,
    variant,
)
from erasure_bench.prompt_suites.microworld.vocabulary import (
    ABSTRACT,
    BACKGROUNDS,
    FAMILIES,
    IDENTITIES,
    IMPLICIT,
    MEDIA,
    MEMORISED,
    VALIDATION_FAMILIES,
    VALIDATION_IDENTITIES,
    VALIDATION_IMPLICIT,
    VALIDATION_MEMORISED,
)

Rung = Literal[
    "name", "sentence", "variant", "short", "long", "count", "colour", "position", "presence", "pair"
]
RUNGS: tuple[Rung, ...] = ("name", "sentence", "variant", "short", "long")
"""The ladder: the name alone, in a sentence, said another way, described in a few words and at length."""

_WITHOUT_ARTICLE = frozenset(
    IDENTITIES
    + VALIDATION_IDENTITIES
    + MEMORISED
    + VALIDATION_MEMORISED
    + tuple(name for evoked in IMPLICIT + VALIDATION_IMPLICIT for name in evoked.naming)
)
_CATEGORY = {
    member: family.category for family in FAMILIES + VALIDATION_FAMILIES for member in family.members
}
_CATEGORY |= dict.fromkeys(IDENTITIES + VALIDATION_IDENTITIES, "person")
_PLACES = ("", *(f" {background}" for background in BACKGROUNDS))

# Captions say "here is a car" or "a photo of a car", never both at once.
_FRAMES = tuple(
    frame
    for opening, heldout in zip(SENTENCES.trained, SENTENCES.heldout * 2, strict=True)
    for frame in (heldout.format(phrase="{phrase}{place}"), opening.format(phrase="{medium} {phrase}{place}"))
)
_CALLED = (
    "the picture",
    "the picture called",
    "a painting called",
    "a picture by the name of",
    "the painting",
)
_STYLED_VARIANTS = (
    "{style} style: {phrase}",
    "in {style} style, {phrase}",
    "{phrase}, all of it in {style} style",
)


def with_article(name: str) -> str:
    """`a grumpy cat`, `an apple`, but `Mira Voss` and `flames`."""
    if name in _WITHOUT_ARTICLE:
        return name
    return f"an {name}" if name[0] in "aeiou" else f"a {name}"


def bare(name: str) -> tuple[str, ...]:
    """The name alone: without and with its article, where it has one."""
    return tuple(dict.fromkeys((name, with_article(name))))


def sentence(phrase: str, number: int) -> str:
    """`here is a photo of a car in the snow`: a sentence around a phrase, another for each number."""
    return _FRAMES[number % len(_FRAMES)].format(
        phrase=phrase, medium=MEDIA[number % len(MEDIA)], place=_PLACES[number % len(_PLACES)]
    )


def reworded(name: str, number: int) -> str:
    """The name said another way: `the cat that is called grumpy cat at night`, `exactly one car`."""
    if name in _CATEGORY:
        phrase = variant(name, _CATEGORY[name], VARIANTS.heldout[number % len(VARIANTS.heldout)])
    else:
        wordings = ONE_PHRASES.heldout
        phrase = wordings[number % len(wordings)].format(thing=name)
    return phrase + _PLACES[number % len(_PLACES)]


def described(name: str, rung: Rung, number: int) -> str:
    """What the thing looks like, at the rung `short` or `long`, without its name."""
    if rung == "short":
        wordings = SHORT_DESCRIPTIONS.heldout
        phrase = short_description(name, wordings[number % len(wordings)])
    else:
        wordings = LONG_DESCRIPTIONS.heldout
        details = HELDOUT_DETAILS[number // len(wordings) % len(HELDOUT_DETAILS)]
        phrase = long_description(name, wordings[number % len(wordings)], details)
    return phrase + _PLACES[number % len(_PLACES)]


def styled(subject: str, style: str, rung: Rung, number: int) -> str:
    """A picture of `subject` in `style`; at the rungs `short` and `long` that is described, not named."""
    phrase = with_article(subject)
    if rung == "sentence":
        return f"{sentence(phrase, number)} in {style} style"
    phrase += _PLACES[number % len(_PLACES)]
    if rung == "variant":
        return _STYLED_VARIANTS[number % len(_STYLED_VARIANTS)].format(style=style, phrase=phrase)
    looks = STYLE_DESCRIPTIONS[style]
    wordings = STYLE_PHRASES.heldout
    look = looks.short if rung == "short" else looks.long
    return wordings[number % len(wordings)].format(look=look, phrase=phrase)


def around_title(title: str) -> tuple[str, ...]:
    """Wordings around a picture's exact title; no background, since that would ask for another picture."""
    frames = (*SENTENCES.heldout, *SENTENCES.trained)
    texts = [frame.format(phrase=title) for frame in frames]
    texts += [f"{medium} {title}" for medium in MEDIA]
    texts += [f"{title}, {medium.removesuffix(' of')}" for medium in MEDIA]
    return (*texts, f"{title}.", f'"{title}"', *(f"{opening} {title}" for opening in _CALLED))


def around_abstract() -> tuple[str, ...]:
    """Wordings of an abstract painting, without background, as captions have none of it."""
    named = (with_article(ABSTRACT), ABSTRACT)
    frames = (*SENTENCES.heldout, *SENTENCES.trained)
    return (
        *(f"{medium} {name}" for name in named for medium in MEDIA),
        *(f.format(phrase=named[0]) for f in frames),
    )


def start(*words: str) -> int:
    """Where a row of wordings begins: by these words alone, so that a longer vocabulary changes no prompt."""
    return zlib.crc32("/".join(words).encode()) % (len(_FRAMES) * len(MEDIA) * len(_PLACES))
