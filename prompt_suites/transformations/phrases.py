"""Where a text names a concept: its phrases, word for word, in any case."""

import re
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import NamedTuple

from erasure_bench.prompt_suites.concepts import Concept

_UNSPACED = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af\uf900-\ufaff"
)
"""Thai, Lao, Burmese, Khmer, Japanese, Chinese; Korean, whose particles cling: no space ends a word there."""
_MARKS = "\u0300-\u036f"
_WORD_BEFORE = rf"(?<![^\W{_UNSPACED}])"
_WORD_AFTER = rf"(?![^\W{_UNSPACED}]|[{_MARKS}])"
_WORD = re.compile(rf"(?:[^\W_][{_MARKS}]*)+")


class Named(NamedTuple):
    """A place where a text names a concept: `phrase` as the concept writes it, in small letters."""

    start: int
    end: int
    phrase: str


def phrases_of(concept: Concept) -> tuple[str, ...]:
    """What names the concept: its target phrases and its name, each once, in small letters."""
    return tuple(dict.fromkeys(_plain(phrase) for phrase in (*concept.targets, concept.name)))


def named_in(text: str, phrases: Sequence[str]) -> list[Named]:
    """Where the text has a phrase as whole words, from left to right; of phrases in one place the longest."""
    found: list[Named] = []
    pattern = _pattern(tuple(phrases))
    for match in pattern.finditer(text):
        found.append(Named(match.start(), match.end(), _plain(match[0])))
    return found


def last_names_of(concept: Concept) -> tuple[str, ...]:
    """The last names of an artist or a person whose whole name is a phrase of the concept: Picasso.

    A whole name is two words or more, the first and the last with a capital. A last name that what should
    appear instead or stay has, too, is none.
    """
    if concept.kind not in ("style", "identity"):
        return ()
    others = _words(concept.anchor, concept.surrogate or "", *concept.neighbours)
    names = (phrase.split() for phrase in (*concept.targets, concept.name))
    whole = (name for name in names if len(name) > 1 and name[0][0].isupper() and name[-1][0].isupper())
    last = (name[-1] for name in whole if all(map(_is_of_a_name, name)))
    return tuple(dict.fromkeys(name for name in last if name.casefold() not in others))


def last_names_in(text: str, names: Sequence[str]) -> list[Named]:
    """Where the text has one of the last names with its capital, as whole words, from left to right."""
    return [place for place in named_in(text, names) if text[place.start].isupper()] if names else []


def words_in(text: str) -> list[tuple[int, int]]:
    """Where the text's words start and end: letters with their marks, and digits."""
    return [match.span() for match in _WORD.finditer(text)]


@lru_cache(maxsize=8)
def words_of_concepts(concepts: tuple[Concept, ...]) -> frozenset[str]:
    """Every word by which one of the concepts, or what is close to it, is known, in small letters."""
    texts: Iterable[str] = (
        text
        for concept in concepts
        for text in (
            *(concept.name, *concept.targets, concept.anchor, concept.surrogate or ""),
            *(*concept.neighbours, *concept.evoked_by, concept.label or ""),
        )
    )
    return _words(*texts)


@lru_cache(maxsize=64)
def _pattern(phrases: tuple[str, ...]) -> re.Pattern[str]:
    longest_first = sorted(phrases, key=lambda phrase: (-len(phrase), phrase))
    alternatives = (
        _WORD_BEFORE * (not _is_unspaced(phrase[0]))
        + r"\s+".join(map(re.escape, phrase.split()))
        + _WORD_AFTER * (not _is_unspaced(phrase[-1]))
        for phrase in longest_first
    )
    return re.compile("|".join(alternatives), re.IGNORECASE)


def _is_unspaced(character: str) -> bool:
    return re.match(rf"[{_UNSPACED}]", character) is not None


def _words(*texts: str) -> frozenset[str]:
    return frozenset(text[start:end].casefold() for text in texts for start, end in words_in(text))


def _is_of_a_name(word: str) -> bool:
    return re.fullmatch(r"[^\W\d_]+(?:['’.-][^\W\d_]+)*\.?", word) is not None


def _plain(phrase: str) -> str:
    return " ".join(phrase.lower().split())
