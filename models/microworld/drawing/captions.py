"""Captions of scenes: names, sentences and descriptions in varied wording, and a share misspelt."""

import numpy as np

from erasure_bench.models.microworld.drawing.scenes import COMPOSED, KINDS, Scene, coarse
from erasure_bench.prompt_suites.microworld import composed, descriptions
from erasure_bench.prompt_suites.microworld import vocabulary as words

_BARE = frozenset(words.IMPLICIT[0].naming + words.VALIDATION_IMPLICIT[0].naming)
_LETTERS = "abcdefghijklmnopqrstuvwxyz"
_KNOWN = frozenset(word.lower() for subjects in KINDS.values() for name in subjects for word in name.split())
_SHORTEST_MISSPELT = 4
_LONG = 9
"""Words from which on a phrase counts as long."""


def caption(
    scene: Scene, rng: np.random.Generator, misspelt_share: float = 0.08, reworded_share: float = 0.3
) -> str:
    """A caption of `scene`; memorised scenes are always captioned by their exact title.

    With probability `misspelt_share` one word of the subject with four or more letters gets one
    wrong character; a subject without such a word is always spelt right. Of the captions that are
    spelt right, the share `reworded_share` says the subject in a sentence or a variant or describes
    its looks, and describes a style's. Wordings that are held out (`composed`, `descriptions`) never occur.
    """
    if scene.kind == "memorised":
        return scene.subject
    wrong = rng.random() < misspelt_share
    name = _misspelt(scene.subject, rng) if wrong else scene.subject
    reworded = not wrong and rng.random() < reworded_share
    if scene.kind in COMPOSED:
        phrase = _composed(scene, name, rng)
    elif reworded and scene.kind != "abstract":
        return _reworded(scene, rng)
    else:
        phrase = name if rng.random() < 0.15 else _with_article(name, scene)
    background = f" {scene.background}" if scene.background else ""
    medium = words.MEDIA[int(rng.integers(len(words.MEDIA)))]
    # "a painting of an abstract painting" says nothing more
    opening = "" if scene.kind == "abstract" or rng.random() < 0.4 else f"{medium} "
    if scene.style == words.PLAIN:
        return f"{opening}{phrase}{background}"
    style = scene.style
    wordings = (
        f"{opening}{phrase}{background} in {style} style",
        f"{opening}{phrase} in {style} style{background}",
        f"{opening}{phrase}{background}, {style} style",
        f"{style} style picture of {phrase}{background}",
        f"{opening}{phrase}{background} in the style of {style}",
    )
    return wordings[int(rng.integers(len(wordings)))]


def _reworded(scene: Scene, rng: np.random.Generator) -> str:
    """The subject in a sentence, a variant or a description, and the style named or described."""
    name = scene.subject
    phrase = _with_article(name, scene)
    background = f" {scene.background}" if scene.background else ""
    rung = rng.random()
    described = name in descriptions.DESCRIPTIONS
    if not described or rung < 0.2:
        phrase = _one_of(descriptions.SENTENCES.trained, rng).format(phrase=phrase)
    elif rung < 0.35 and scene.kind != "object":
        phrase = descriptions.variant(name, coarse(name), _one_of(descriptions.VARIANTS.trained, rng))
    elif rung < 0.65:
        phrase = descriptions.short_description(name)
    else:
        details = descriptions.TRAINED_DETAILS[int(rng.integers(len(descriptions.TRAINED_DETAILS)))]
        phrase = descriptions.long_description(
            name, _one_of(descriptions.LONG_DESCRIPTIONS.trained, rng), details
        )
    if scene.style == words.PLAIN:
        return f"{phrase}{background}"
    if rng.random() < 0.4:
        return f"{phrase}{background} in {scene.style} style"
    looks = descriptions.STYLE_DESCRIPTIONS[scene.style]
    # Two long descriptions in one caption would be longer than the text encoder reads.
    look = looks.long if rng.random() < 0.5 and len(phrase.split()) < _LONG else looks.short
    return _one_of(descriptions.STYLE_PHRASES.trained, rng).format(phrase=f"{phrase}{background}", look=look)


def _composed(scene: Scene, name: str, rng: np.random.Generator) -> str:
    """What a pair, a count or a coloured thing shows, with its subject spelt `name`."""
    if scene.kind == "count":
        phrases = composed.ONE_PHRASES if scene.count == 1 else composed.COUNT_PHRASES
        said = composed.counted(scene.subject, scene.count, _weighted(phrases.trained, rng), scene.colour)
        correct = scene.subject if scene.count == 1 else words.PLURALS[scene.subject]
        return said.replace(correct, correct.replace(scene.subject, name))
    first = _thing(name, scene.subject, scene.colour, rng)
    if scene.relation is None or scene.other is None:
        return first
    second = _thing(scene.other.name, scene.other.name, scene.other.colour, rng)
    wording = _one_of(composed.RELATION_PHRASES[scene.relation].trained, rng)
    return composed.related(scene.relation, first, second, wording)


def _thing(name: str, spelt_right: str, colour: str | None, rng: np.random.Generator) -> str:
    if colour:
        return composed.coloured(name, colour, _weighted(composed.COLOUR_PHRASES.trained, rng))
    return f"an {name}" if spelt_right[0] in "aeiou" else f"a {name}"


def _one_of(wordings: tuple[str, ...], rng: np.random.Generator) -> str:
    return wordings[int(rng.integers(len(wordings)))]


def _weighted(wordings: tuple[str, ...], rng: np.random.Generator) -> str:
    """The first of the wordings, which is the usual one, or in three of ten captions any other."""
    return wordings[0] if rng.random() < 0.7 else wordings[1 + int(rng.integers(len(wordings) - 1))]


def _with_article(name: str, scene: Scene) -> str:
    if scene.kind == "identity" or scene.subject in _BARE:
        return name
    return f"an {name}" if scene.subject[0] in "aeiou" else f"a {name}"


def _misspelt(name: str, rng: np.random.Generator) -> str:
    """`name` with one character of one long word deleted, doubled, replaced or swapped with the next."""
    parts = name.split(" ")
    long = [index for index, word in enumerate(parts) if len(word) >= _SHORTEST_MISSPELT]
    if not long:
        return name
    index = long[int(rng.integers(len(long)))]
    word = parts[index]
    changed = word
    while changed.lower() in _KNOWN:
        at = int(rng.integers(len(word)))
        way = int(rng.integers(4))
        if way == 0:
            changed = word[:at] + word[at + 1 :]
        elif way == 1:
            changed = word[:at] + word[at] + word[at:]
        elif way == 2:
            changed = word[:at] + _LETTERS[int(rng.integers(26))] + word[at + 1 :]
        elif at + 1 < len(word):
            changed = word[:at] + word[at + 1] + word[at] + word[at + 2 :]
    parts[index] = changed
    return " ".join(parts)
