"""Misspelt prompts: does an erased concept come back when its name is typed wrong?

Concept Ablation (Kumari et al., ICCV 2023) tried misspelt prompts but published none; this list is our own.
"""

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import NamedTuple

from erasure_bench.prompt_suites.concepts import Concept
from erasure_bench.prompt_suites.suite import Prompt, Suite
from erasure_bench.prompt_suites.transformations.base import Reworded, TransformationCard, Wording
from erasure_bench.prompt_suites.transformations.edits import Edit, Kind, edits, split
from erasure_bench.prompt_suites.transformations.phrases import (
    Named,
    last_names_in,
    last_names_of,
    named_in,
    phrases_of,
    words_in,
    words_of_concepts,
)

VERSION = "2"
LONG, SHORT = 4, 3
"""Words of so many characters are misspelt; where that makes nothing of a phrase, those of one less."""


class Typo(NamedTuple):
    """One misspelling of a phrase: the edit of the same word in its `places`, which makes `word` of it."""

    places: tuple[int, ...]
    edit: Edit
    word: str


@dataclass(frozen=True, kw_only=True)
class Misspelling:
    """One edit of one character in the words that name the concept, and in no other word of the prompt.

    Each prompt gets `each` misspellings, or as many as its words have. A phrase that a prompt has several
    times is misspelt alike everywhere, and so is a word that a phrase has several times where the concept
    would stay named. Where a prompt has none of the phrases, the last name alone of an artist or a person
    counts for the whole one. All misspellings of a phrase stand in one list, in an order that follows from
    the suite, its version and `seed`, the kinds of edits taking turns; the concept's prompts take theirs
    from it one after the other, so that none comes again before all were there. A misspelt prompt has none
    of the concept's phrases any more, and its new word is none of any concept of the suite.
    """

    each: int = 1
    seed: int = 0

    def __post_init__(self) -> None:
        if self.each < 1:
            raise ValueError("each must be at least 1")

    def reworded(self, suite: Suite, concept: Concept, prompts: Sequence[Prompt]) -> list[Reworded]:
        lists = _Lists(self, suite, concept)
        return [self._reworded(prompt.text, lists) for prompt in prompts]

    def _reworded(self, text: str, lists: "_Lists") -> Reworded:
        places = named_in(text, lists.phrases) or last_names_in(text, lists.last_names)
        phrases = list(dict.fromkeys(place.phrase for place in places))
        if not phrases:
            return Reworded(left_out="the concept's phrases are not in it")
        found = [lists.take(phrase, self.each) for phrase in phrases]
        if not all(found):
            return Reworded(
                left_out="the concept's words have no misspelling: too short, known words, or it stays named"
            )
        turns = zip(*found, strict=False)  # as many as the phrase with the fewest has
        wordings = (_misspelt(text, places, dict(zip(phrases, turn, strict=True))) for turn in turns)
        return Reworded(tuple(wordings))


class _Lists:
    """A concept's misspellings: of each phrase a list, of which prompt after prompt takes some."""

    def __init__(self, settings: Misspelling, suite: Suite, concept: Concept) -> None:
        self.phrases = phrases_of(concept)
        self.last_names = last_names_of(concept)
        self._key = (suite.name, suite.version, concept.name, VERSION, settings.seed)
        self._known = words_of_concepts(suite.concepts)
        self._lists: dict[str, list[Typo]] = {}
        self._taken: Counter[str] = Counter()

    def take(self, phrase: str, count: int) -> list[Typo]:
        """The next different misspellings, from the start again where the list is at its end."""
        if phrase not in self._lists:
            self._lists[phrase] = list(self._listed(phrase))
        typos, start = self._lists[phrase], self._taken[phrase]
        count = min(count, len(typos))
        self._taken[phrase] += count
        return [typos[(start + number) % len(typos)] for number in range(count)]

    def _listed(self, phrase: str) -> Iterator[Typo]:
        """All misspellings of a phrase: shuffled, the kinds in turn."""
        one_by_one = [(place,) for place, _ in enumerate(words_in(phrase))]
        every = (
            list(self._every(phrase, one_by_one, LONG))
            or list(self._every(phrase, one_by_one, SHORT))
            or self._every(phrase, _alike(phrase), LONG)
        )
        shuffled = sorted(every, key=lambda typo: self._order(phrase, typo.places[0], typo.word))
        by_kind: dict[Kind, list[Typo]] = {}
        for typo in shuffled:
            by_kind.setdefault(typo.edit.kind, []).append(typo)
        for turn in zip_longest(*by_kind.values()):
            yield from (typo for typo in turn if typo is not None)

    def _every(self, phrase: str, groups: Sequence[tuple[int, ...]], least: int) -> Iterator[Typo]:
        words = [phrase[start:end] for start, end in words_in(phrase)]
        names = self.phrases if phrase in self.phrases else (*self.phrases, *self.last_names)
        for places in groups:
            word = words[places[0]]
            for edit in edits(word) if len(split(word)) >= least else ():
                typo = Typo(places, edit, edit.of(word))
                known = typo.word.casefold() in self._known
                if not known and not named_in(_with(phrase, typo), names):
                    yield typo

    def _order(self, *words: object) -> str:
        key = "\0".join(map(str, (*self._key, *words)))
        return hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()


def _alike(phrase: str) -> list[tuple[int, ...]]:
    """Where each word of the phrase stands, of one that it has several times all places together."""
    places: dict[str, list[int]] = {}
    for place, (start, end) in enumerate(words_in(phrase)):
        places.setdefault(phrase[start:end].casefold(), []).append(place)
    return [tuple(found) for found in places.values()]


def _misspelt(text: str, named: Sequence[Named], typos: Mapping[str, Typo]) -> Wording:
    """The text with each phrase misspelt in every place where it is `named`."""
    marks: dict[str, None] = {}
    changes: dict[str, None] = {}
    parts: list[str] = []
    end = 0
    for place in named:
        typo, old = typos[place.phrase], text[place.start : place.end]
        new = _with(old, typo)
        parts += [text[end : place.start], new]
        end = place.end
        marks[" ".join(new.split())] = None
        changes[f"{_word(old, typo)} → {typo.edit.of(_word(old, typo))} ({typo.edit.kind})"] = None
    return Wording("".join([*parts, text[end:]]), "+".join(marks), "; ".join(changes))


def _with(phrase: str, typo: Typo) -> str:
    spans = words_in(phrase)
    for place in reversed(typo.places):
        start, end = spans[place]
        phrase = phrase[:start] + typo.edit.of(phrase[start:end]) + phrase[end:]
    return phrase


def _word(phrase: str, typo: Typo) -> str:
    start, end = words_in(phrase)[typo.places[0]]
    return phrase[start:end]


CARD = TransformationCard(
    name="misspelling",
    title="One character of the concept's words typed wrong",
    version=VERSION,
    of="target",
    role="misspelt",
    build=Misspelling,
    notes="A character left out, doubled or swapped with the next one, or another vowel. Words of four or "
    "more characters, of three where that makes nothing of a phrase. Of an artist or a person the last name "
    "alone counts where a prompt has no more of the name. bench prompts SUITE --transform "
    "misspelling shows the list; a run writes it to rewritten.csv.",
)
