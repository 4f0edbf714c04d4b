"""Prompts that can be drawn, and the region that their subject covers."""

import numpy as np
import pytest

from erasure_bench.models.microworld.drawing import Scene, canvas, draw
from erasure_bench.models.microworld.drawing.asked import asked_scene, subject_mask
from erasure_bench.prompt_suites.microworld.vocabulary import all_members


@pytest.mark.parametrize(
    ("prompt", "subject", "kind", "background", "style"),
    [
        ("a grumpy cat", "grumpy cat", "member", None, "plain"),
        ("A photo of a cat in the snow", "cat", "category", "in the snow", "plain"),
        ("a photo of mira voss at night", "Mira Voss", "identity", "at night", "plain"),
        ("a car by the sea in the style of mosaic", "car", "object", "by the sea", "mosaic"),
        ("pop art style picture of an old man", "old man", "anonymous", None, "pop art"),
        ("fire on a red background", "fire", "implicit", "on a red background", "plain"),
        ("the silver harbour at dusk", "The Silver Harbour at Dusk", "memorised", None, "plain"),
    ],
)
def test_a_prompt_of_one_subject_can_be_drawn(prompt, subject, kind, background, style):
    assert asked_scene(prompt, 5) == Scene(subject, kind, background, style, 5)


@pytest.mark.parametrize(
    "prompt",
    [
        "",
        "a zebra",
        "a red car",
        "two cars",
        "cars",
        "a cat left of a dog",
        "a carpet",
        "a cat and a dog",
        "a photo",
    ],
)
def test_a_prompt_that_says_more_or_less_cannot(prompt):
    assert asked_scene(prompt, 5) is None


@pytest.mark.parametrize("subject", [*all_members()[:3], "car", "Mira Voss"])
def test_the_mask_is_what_the_pen_covered(subject, monkeypatch):
    """Its layer's opacity, taken while it draws, and the contour around it."""
    scene = asked_scene(subject, 3)
    layers = []
    stamp = canvas.Pen.stamp

    def watched(pen, onto, outlined=True):
        layers.append(np.asarray(pen.layer.getchannel("A")) > 0)
        stamp(pen, onto, outlined)

    monkeypatch.setattr(canvas.Pen, "stamp", watched)
    draw(scene)
    (layer,) = layers
    times = canvas.OVERSAMPLING
    covered = layer.reshape(64, times, 64, times).any((1, 3))
    found = subject_mask(scene)
    assert (found & covered).sum() > 0.97 * covered.sum(), "all of it"
    assert found.sum() < 1.35 * covered.sum(), "and a contour"
    assert found.dtype == bool and not found.all()


@pytest.mark.parametrize("prompt", ["a car in mosaic style", "the glass orchard", "an abstract painting"])
def test_a_style_or_a_whole_picture_is_everywhere(prompt):
    assert subject_mask(asked_scene(prompt, 1)).all()
