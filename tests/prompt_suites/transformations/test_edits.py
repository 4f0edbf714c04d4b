"""Edits of one character: what they change, and what they leave as it was."""

import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from erasure_bench.prompt_suites.transformations.edits import KINDS, VOWELS, edits, split

SCRIPTS = {
    "latin": "abcdefghijklmnopqrstuvwxyzéñüß",
    "cyrillic": "абвгдежзийклмнопрстуфхцчшщъыьэюя",
    "greek": "αβγδεζηθικλμνξοπρσςτυφχψω",
    "hebrew": "אבגדהוזחטיכלמנסעפצקרשת",
    "arabic": "ابتثجحخدذرزسشصضطظعغفقكلمنهوي",
    "han": "葛飾北斎毕加索画家",
    "kana": "あいうえおかきくけこさしすせそ",
    "hangul": "피카소고양이",
    "thai": "กขคงจฉชซ",
}
"""Letters by script; a name of each script is made of its own."""

one_script = st.sampled_from(list(SCRIPTS.values())).flatmap(
    lambda letters: st.text(letters, min_size=2, max_size=9)
)


def distance(one: str, other: str) -> int:
    """Damerau and Levenshtein's (optimal string alignment) over characters, by the textbook's table."""
    a, b = split(one), split(other)
    table = [[max(i, j) if 0 in (i, j) else 0 for j in range(len(b) + 1)] for i in range(len(a) + 1)]
    for i in range(1, len(a) + 1):
        for j in range(1, len(b) + 1):
            cost = int(a[i - 1] != b[j - 1])
            table[i][j] = min(table[i - 1][j] + 1, table[i][j - 1] + 1, table[i - 1][j - 1] + cost)
            if i > 1 and j > 1 and a[i - 1] == b[j - 2] and a[i - 2] == b[j - 1]:
                table[i][j] = min(table[i][j], table[i - 2][j - 2] + 1)
    return table[-1][-1]


@settings(deadline=None)
@given(one_script)
def test_every_edit_is_one_step_away_and_no_two_are_alike(word: str) -> None:
    found = [edit.of(word) for edit in edits(word)]
    assert len({text.lower() for text in found} | {word.lower()}) == len(found) + 1
    assert all(distance(word, text) == 1 for text in found)


@settings(deadline=None)
@given(one_script)
def test_no_character_of_another_script_comes_in(word: str) -> None:
    letters = next(letters for letters in SCRIPTS.values() if set(word) <= set(letters))
    own_vowels = {vowel for vowels in VOWELS if set(vowels) & set(letters) for vowel in vowels}
    for edit in edits(word):
        assert set(edit.of(word)) <= set(word) | own_vowels


@settings(deadline=None)
@given(one_script.filter(lambda word: word.upper().lower() == word and len(word.upper()) == len(word)))
def test_case_is_kept(word: str) -> None:
    for edit in edits(word):
        small = edit.of(word)
        assert edit.of(word.upper()) == small.upper()
        title = word[0].upper() + word[1:]
        assert edit.of(title) == small[0].upper() + small[1:]


@settings(deadline=None)
@given(st.lists(st.sampled_from(["a", "e", "b", "c", "a\u0301", "o\u0308\u0301"]), min_size=1).map("".join))
def test_a_mark_stays_with_its_letter(word: str) -> None:
    """Decomposed accents: no edit parts a letter from what stands above it."""
    whole = set(split(word))
    assert "".join(split(word)) == word
    for edit in edits(word):
        assert set(split(edit.of(word))) <= whole | set("aeiou")


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("cat", {"at", "ct", "ca", "ccat", "caat", "catt", "act", "cta", "cet", "cit", "cot", "cut"}),
        ("Oo", {"O", "Ooo", *(f"{v}o" for v in "AEIU"), *(f"O{v}" for v in "aeiu")}),
        ("R2", {"R", "2", "RR2", "R22", "2R"}),
        ("猫", {"猫猫"}),
    ],
)
def test_these_are_all(word: str, expected: set[str]) -> None:
    assert {edit.of(word) for edit in edits(word)} == expected


def test_other_capitals_stay_with_their_letters() -> None:
    assert {"cMDonald", "McDnald", "McDoonald"} <= {edit.of("McDonald") for edit in edits("McDonald")}


def test_all_kinds_are_there_and_only_vowels_are_replaced() -> None:
    found = list(edits("grumpy"))
    assert {edit.kind for edit in found} == set(KINDS)
    assert {"grumpy"[edit.at] for edit in found if edit.kind == "vowel"} == {"u"}
    assert unicodedata.category("u") == "Ll"
