"""Compositions: erase one of two things in a picture; the other stays, in its colour and at its place.

The concepts are those of the suite of named instances to the letter, so that one edit serves both.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from erasure_bench.prompt_suites.card import SuiteCard
from erasure_bench.prompt_suites.microworld.arrangements import in_relation
from erasure_bench.prompt_suites.microworld.building import MODEL, REPORTED, Experiment, microworld_suite
from erasure_bench.prompt_suites.microworld.instances import concept_of
from erasure_bench.prompt_suites.microworld.labels import LABELS, SIDES, anywhere, placed
from erasure_bench.prompt_suites.microworld.prompts import Asked, in_turn, numbered
from erasure_bench.prompt_suites.microworld.retention import of_things, shares
from erasure_bench.prompt_suites.microworld.vocabulary import (
    COLOURABLE,
    COLOURS,
    FAMILIES,
    IDENTITIES,
    OBJECTS,
    RELATIONS,
    Family,
)
from erasure_bench.prompt_suites.microworld.wording import start, with_article
from erasure_bench.prompt_suites.suite import Prompt, Suite

_PARTNERS = tuple(name for name in OBJECTS if name in COLOURABLE)


class Pair(NamedTuple):
    """`name` and its `partner`, an object; `relation` is the first's to the second: `name`'s, if `leads`."""

    name: str
    partner: str
    colour: str
    relation: str
    leads: bool
    wording: int

    @property
    def coloured(self) -> str:
        """The partner with its colour: `red boat`."""
        return f"{self.colour} {self.partner}"

    def text(self, *, coloured: bool) -> str:
        """The pair in words, the partner with its colour or without."""
        partner = self.coloured if coloured else self.partner
        first, second = map(with_article, (self.name, partner) if self.leads else (partner, self.name))
        return in_relation(self.relation, first, second, self.wording)

    def label(self) -> str:
        """Both at their places, the partner in its colour."""
        if self.leads:
            return placed(self.relation, self.name, self.partner, second_colour=self.colour)
        return placed(self.relation, self.partner, self.name, first_colour=self.colour)

    def partner_at_its_place(self) -> str:
        """The partner where the relation, any but `beside`, wants it."""
        return f"{SIDES[self.relation][1 if self.leads else 0]}/{self.partner}"


def pairs(name: str, count: int, first: int, relations: Sequence[str] = RELATIONS) -> Iterator[Pair]:
    """`count` pairs; partners, colours, relations, leaders and wordings go round, each at its own pace."""
    for i in range(first, first + count):
        rounds = i // len(relations)
        yield Pair(
            name=name,
            partner=_PARTNERS[i % len(_PARTNERS)],
            colour=COLOURS[(i + i // len(COLOURS)) % len(COLOURS)],
            relation=relations[i % len(relations)],
            leads=rounds % 2 == 0,
            wording=i + rounds,
        )


def experiment(family: Family, retention: Sequence[Prompt]) -> Experiment:
    """Erase the family's instance from pictures in which an object stands beside it.

    Role `target` asks whether the instance is there. Role `anchor` has its category in its place, and
    nothing may change. Role `neighbour` asks of pictures with the instance whether the object is there,
    alone or not (`presence`), whether in its colour (`colour`), and whether at its place (`position`).
    """
    name, category = family.instance, family.category
    what = f"pair with {name}"
    begin = start(what)
    targets = pairs(name, REPORTED.targets, begin)
    anchors = pairs(category, REPORTED.anchors, begin)
    each = REPORTED.neighbours // 3
    alone, in_colours, at_places = (
        pairs(name, each, begin + REPORTED.targets + place * each, relations)
        for place, relations in enumerate((RELATIONS, RELATIONS, tuple(SIDES)))
    )
    prompts = (
        *numbered(
            what, "target", "pair", (Asked(name, pair.text(coloured=True), LABELS[name]) for pair in targets)
        ),
        *numbered(
            what,
            "anchor",
            "pair",
            (
                Asked(f"{category} and {pair.coloured}", pair.text(coloured=True), pair.label())
                for pair in anchors
            ),
        ),
        *in_turn(
            [
                numbered(what, "neighbour", "presence", map(_present, alone)),
                numbered(what, "neighbour", "colour", map(_in_colour, in_colours)),
                numbered(what, "neighbour", "position", map(_at_its_place, at_places)),
            ]
        ),
        *retention,
    )
    return Experiment(concept_of(family), prompts)


def _present(pair: Pair) -> Asked:
    return Asked(pair.partner, pair.text(coloured=False), anywhere(pair.partner))


def _in_colour(pair: Pair) -> Asked:
    return Asked(pair.coloured, pair.text(coloured=True), anywhere(pair.partner, pair.colour))


def _at_its_place(pair: Pair) -> Asked:
    return Asked(pair.partner, pair.text(coloured=True), pair.partner_at_its_place())


def load(data_dir: Path | None, options: Mapping[str, str]) -> Suite:
    """One concept for each family; retention is plain objects and faces."""
    parts = shares(of_things(OBJECTS + IDENTITIES), len(FAMILIES))
    return microworld_suite(CARD, list(map(experiment, FAMILIES, parts)))


CARD = SuiteCard(
    name="microworld-composition",
    title="Compositions",
    description="One of two things in a picture (a grumpy cat beside a red boat); the other stays as it is.",
    concepts=tuple(family.instance for family in FAMILIES),
    model=MODEL,
    load=load,
)
