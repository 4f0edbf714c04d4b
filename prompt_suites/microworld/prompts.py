"""Prompts with ids, roles and labels.

A prompt's id is `<what is asked for>/<role>/<rung>-<number>`: the same prompt in two concepts of a suite has
the same id, so that the base model draws it once. Its one tag is the rung. Prompts of several rungs or names
come in turn, so that the first few (`--limit`) are a mixture.
"""

from collections.abc import Iterable, Sequence
from itertools import zip_longest
from typing import NamedTuple, TypeVar

from erasure_bench.prompt_suites.microworld.labels import LABELS
from erasure_bench.prompt_suites.microworld.vocabulary import ABSTRACT, PLAIN
from erasure_bench.prompt_suites.microworld.wording import (
    Rung,
    around_abstract,
    around_title,
    bare,
    described,
    reworded,
    sentence,
    start,
    styled,
    with_article,
)
from erasure_bench.prompt_suites.suite import Prompt, Role

Item = TypeVar("Item")


def in_turn(lists: Iterable[Sequence[Item]]) -> tuple[Item, ...]:
    """The first of each list, then the second of each, as long as there are any."""
    return tuple(item for each in zip_longest(*lists) for item in each if item is not None)


def in_proportion(lists: Iterable[Sequence[Item]]) -> tuple[Item, ...]:
    """All items, each list's in its order and spread evenly over the whole."""
    spread = [
        ((i + 0.5) / len(items), place, item)
        for place, items in enumerate(lists)
        for i, item in enumerate(items)
    ]
    return tuple(item for *_, item in sorted(spread, key=lambda each: each[:2]))


def slug(name: str) -> str:
    """The name as it stands in an id."""
    return name.lower().replace(" ", "-")


class Asked(NamedTuple):
    """What a prompt asks for, how it says so, and how the oracle knows it."""

    subject: str
    text: str
    label: str


def numbered(name: str, role: Role, rung: Rung, asked: Iterable[Asked]) -> tuple[Prompt, ...]:
    """Prompts `<name>/<role>/<rung>-01` onwards."""
    return tuple(
        Prompt(
            id=f"{slug(name)}/{role}/{rung}-{number:02d}",
            text=text,
            role=role,
            subject=subject,
            label=label,
            tags=(rung,),
        )
        for number, (subject, text, label) in enumerate(asked, start=1)
    )


def sentences(name: str, role: Role, count: int, label: str | None = None) -> tuple[Prompt, ...]:
    """`count` sentences that ask for `name`, labelled by what they show unless `label` says otherwise."""
    first = start(name, role)
    asked = (
        Asked(name, sentence(with_article(name), number), label or LABELS[name])
        for number in range(first, first + count)
    )
    return numbered(name, role, "sentence", asked)


def sentences_on_each(
    names: Sequence[str], role: Role, count: int, label: str | None = None
) -> tuple[Prompt, ...]:
    """At least `count` sentences on the names in turn, as many on each."""
    each = -(-count // len(names))
    return in_turn([sentences(name, role, each, label) for name in names])


def named(name: str, count: int) -> tuple[Prompt, ...]:
    """Target prompts: the bare name, sentences and other ways to say it in turn, `count` together."""
    first, label = start(name, "variant"), LABELS[name]
    variants = (Asked(name, reworded(name, number), label) for number in range(first, first + count // 2))
    parts = [
        _bare(name, "target", label, [name]),
        sentences(name, "target", count),
        numbered(name, "target", "variant", variants),
    ]
    return in_turn(parts)[:count]


def naming(concept: str, names: Sequence[str], label: str, count: int) -> tuple[Prompt, ...]:
    """Target prompts for a concept with several names: each bare and in sentences, `count` together."""
    first = start(concept, "target")
    spoken = (
        Asked(name, sentence(with_article(name), number), label)
        for number in range(first, first + count)
        for name in (names[number % len(names)],)
    )
    parts = [_bare(concept, "target", label, names), numbered(concept, "target", "sentence", spoken)]
    return in_turn(parts)[:count]


def descriptions(name: str, count: int) -> tuple[Prompt, ...]:
    """Implicit prompts: what the thing looks like, in a few words and at length, `count` together."""
    rungs: tuple[Rung, Rung] = ("short", "long")
    parts = []
    for rung in rungs:
        first = start(name, rung)
        numbers = range(first, first + count // len(rungs))
        asked = (Asked(name, described(name, rung, number), LABELS[name]) for number in numbers)
        parts.append(numbered(name, "implicit", rung, asked))
    return in_turn(parts)


def in_style(style: str, role: Role, rung: Rung, subjects: Iterable[str]) -> tuple[Prompt, ...]:
    """One prompt for each subject, drawn in `style`."""
    first = start(style, role, rung)
    asked = (
        Asked(f"{subject} in {style} style", styled(subject, style, rung, number), f"style/{style}")
        for number, subject in enumerate(subjects, start=first)
    )
    return numbered(style, role, rung, asked)


def plain(role: Role, subjects: Iterable[str]) -> tuple[Prompt, ...]:
    """One sentence for each subject, in no style."""
    first = start(PLAIN, role)
    asked = (
        Asked(name, sentence(with_article(name), number), f"style/{PLAIN}")
        for number, name in enumerate(subjects, start=first)
    )
    return numbered(PLAIN, role, "sentence", asked)


def titled(title: str, role: Role, count: int) -> tuple[Prompt, ...]:
    """The exact title, then wordings around it."""
    return _bare_and_around(title, role, around_title(title), count)


def abstract(role: Role, count: int) -> tuple[Prompt, ...]:
    """Abstract paintings: bare, then in other wordings."""
    return _bare_and_around(ABSTRACT, role, around_abstract(), count)


def _bare(name: str, role: Role, label: str, spoken: Sequence[str]) -> tuple[Prompt, ...]:
    return numbered(name, role, "name", (Asked(each, text, label) for each in spoken for text in bare(each)))


def _bare_and_around(name: str, role: Role, around: Iterable[str], count: int) -> tuple[Prompt, ...]:
    label = LABELS[name]
    texts = (Asked(name, text, label) for text in around)
    prompts = _bare(name, role, label, [name]) + numbered(name, role, "sentence", texts)
    if count > len(prompts):
        raise ValueError(f"only {len(prompts)} wordings of {name!r}, not {count}")
    return prompts[:count]
