"""One-character edits of a word, as people make them when they type; a word's case and script stay."""

import unicodedata
from collections.abc import Iterator
from typing import Literal, NamedTuple, get_args

Kind = Literal["delete", "swap", "double", "vowel"]
KINDS: tuple[Kind, ...] = get_args(Kind)

VOWELS = ("aeiou", "аеиоуыэюя", "αεηιουω")
"""By script (Latin, Cyrillic, Greek): what stands in for what."""
_JOINER = "\u200d"


class Edit(NamedTuple):
    """An edit of character number `at`: left out, swapped with the next one, doubled, or another vowel."""

    kind: Kind
    at: int
    vowel: str = ""

    def of(self, word: str) -> str:
        """The word with the edit made, with capitals where the word has them."""
        characters = split(word)
        character, after = characters[self.at], characters[self.at + 1 :]
        put = {
            "delete": [],
            "swap": [*after[:1], character],
            "double": [character, _small(character)],
            "vowel": [self.vowel.upper() if character.isupper() else self.vowel],
        }[self.kind]
        rest = after[1:] if self.kind == "swap" else after
        return _cased("".join([*characters[: self.at], *put, *rest]), word)


def edits(word: str) -> Iterator[Edit]:
    """The edits of a word that give different words, none of them the word itself, in a fixed order.

    A character is what a reader takes for one: a letter with its marks.
    """
    seen = {word.lower(), ""}
    for edit in _every(split(word)):
        edited = edit.of(word).lower()
        if edited not in seen:
            seen.add(edited)
            yield edit


def split(word: str) -> list[str]:
    """The word's characters, each with the marks that belong to it."""
    characters: list[str] = []
    for code in word:
        joined = characters and (
            unicodedata.category(code).startswith("M") or code == _JOINER or characters[-1].endswith(_JOINER)
        )
        if joined:
            characters[-1] += code
        else:
            characters.append(code)
    return characters


def _every(characters: list[str]) -> Iterator[Edit]:
    for at, character in enumerate(characters):
        yield Edit("delete", at)
        yield Edit("double", at)
        if at + 1 < len(characters):
            yield Edit("swap", at)
        for vowels in VOWELS:
            if character.lower() in tuple(vowels):
                yield from (Edit("vowel", at, vowel) for vowel in vowels if vowel != character.lower())


def _small(character: str) -> str:
    """Of a capital that is doubled the second one; as it is where its small letter is no single one."""
    small = character.lower()
    return small if len(small) == len(character) else character


def _cased(edited: str, word: str) -> str:
    """In capitals, or with one at the start, as the word is; else each letter keeps its own case."""
    if len(split(word)) > 1 and word.isupper():
        found = edited.upper()
    elif _is_title(word):
        found = edited[:1].upper() + edited[1:].lower()
    else:
        return edited
    return found if len(found) == len(edited) else edited


def _is_title(word: str) -> bool:
    return word[:1].isupper() and not any(character.isupper() for character in word[1:])
