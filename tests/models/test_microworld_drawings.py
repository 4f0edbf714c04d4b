"""The microworld drawings: every name drawable, same scene same bytes, truthful labels and captions."""

from dataclasses import asdict

import numpy as np
import pytest

from erasure_bench.models.microworld.drawing import (
    HEADS,
    Scene,
    caption,
    contact_sheet,
    draw,
    labels,
    sample_scene,
)
from erasure_bench.models.microworld.drawing.mixture import SHARES
from erasure_bench.models.microworld.drawing.scenes import COMPOSED, KINDS
from erasure_bench.prompt_suites.microworld import vocabulary as words

ALL_SUBJECTS = [(subject, kind) for kind, subjects in KINDS.items() for subject in subjects]
FIRE = words.IMPLICIT[0]


def plain(subject: str, kind: str, seed: int = 0, background: str | None = "on a blue background") -> Scene:
    return Scene(subject, kind, background, "plain", seed)


def orange_share(picture: np.ndarray) -> float:
    """Share of pixels coloured like flames: strong red, some green, little blue."""
    red, green, blue = (picture[..., channel].astype(int) for channel in range(3))
    return float(((red > 215) & (green > 55) & (green < 235) & (blue < 100) & (red > green + 10)).mean())


@pytest.mark.parametrize(("subject", "kind"), ALL_SUBJECTS)
def test_every_name_is_drawn_deterministically_and_labelled(subject: str, kind: str) -> None:
    first, again, other = (draw(plain(subject, kind, seed)) for seed in (3, 3, 4))
    assert first.shape == (64, 64, 3) and first.dtype == np.uint8
    assert first.tobytes() == again.tobytes()
    assert (first.tobytes() == other.tobytes()) == (kind == "memorised")
    assert first.astype(float).std() > 15.0
    for head, label in asdict(labels(plain(subject, kind))).items():
        assert label in HEADS[head]


def test_every_vocabulary_name_has_a_kind() -> None:
    drawable = {subject for subject, _ in ALL_SUBJECTS}
    for family in words.FAMILIES + words.VALIDATION_FAMILIES:
        assert {family.category, *family.members} <= drawable
    for evoked in words.IMPLICIT + words.VALIDATION_IMPLICIT:
        assert {*evoked.naming, *evoked.evoking, *evoked.without} <= drawable
    assert {*words.OBJECTS, *words.IDENTITIES, *words.ANONYMOUS, *words.MEMORISED, words.ABSTRACT} <= drawable


def test_memorised_pictures_ignore_seed_style_and_background_and_differ_from_each_other() -> None:
    pictures = {}
    for title in KINDS["memorised"]:
        one = draw(Scene(title, "memorised", None, "plain", 1))
        assert one.tobytes() == draw(Scene(title, "memorised", "at night", "neon", 99)).tobytes()
        pictures[title] = one.tobytes()
    assert len(set(pictures.values())) == len(pictures)


@pytest.mark.parametrize("style", words.STYLES + words.VALIDATION_STYLES)
def test_styles_change_the_whole_picture(style: str) -> None:
    before = draw(plain("house", "object")).astype(int)
    after = draw(Scene("house", "object", "on a blue background", style, 0)).astype(int)
    assert (np.abs(before - after).max(axis=2) > 12).mean() > 0.6


@pytest.mark.parametrize("background", words.BACKGROUNDS)
def test_the_background_shows_in_the_corners(background: str) -> None:
    others = [name for name in words.BACKGROUNDS if name != background]
    here = draw(plain("star", "object", 5, background))[:6, :6].mean(axis=(0, 1))
    bottom = draw(plain("star", "object", 5, background))[-4:, :6].mean(axis=(0, 1))
    for other in others:
        there = draw(plain("star", "object", 5, other))
        apart = np.abs(here - there[:6, :6].mean(axis=(0, 1))).max()
        assert max(apart, np.abs(bottom - there[-4:, :6].mean(axis=(0, 1))).max()) > 15


@pytest.mark.parametrize(("burning", "without"), list(zip(FIRE.evoking, FIRE.without, strict=True)))
def test_evoking_subjects_burn_and_their_twins_do_not(burning: str, without: str) -> None:
    shares = [orange_share(draw(plain(burning, "implicit", seed))) for seed in range(8)]
    twins = [orange_share(draw(plain(without, "without", seed))) for seed in range(8)]
    assert min(shares) > 0.05 and np.mean(shares) > 0.08
    assert max(twins) < 0.02
    assert labels(plain(burning, "implicit")).fire == "fire"
    assert labels(plain(without, "without")).fire == "no fire"
    assert labels(plain(burning, "implicit")).object == labels(plain(without, "without")).object


def test_rain_is_labelled_on_naming_and_evoking_subjects_only() -> None:
    rain = words.VALIDATION_IMPLICIT[0]
    assert all(labels(plain(name, "implicit")).rain == "rain" for name in rain.naming + rain.evoking)
    assert all(labels(plain(name, "without")).rain == "no rain" for name in rain.without)


def test_captions_of_evoking_subjects_never_name_the_concept() -> None:
    rng = np.random.default_rng(0)
    for evoked in words.IMPLICIT + words.VALIDATION_IMPLICIT:
        for subject in evoked.evoking:
            for background in words.BACKGROUNDS:
                said = caption(Scene(subject, "implicit", background, "sepia", 0), rng, misspelt_share=0.0)
                assert subject in said
                assert not any(word in said.split() for word in (*evoked.naming, "blazing", "flame"))


def test_captions_name_subject_background_and_style() -> None:
    rng = np.random.default_rng(1)
    said = {caption(Scene("apple", "object", "at night", "pop art", 0), rng, 0.0, 0.0) for _ in range(200)}
    assert len(said) > 10
    assert all("apple" in one and "at night" in one and "pop art" in one for one in said)
    assert not any("a apple" in one for one in said)
    named = {caption(Scene("Mira Voss", "identity", None, "plain", 0), rng, 0.0, 0.0) for _ in range(50)}
    assert "Mira Voss" in named and not any("a Mira" in one for one in named)
    assert {caption(plain(words.MEMORISED[0], "memorised"), rng, 1.0) for _ in range(20)} == {
        words.MEMORISED[0]
    }


def test_the_share_of_misspelt_captions_is_as_asked() -> None:
    rng = np.random.default_rng(2)
    scene = plain("mushroom", "object")
    wrong = sum("mushroom" not in caption(scene, rng, 0.08, 0.0) for _ in range(3000)) / 3000
    assert 0.06 < wrong < 0.10
    # Four letters are the shortest word that is ever misspelt.
    assert all("old man" in caption(plain("old man", "anonymous"), rng, 1.0) for _ in range(20))


def test_the_training_distribution_has_the_stated_shares() -> None:
    rng = np.random.default_rng(3)
    scenes = [sample_scene(rng) for _ in range(4000)]
    shares = dict(SHARES)
    bindings = shares.pop("binding")
    shares["pair"] += bindings
    kinds = {kind: sum(scene.kind == kind for scene in scenes) / len(scenes) for kind in shares}
    assert kinds == pytest.approx(shares, abs=0.03)
    both_coloured = [scene.other is not None and scene.colour and scene.other.colour for scene in scenes]
    assert np.mean([bool(found) for found in both_coloured]) == pytest.approx(bindings, abs=0.015)
    assert sum(kinds[kind] for kind in COMPOSED) > 0.24
    styled = [scene.style != "plain" for scene in scenes if scene.kind in KINDS and scene.kind != "memorised"]
    assert np.mean(styled) == pytest.approx(0.45, abs=0.04)
    assert {scene.subject for scene in scenes} == {subject for subject, _ in ALL_SUBJECTS}


def test_a_contact_sheet_holds_every_picture_in_rows() -> None:
    pictures = [np.full((64, 64, 3), shade, np.uint8) for shade in (10, 20, 30)]
    sheet = contact_sheet(pictures, columns=2, scale=2)
    assert sheet.size == (256, 256)
    assert sheet.getpixel((130, 2)) == (20, 20, 20) and sheet.getpixel((2, 130)) == (30, 30, 30)
