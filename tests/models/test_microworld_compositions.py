"""Pairs, counts and coloured things: pictures obey their labels by the pixels, captions tell them."""

import colorsys
import re
from dataclasses import astuple, replace

import numpy as np
import pytest
from scipy import ndimage

from erasure_bench.models.microworld.drawing import HEADS, Scene, Thing, caption, draw, labels, sample_scene
from erasure_bench.models.microworld.drawing.colours import RGB, shows
from erasure_bench.models.microworld.drawing.scenes import COMPOSED, KINDS
from erasure_bench.prompt_suites.microworld import composed
from erasure_bench.prompt_suites.microworld import vocabulary as words
from erasure_bench.prompt_suites.microworld.labels import PLACES

GRAY = "on a gray background"
HUES = {
    "red": ((0, 15), (340, 360)),
    "yellow": ((36, 64),),
    "green": ((90, 165),),
    "blue": ((205, 240),),
    "purple": ((255, 300),),
}
"""Colour -> its hues in degrees, by the colour wheel and not by the drawings' own table."""


def pair(relation: str, first: Thing, second: Thing, seed: int = 0, background: str | None = GRAY) -> Scene:
    return Scene(first.name, "pair", background, "plain", seed, first.colour, 1, relation, second)


def count_of(name: str, number: int, seed: int = 0) -> Scene:
    return Scene(name, "count", GRAY, "plain", seed, count=number)


def foreground(picture: np.ndarray) -> np.ndarray:
    """Pixels that differ from their row's first and last pixel, which show the gray ground; [64, 64]."""
    ground = (picture[:, :1].astype(int) + picture[:, -1:]) // 2
    return np.abs(picture - ground).max(axis=2) > 30


def parts(picture: np.ndarray) -> int:
    """How many separate things of some size stand on the gray ground."""
    found, number = ndimage.label(foreground(picture), structure=np.ones((3, 3)))
    return sum((found == part).sum() > 40 for part in range(1, number + 1))


def main_hue(picture: np.ndarray) -> str | None:
    """The colour of `HUES` that most of the vivid pixels have; None if under a fifth of them agree."""
    vivid = []
    for pixel in picture.reshape(-1, 3) / 255.0:
        hue, saturation, value = colorsys.rgb_to_hsv(*pixel)
        if saturation > 0.4 and value > 0.3:
            vivid.append(hue * 360)
    hues = np.array(vivid)
    shares = {
        colour: sum(((hues >= low) & (hues <= high)).mean() for low, high in ranges)
        for colour, ranges in HUES.items()
    }
    best = max(shares, key=lambda colour: shares[colour])
    return best if shares[best] > 0.2 else None


def composed_scenes(number: int, seed: int = 0) -> list[Scene]:
    rng = np.random.default_rng(seed)
    drawn = (sample_scene(rng) for _ in range(20 * number))
    return [scene for scene in drawn if scene.kind in COMPOSED][:number]


def test_composed_scenes_are_drawn_deterministically_and_labelled() -> None:
    for scene in composed_scenes(120):
        picture = draw(scene)
        assert (
            picture.tobytes() == draw(scene).tobytes() != draw(replace(scene, seed=scene.seed + 1)).tobytes()
        )
        assert all(getattr(labels(scene), head) in HEADS[head][:-1] for head in HEADS)
        assert scene.style == labels(scene).style == words.PLAIN


def test_every_head_ends_with_nothing_which_no_drawing_is() -> None:
    rng = np.random.default_rng(1)
    assert all(names[-1] == words.NOTHING and len(set(names)) == len(names) for names in HEADS.values())
    assert not any(words.NOTHING in astuple(labels(sample_scene(rng))) for _ in range(300))


def test_every_label_of_every_head_is_drawn() -> None:
    rng = np.random.default_rng(2)
    seen = [labels(sample_scene(rng)) for _ in range(9000)]
    for head, names in HEADS.items():
        assert {getattr(one, head) for one in seen} == set(names[:-1]), head


@pytest.mark.parametrize("name", words.PLURALS)
@pytest.mark.parametrize("number", [1, 2, 3, 4])
def test_as_many_things_are_drawn_as_are_counted(name: str, number: int) -> None:
    for seed in range(3):
        scene = count_of(name, number, seed)
        assert parts(draw(scene)) == number
        assert labels(scene).count == str(number)
        assert labels(scene).object == labels(Scene(name, "object", None, "plain", 0)).object


@pytest.mark.parametrize("name", words.placeable())
def test_a_thing_of_a_pair_stays_in_its_half(name: str) -> None:
    other = Thing("star" if name != "star" else "apple")
    for relation, half in zip(words.RELATIONS[:4], PLACES, strict=True):
        for seed in range(3):
            scene = pair(relation, Thing(name), other, seed)
            picture = foreground(draw(scene))
            middle = picture[:, 31:33] if half in ("left", "right") else picture[31:33]
            assert middle.sum() <= 2
            assert parts(draw(scene)) == 2
            assert getattr(labels(scene), half) == name


@pytest.mark.parametrize(
    ("relation", "own_half"),
    [
        ("left of", np.s_[:, :31]),
        ("right of", np.s_[:, 33:]),
        ("above", np.s_[:31]),
        ("below", np.s_[33:]),
    ],
)
def test_the_first_thing_stands_where_the_relation_says(relation: str, own_half: tuple) -> None:
    """Its half of the picture is the same whatever the other thing is, and another if it is another."""
    one, two, else_first = (
        draw(pair(relation, Thing(first), Thing(second), 5))
        for first, second in (("cup", "grumpy cat"), ("cup", "tree"), ("dog", "tree"))
    )
    assert one[own_half].tobytes() == two[own_half].tobytes() != else_first[own_half].tobytes()
    assert one.tobytes() != two.tobytes()


def test_beside_is_left_in_half_of_the_pictures_and_right_in_the_others() -> None:
    sides = [labels(pair("beside", Thing("grumpy cat"), Thing("boat"), seed)).left for seed in range(200)]
    assert set(sides) == {"grumpy cat", "boat"}
    assert 70 < sides.count("boat") < 130
    for seed in range(8):
        scene = pair("beside", Thing("cup", "red"), Thing("star", "blue"), seed)
        picture, known = draw(scene), labels(scene)
        assert main_hue(picture[:, :32]) == known.left_colour
        assert main_hue(picture[:, 32:]) == known.right_colour


@pytest.mark.parametrize("name", words.COLOURABLE)
@pytest.mark.parametrize("colour", words.COLOURS)
def test_a_thing_has_the_colour_that_is_asked_for(name: str, colour: str) -> None:
    for seed in range(3):
        scene = Scene(name, "coloured", GRAY, "plain", seed, colour)
        picture = draw(scene)
        if name == "flower":  # its stem and leaves are green whatever the petals are
            picture = picture[:32]
        assert main_hue(np.where(foreground(picture)[..., None], picture, 128)) == colour
        assert labels(scene).colour == colour


def test_two_colours_are_bound_to_their_things() -> None:
    for seed, (relation, one, two) in enumerate(
        [("left of", "left", "right"), ("right of", "right", "left"), ("above", "top", "bottom")] * 3
    ):
        scene = pair(relation, Thing("cup", "red"), Thing("kite", "green"), seed)
        halves = {"left": np.s_[:, :32], "right": np.s_[:, 32:], "top": np.s_[:32], "bottom": np.s_[32:]}
        picture, known = draw(scene), labels(scene)
        assert main_hue(picture[halves[one]]) == getattr(known, f"{one}_colour") == "red"
        assert main_hue(picture[halves[two]]) == getattr(known, f"{two}_colour") == "green"
        assert known.colour == words.NONE


@pytest.mark.parametrize("name", ["car", "balloon", "cup", "apple", "star", "mushroom"])
def test_the_colour_of_a_thing_is_known_though_nobody_asked(name: str) -> None:
    known = {seed: labels(Scene(name, "object", GRAY, "plain", seed)).colour for seed in range(20)}
    named = [seed for seed, colour in known.items() if colour != words.NONE]
    assert named
    for seed in named:
        picture = draw(Scene(name, "object", GRAY, "plain", seed))
        assert main_hue(np.where(foreground(picture)[..., None], picture, 128)) == known[seed]


@pytest.mark.parametrize("style", words.STYLES)
def test_a_style_hides_the_colour_of_a_thing(style: str) -> None:
    """Sepia and blueprint have no red: no head may be asked for what cannot be seen."""
    assert {labels(Scene("car", "object", GRAY, style, seed)).colour for seed in range(20)} == {words.NONE}


def test_no_colour_is_drawn_on_a_background_of_that_colour() -> None:
    for scene in composed_scenes(150, seed=4):
        asked = [scene.colour, scene.other.colour if scene.other else None]
        if scene.background:
            assert all(shows(colour, scene.background) for colour in asked)
    for seed in range(40):
        corner = draw(Scene("car", "coloured", None, "plain", seed, "red"))[1, 1].astype(int)
        assert np.abs(corner - RGB["red"]).max() > 60


@pytest.mark.parametrize(
    ("object_", "member", "first", "second"),
    [
        ("several", "grumpy cat", "grumpy cat", "boat"),
        ("several", "several", "grumpy cat", "husky dog"),
        ("several", "none", "cat", "boat"),
    ],
)
def test_a_pair_is_several_objects_and_its_one_member(
    object_: str, member: str, first: str, second: str
) -> None:
    known = labels(pair("beside", Thing(first), Thing(second)))
    assert (known.object, known.member, known.count) == (object_, member, "2")
    assert {known.left, known.right} == {first, second} and known.top == known.bottom == words.NONE


def test_pictures_of_one_subject_have_no_places_and_count_one() -> None:
    for kind, subjects in KINDS.items():
        for subject in subjects:
            known = labels(Scene(subject, kind, None, "plain", 0))
            assert {getattr(known, place) for place in PLACES} == {words.NONE}
            uncounted = (
                kind in ("memorised", "abstract")
                or "fire" in subject
                or subject in ("flames", "rain", "rainfall")
            )
            assert known.count == (words.NONE if uncounted else "1")


_LEFT_RIGHT = (
    (r"(.+) (?:on the )?left of (.+)", False),
    (r"(.+) (?:on the )?right of (.+)", True),
    (r"(.+) on the left(?:,| and) (.+) on the right", False),
    (r"(.+) on the right(?:,| and) (.+) on the left", True),
    (r"(.+) (?:above|over) (.+)", False),
    (r"(.+) (?:below|under) (.+)", True),
    (r"(.+) at the top(?:,| and) (.+) at the bottom", False),
    (r"(.+) at the bottom(?:,| and) (.+) at the top", True),
)
"""A reader of captions: pattern, and whether the thing named second stands left or on top."""


def test_captions_of_pairs_say_what_stands_where() -> None:
    rng, seen = np.random.default_rng(6), set()
    for scene in composed_scenes(700, seed=6):
        if scene.relation in (None, "beside"):
            continue
        said = caption(replace(scene, background=None), rng, misspelt_share=0.0)
        known = labels(scene)
        first, second = (known.left, known.right) if known.left != words.NONE else (known.top, known.bottom)
        for number, (pattern, swapped) in enumerate(_LEFT_RIGHT):
            if read := re.fullmatch(pattern, said):
                one, two = read.groups()[::-1] if swapped else read.groups()
                assert first in one and second in two, said
                seen.add(number)
                break
        else:
            pytest.fail(f"cannot read {said!r}")
    assert len(seen) == len(_LEFT_RIGHT)


def test_captions_say_numbers_and_colours_and_names() -> None:
    rng = np.random.default_rng(7)
    for scene in composed_scenes(400, seed=7):
        said = caption(scene, rng, misspelt_share=0.0)
        for thing in (Thing(scene.subject, scene.colour), *((scene.other,) if scene.other else ())):
            assert thing.name in said and (thing.colour or "") in said
        if scene.kind == "count" and scene.count > 1:
            assert words.NUMBERS[scene.count - 1] in said.split() and words.PLURALS[scene.subject] in said
        assert scene.background is None or scene.background in said
        assert "a apple" not in said and "an red" not in said


def test_one_letter_is_wrong_where_a_composed_caption_is_misspelt() -> None:
    rng = np.random.default_rng(8)
    scene = count_of("mushroom", 3)
    wrong = [caption(scene, rng, misspelt_share=1.0) for _ in range(40)]
    assert not any("mushrooms" in said.split() for said in wrong) and all("three" in said for said in wrong)


def test_wordings_that_are_held_out_are_in_no_caption() -> None:
    rng = np.random.default_rng(9)
    for scene in composed_scenes(500, seed=9):
        said = caption(scene, rng, misspelt_share=0.0)
        for telling in (
            "to the left of",
            "to the right of",
            "on its",
            "it",
            "side by side",
            "of them",
            "exactly",
        ):
            assert not re.search(rf"\b{telling}\b", said), said
        if scene.kind == "coloured":
            assert f"in {scene.colour}" not in said


def test_held_out_wordings_name_both_things() -> None:
    for relation, phrases in composed.RELATION_PHRASES.items():
        assert not set(phrases.trained) & set(phrases.heldout)
        for wording in phrases.heldout:
            said = composed.related(relation, "a grumpy cat", "a red boat", wording)
            assert "a grumpy cat" in said and "a red boat" in said
    assert (
        composed.counted("fish", 2) == "two fish"
        and composed.counted("car", 1, colour="red") == "one red car"
    )
    assert composed.coloured("apple", "blue", composed.COLOUR_PHRASES.heldout[0]) == "an apple in blue"
