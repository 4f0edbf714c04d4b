"""Prompts that ask for a number of things, for a colour, or for two things at their places.

In held-out wordings, and without a background, on which a colour might not show.
"""

from collections.abc import Sequence

from erasure_bench.prompt_suites.microworld.composed import (
    COLOUR_PHRASES,
    COUNT_PHRASES,
    ONE_PHRASES,
    RELATION_PHRASES,
    coloured,
    counted,
    related,
)
from erasure_bench.prompt_suites.microworld.labels import LABELS, all_of, placed
from erasure_bench.prompt_suites.microworld.prompts import Asked, numbered
from erasure_bench.prompt_suites.microworld.vocabulary import COLOURS, NUMBERS, RELATIONS
from erasure_bench.prompt_suites.microworld.wording import Rung, with_article
from erasure_bench.prompt_suites.suite import Prompt, Role


def counts(names: Sequence[str], role: Role, count: int) -> tuple[Prompt, ...]:
    """`cups, three of them`; the names and the numbers 1 to 4 go round."""
    prompts: list[Prompt] = []
    for i in range(count):
        name, number = names[i % len(names)], 1 + (i % len(names) + i // len(names)) % len(NUMBERS)
        wordings = (ONE_PHRASES if number == 1 else COUNT_PHRASES).heldout
        label = all_of(LABELS[name], f"count/{number}")
        text = counted(name, number, wordings[(i + i // len(NUMBERS)) % len(wordings)])
        prompts += _one(counted(name, number), role, "count", label, text)
    return tuple(prompts)


def colours(names: Sequence[str], role: Role, count: int) -> tuple[Prompt, ...]:
    """`a car, and it is red`; the names and the colours go round."""
    prompts: list[Prompt] = []
    for i in range(count):
        name, colour = names[i % len(names)], COLOURS[(i % len(names) + i // len(names)) % len(COLOURS)]
        wordings = COLOUR_PHRASES.heldout
        label = all_of(LABELS[name], f"colour/{colour}")
        text = coloured(name, colour, wordings[i % len(wordings)])
        prompts += _one(f"{colour} {name}", role, "colour", label, text)
    return tuple(prompts)


def positions(names: Sequence[str], role: Role, count: int) -> tuple[Prompt, ...]:
    """`a boat with a car on its left`; names, each with the next ones, and relations go round."""
    prompts: list[Prompt] = []
    for i in range(count):
        first, second = names[i % len(names)], names[(i + 1 + i // len(names)) % len(names)]
        relation = RELATIONS[i % len(RELATIONS)]
        text = in_relation(relation, with_article(first), with_article(second), i // len(RELATIONS))
        label = placed(relation, first, second)
        prompts += _one(f"{first} {relation} {second}", role, "position", label, text)
    return tuple(prompts)


def in_relation(relation: str, first: str, second: str, number: int) -> str:
    """The two phrases in a held-out wording of the relation; the wordings go round."""
    wordings = RELATION_PHRASES[relation].heldout
    return related(relation, first, second, wordings[number % len(wordings)])


def _one(subject: str, role: Role, rung: Rung, label: str, text: str) -> tuple[Prompt, ...]:
    return numbered(subject, role, rung, [Asked(subject, text, label)])
