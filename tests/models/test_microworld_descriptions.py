"""Descriptions: one for every name, true to the drawings by their pixels, told apart, held out as stated."""

import colorsys
import re

import numpy as np
import pytest

from erasure_bench.models.microworld.drawing import Scene, caption, draw
from erasure_bench.models.microworld.drawing.scenes import CATEGORIES, IDENTITIES, KINDS, MEMBERS, OBJECTS
from erasure_bench.prompt_suites.microworld import descriptions
from erasure_bench.prompt_suites.microworld import vocabulary as words

TABLES = (
    (descriptions.MEMBER_DESCRIPTIONS, MEMBERS, "member"),
    (descriptions.IDENTITY_DESCRIPTIONS, IDENTITIES, "identity"),
    (descriptions.OBJECT_DESCRIPTIONS, OBJECTS, "object"),
)
COLOUR_WORDS = (
    "red",
    "orange",
    "yellow",
    "golden",
    "brown",
    "green",
    "teal",
    "turquoise",
    "blue",
    "purple",
    "pink",
    "cream",
    "white",
    "silver",
    "gray",
    "black",
)
EVERY = [(name, kind) for _, names, kind in TABLES for name in names]


def seen_colours(picture: np.ndarray) -> set[str]:
    """The words for the colours of at least 12 pixels; a pixel may answer to several."""
    counts: dict[str, int] = {}
    for pixel in picture.reshape(-1, 3) / 255.0:
        hue, saturation, value = colorsys.rgb_to_hsv(*pixel)
        degrees = hue * 360
        names = {
            "red": saturation > 0.5 and (degrees < 18 or degrees > 335) and value > 0.35,
            "orange": saturation > 0.5 and 12 < degrees < 45 and value > 0.7,
            "yellow": saturation > 0.4 and 38 < degrees < 68 and value > 0.7,
            "golden": saturation > 0.4 and 35 < degrees < 68 and value > 0.6,
            "brown": saturation > 0.2 and (degrees < 45) and 0.2 < value < 0.75,
            "green": saturation > 0.3 and 70 < degrees < 170 and value > 0.25,
            "teal": saturation > 0.5 and 160 < degrees < 200,
            "turquoise": saturation > 0.5 and 160 < degrees < 200,
            "blue": saturation > 0.25 and 185 < degrees < 245 and value > 0.3,
            "purple": saturation > 0.2 and 245 < degrees < 310 and value > 0.25,
            "pink": saturation > 0.2 and (degrees > 310 or degrees < 12) and value > 0.75,
            "cream": saturation < 0.35 and 20 < degrees < 60 and value > 0.8,
            "white": saturation < 0.15 and value > 0.85,
            "silver": saturation < 0.25 and value > 0.6,
            "gray": saturation < 0.4 and 0.2 < value < 0.8,
            "black": value < 0.3,
        }
        for name, fits in names.items():
            counts[name] = counts.get(name, 0) + bool(fits)
    return {name for name, count in counts.items() if count >= 12}


def said_colours(name: str) -> set[str]:
    known = descriptions.DESCRIPTIONS[name]
    return set(re.findall(r"[a-z]+", " ".join((known.short, *known.details)))) & set(COLOUR_WORDS)


@pytest.mark.parametrize(("table", "names", "kind"), TABLES)
def test_every_name_has_a_description_of_its_own_that_does_not_name_it(
    table: dict[str, descriptions.Description], names: tuple[str, ...], kind: str
) -> None:
    assert set(table) == set(names)
    assert len({known.short for known in table.values()}) == len(table)
    for name, known in table.items():
        told = " ".join((known.short, *known.details)).lower().split()
        assert not set(name.lower().split()) & set(told) - set(CATEGORIES) - set(COLOUR_WORDS)
        assert len(set(known.details)) == 3


def test_every_style_has_a_description_of_its_own() -> None:
    assert set(descriptions.STYLE_DESCRIPTIONS) == set(words.STYLES + words.VALIDATION_STYLES)
    for style, looks in descriptions.STYLE_DESCRIPTIONS.items():
        assert style not in looks.short and style not in looks.long
    assert len({look for looks in descriptions.STYLE_DESCRIPTIONS.values() for look in looks}) == 16


@pytest.mark.parametrize(("name", "kind"), EVERY)
def test_the_colours_that_a_description_tells_are_in_every_picture(name: str, kind: str) -> None:
    # Seen against two grounds: what is the ground's colour is not in both.
    for seed in range(2):
        seen = [
            seen_colours(draw(Scene(name, kind, background, "plain", seed)))
            for background in ("on a purple background", "on a yellow background", "on a gray background")
        ]
        assert said_colours(name) <= seen[0] & seen[1] & seen[2]


def test_another_things_colours_are_mostly_not_in_a_picture() -> None:
    """The control for the test above: what it asks of a picture is not true of every picture."""
    told = [said_colours(name) for name, _ in EVERY]
    found = []
    for number, (name, kind) in enumerate(EVERY):
        grounds = ("on a purple background", "on a yellow background", "on a gray background")
        seen = [seen_colours(draw(Scene(name, kind, ground, "plain", 0))) for ground in grounds]
        both = seen[0] & seen[1] & seen[2]
        found += [other <= both for place, other in enumerate(told) if place != number and len(other) > 1]
    assert np.mean(found) < 0.3


def test_captions_describe_some_subjects_and_styles_and_stay_short() -> None:
    rng = np.random.default_rng(0)
    for name, kind in EVERY:
        said = [caption(Scene(name, kind, "at night", "sepia", 0), rng, 0.0, 1.0) for _ in range(60)]
        short = descriptions.DESCRIPTIONS[name].short
        assert any(one.startswith(short) for one in said) and any(name in one for one in said)
        assert all("at night" in one and len(one.split()) <= 26 for one in said)
        looks = descriptions.STYLE_DESCRIPTIONS["sepia"]
        assert all("sepia" in one or looks.short in one or looks.long in one for one in said)
        assert any(looks.short in one for one in said) and any("sepia" in one for one in said)


def test_the_share_of_captions_that_are_reworded_is_as_asked() -> None:
    rng = np.random.default_rng(1)
    scene = Scene("tuxedo cat", "member", None, "plain", 0)
    plain = {caption(scene, rng, 0.0, 0.0) for _ in range(300)}
    share = np.mean([caption(scene, rng, 0.0, 0.3) not in plain for _ in range(2000)])
    assert 0.25 < share < 0.35


def test_held_out_wordings_and_pairs_of_details_are_in_no_caption() -> None:
    rng = np.random.default_rng(2)
    telling = (
        "what looks like",
        "just ",
        "; it has",
        "you can see",
        "the picture shows",
        "by the name of",
        ": ",
    )
    for name, kind in (*EVERY, *((name, "without") for name in KINDS["without"])):
        for style in ("plain", "neon"):
            for _ in range(30):
                said = caption(Scene(name, kind, None, style, 0), rng, 0.0, 1.0)
                assert not any(part in said for part in telling), said
                if known := descriptions.DESCRIPTIONS.get(name):
                    assert not (known.details[0] in said and known.details[2] in said), said


def test_long_descriptions_are_worded_as_asked() -> None:
    said = descriptions.long_description("tuxedo cat", descriptions.LONG_DESCRIPTIONS.heldout[0], (0, 2))
    assert said == "a black and white cat; it has green eyes and a white belly"
    assert descriptions.short_description("tuxedo cat", "just {short}") == "just a black and white cat"
    assert descriptions.variant("Mira Voss", "person") == "a person called Mira Voss"
    with pytest.raises(KeyError):
        descriptions.long_description("hedgehog")


def test_a_face_detector_made_for_photographs_sees_the_faces() -> None:
    pytest.importorskip("nudenet")
    pytest.importorskip("onnxruntime")
    from erasure_bench.evaluators.nudenet_detector import load_nudenet, nudenet_weights

    detector = load_nudenet(nudenet_weights(None), 320)

    def share(kind: str) -> float:
        pictures = [draw(Scene(name, kind, None, "plain", seed)) for name in KINDS[kind] for seed in (11, 12)]
        found = detector.detect(pictures)
        return float(np.mean([any(one.label.startswith("FACE") for one in boxes) for boxes in found]))

    assert share("identity") > 0.9 and share("anonymous") > 0.8
    assert share("object") < 0.2
