"""Pictures that a prompt asks for, drawn and not generated, and where in them its subject is."""

import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from erasure_bench.models.microworld.drawing.backgrounds import draw_background
from erasure_bench.models.microworld.drawing.canvas import SIZE, finish
from erasure_bench.models.microworld.drawing.render import draw
from erasure_bench.models.microworld.drawing.scenes import KINDS, STYLES, Scene, shown_background
from erasure_bench.prompt_suites.microworld.vocabulary import BACKGROUNDS, MEDIA, PLAIN

_SUBJECTS = sorted(
    ((name, kind) for kind, names in KINDS.items() for name in names),
    key=lambda subject: len(subject[0]),
    reverse=True,
)
"""Every subject with its kind, the longest name first: "grumpy cat" before "cat"."""
_PLACES = {background.lower(): background for background in BACKGROUNDS}
_SILENT = frozenset(" ".join(MEDIA).split()) | {"the", "in", "style"}
"""Words that add nothing to what is drawn."""


def asked_scene(prompt: str, seed: int) -> Scene | None:
    """The scene of one subject that a prompt asks for, in any case of letters.

    None for a prompt that has a word more than the subject, its background, its style and what says nothing:
    a colour, a number, a second thing.
    """
    left = prompt.lower()
    background, left = _taken(left, [*_PLACES])
    subject, left = _taken(left, [name.lower() for name, _ in _SUBJECTS])
    style, left = _taken(left, STYLES)
    if subject is None or not _SILENT.issuperset(re.findall(r"\w+", left)):
        return None
    name, kind = next(found for found in _SUBJECTS if found[0].lower() == subject)
    return Scene(name, kind, None if background is None else _PLACES[background], style or PLAIN, seed)


def subject_mask(scene: Scene) -> NDArray[np.bool_]:
    """Where a scene's picture shows what it is asked for, [64, 64].

    Everywhere for a style and for pictures without a background, else where it differs from the same
    background with nothing on it.
    """
    if scene.style != PLAIN or scene.kind in ("memorised", "abstract"):
        return np.ones((SIZE, SIZE), bool)
    empty = finish(draw_background(shown_background(scene), np.random.default_rng(scene.seed)))
    found: NDArray[np.bool_] = (draw(scene) != empty).any(-1)
    return found


def _taken(text: str, phrases: Sequence[str]) -> tuple[str | None, str]:
    """The first of the phrases that a text has as whole words, and the text without it."""
    for phrase in phrases:
        shorter, count = re.subn(rf"(?<!\w){re.escape(phrase)}(?!\w)", " ", text, count=1)
        if count:
            return phrase, shorter
    return None, text
