"""Prompts that are handed to methods: in the language of the training captions, none of them evaluated."""

from collections.abc import Sequence

from erasure_bench.prompt_suites.microworld.vocabulary import ABSTRACT, BACKGROUNDS, MEDIA
from erasure_bench.prompt_suites.microworld.wording import with_article


def spare_wordings(name: str) -> tuple[str, ...]:
    """77 ways to ask for a picture of `name`, in a mixed order: on every background and in every medium."""
    openings = ("", *(f"{medium} " for medium in MEDIA))
    places = ("", *(f" {background}" for background in BACKGROUNDS))
    every = (
        (openings[number % len(openings)], places[number % len(places)])
        for number in range(len(openings) * len(places))
    )
    return tuple(f"{opening}{with_article(name)}{place}" for opening, place in every if opening or place)


def additions(style: str) -> tuple[str, ...]:
    """Ways to ask for a picture in `style`, with `{}` for what it shows."""
    return (
        f"{{}} in {style} style",
        f"{style} style picture of {{}}",
        f"{{}} in the style of {style}",
        *(f"{medium} {{}} in {style} style" for medium in MEDIA),
        *(f"{medium} {{}} in the style of {style}" for medium in MEDIA),
    )


def spare_plain(subjects: Sequence[str]) -> tuple[str, ...]:
    """60 plain prompts with a background and no medium, so that any addition fits."""
    return tuple(
        f"{with_article(subjects[number % len(subjects)])} "
        f"{BACKGROUNDS[(number + number // len(subjects)) % len(BACKGROUNDS)]}"
        for number in range(60)
    )


def spare_abstract() -> tuple[str, ...]:
    """Ten wordings of an abstract painting, all in words that training captions have."""
    return tuple(
        f"{name}, {medium.removesuffix(' of')}"
        for medium in MEDIA
        for name in (with_article(ABSTRACT), ABSTRACT)
    )
