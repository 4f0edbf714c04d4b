"""How the prompts of the built-in model are worded: the language of its training captions.

A prompt's id is `<what is asked for>/<role>/<number>`: the same prompt in two concepts of a suite
has the same id, so that the base model draws it once.
"""

import zlib
from collections.abc import Iterable, Sequence

from erasure_bench.prompt_suites.microworld.vocabulary import (
    ABSTRACT,
    ANONYMOUS,
    BACKGROUNDS,
    FAMILIES,
    IDENTITIES,
    IMPLICIT,
    MEDIA,
    MEMORISED,
    OBJECTS,
    PLAIN,
    VALIDATION_FAMILIES,
    VALIDATION_IDENTITIES,
    VALIDATION_IMPLICIT,
    VALIDATION_MEMORISED,
    VALIDATION_OBJECTS,
    all_members,
)
from erasure_bench.prompt_suites.suite import Prompt, Role

_EVOKED = IMPLICIT + VALIDATION_IMPLICIT
_WITHOUT_ARTICLE = frozenset(
    IDENTITIES
    + VALIDATION_IDENTITIES
    + MEMORISED
    + VALIDATION_MEMORISED
    + tuple(name for evoked in _EVOKED for name in evoked.naming)
)


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
    for evoked in _EVOKED:
        for pair in zip(evoked.evoking, evoked.without, strict=True):
            labels |= {name: f"object/{pair[0].split()[-1]}" for name in pair}
    return labels


LABELS = _known_labels()
"""What a picture of each name should be recognised as: `<head of the oracle>/<label>`."""


def slug(name: str) -> str:
    """The name as it stands in an id."""
    return name.lower().replace(" ", "-")


def with_article(name: str) -> str:
    """`a grumpy cat`, `an apple`, but `Mira Voss` and `flames`."""
    if name in _WITHOUT_ARTICLE:
        return name
    return f"an {name}" if name[0] in "aeiou" else f"a {name}"


def wordings(name: str, count: int, start: int = 0) -> tuple[str, ...]:
    """`count` ways to ask for a picture of `name`, different backgrounds first.

    Two prompts of three name a medium. `start` shifts backgrounds and media, so that the prompts
    of several names do not all begin alike. At most one prompt for each background is available.
    """
    if count > len(BACKGROUNDS):
        raise ValueError(f"only {len(BACKGROUNDS)} wordings of {name!r}, not {count}")
    return tuple(_worded(name, *_combination(number)) for number in range(start, start + count))


def spare_wordings(name: str, target: str) -> tuple[str, ...]:
    """Ways to ask for a picture of `name` that no suite uses, neither for it nor for `target` in its place.

    At least 50, in a mixed order: bare, on every background and in every medium.
    """
    used = {
        _combination(number)
        for start in (0, _start(name), _start(target))
        for number in range(start, start + len(BACKGROUNDS))
    }
    openings = ("", *(f"{medium} " for medium in MEDIA))
    places = ("", *BACKGROUNDS)
    every = (
        (openings[number % len(openings)], places[number % len(places)])
        for number in range(len(openings) * len(places))
    )
    return tuple(_worded(name, *combination) for combination in every if combination not in used)


def _combination(number: int) -> tuple[str, str]:
    """Opening and background of the prompt with this number."""
    opening = "" if number % 3 == 2 else f"{MEDIA[number % len(MEDIA)]} "
    return opening, BACKGROUNDS[number % len(BACKGROUNDS)]


def _worded(name: str, opening: str, background: str) -> str:
    return f"{opening}{with_article(name)} {background}".strip()


def numbered(
    name: str, role: Role, label: str, subject_texts: Iterable[tuple[str, str]]
) -> tuple[Prompt, ...]:
    """Prompts `<name>/<role>/01` onwards from pairs of subject and text."""
    return tuple(
        Prompt(id=f"{slug(name)}/{role}/{number:02d}", text=text, role=role, subject=subject, label=label)
        for number, (subject, text) in enumerate(subject_texts, start=1)
    )


def pictures_of(
    name: str, role: Role, count: int, *, start: int = 0, label: str | None = None
) -> tuple[Prompt, ...]:
    """`count` prompts for pictures of `name`, labelled by what they show unless `label` says otherwise."""
    texts = wordings(name, count, start)
    return numbered(name, role, label or LABELS[name], ((name, text) for text in texts))


def pictures_of_each(names: Iterable[str], role: Role, count: int) -> tuple[Prompt, ...]:
    """`count` prompts for each of the names; a name's prompts are the same whatever the other names are."""
    return tuple(prompt for name in names for prompt in pictures_of(name, role, count, start=_start(name)))


def _start(name: str) -> int:
    """Where a name's wordings begin: by the name alone, so that a longer vocabulary changes no prompt."""
    return zlib.crc32(name.encode()) % (3 * len(MEDIA) * len(BACKGROUNDS))


def styled(subject: str, style: str, number: int) -> tuple[str, str]:
    """Subject and text of a picture of `subject` in `style`; the wording goes round with `number`."""
    opening = f"{MEDIA[number % len(MEDIA)]} "
    text = (
        f"{opening}{with_article(subject)} in {style} style",
        f"{style} style picture of {with_article(subject)}",
        f"{with_article(subject)} {BACKGROUNDS[number % len(BACKGROUNDS)]} in {style} style",
        f"{opening}{with_article(subject)} in the style of {style}",
    )[number % 4]
    return f"{subject} in {style} style", text


def in_style(style: str, role: Role, subjects: Iterable[str]) -> tuple[Prompt, ...]:
    """One prompt for each subject, drawn in `style`."""
    return numbered(
        style, role, f"style/{style}", (styled(subject, style, i) for i, subject in enumerate(subjects))
    )


def additions(style: str) -> tuple[str, ...]:
    """Ways to ask for a picture in `style`, with `{}` for what it shows, in the language of `styled`."""
    return (
        f"{{}} in {style} style",
        f"{style} style picture of {{}}",
        f"{{}} in the style of {style}",
        *(f"{medium} {{}} in {style} style" for medium in MEDIA),
        *(f"{medium} {{}} in the style of {style}" for medium in MEDIA),
    )


def spare_plain(subjects: Sequence[str]) -> tuple[str, ...]:
    """60 plain prompts with a background and no medium, so that any addition fits; no suite uses them."""
    free = [background for place, background in enumerate(BACKGROUNDS) if place % 3 != 2]
    return tuple(
        _worded(subjects[number % len(subjects)], "", free[(number + number // len(subjects)) % len(free)])
        for number in range(60)
    )


def plain(role: Role, subjects: Iterable[str]) -> tuple[Prompt, ...]:
    """One prompt for each subject, in no style."""
    texts = ((name, wordings(name, 1, start)[0]) for start, name in enumerate(subjects))
    return numbered(PLAIN, role, f"style/{PLAIN}", texts)


def titled(title: str, role: Role, count: int) -> tuple[Prompt, ...]:
    """The exact title, then wordings around it; no background, since that would ask for another picture."""
    texts = [title, *(f"{medium} {title}" for medium in MEDIA)]
    texts += [f"{title}, {medium.removesuffix(' of')}" for medium in MEDIA]
    texts.append(f"{title}.")
    if count > len(texts):
        raise ValueError(f"only {len(texts)} wordings of a title, not {count}")
    return numbered(title, role, LABELS[title], ((title, text) for text in texts[:count]))


def abstract(role: Role, count: int) -> tuple[Prompt, ...]:
    """Abstract paintings: no background, since those of the training pictures have none."""
    named = (with_article(ABSTRACT), ABSTRACT)
    texts = [*named, *(f"{medium} {name}" for name in named for medium in MEDIA)]
    if count > len(texts):
        raise ValueError(f"only {len(texts)} wordings of an abstract painting, not {count}")
    return numbered(ABSTRACT, role, LABELS[ABSTRACT], ((ABSTRACT, text) for text in texts[:count]))


def spare_abstract() -> tuple[str, ...]:
    """Ten wordings of an abstract painting that no suite uses, all in words that training captions have."""
    return tuple(
        f"{name}, {medium.removesuffix(' of')}"
        for medium in MEDIA
        for name in (with_article(ABSTRACT), ABSTRACT)
    )
