"""What holds for every recogniser, and the built-in world's, which needs nothing to be fetched."""

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from erasure_bench.errors import BenchError
from erasure_bench.evaluators.base import ImageSet, Picture
from erasure_bench.evaluators.celebrity import Celebrity
from erasure_bench.evaluators.faces_nudenet import NudeNetFaces
from erasure_bench.evaluators.registry import build_evaluator
from erasure_bench.evaluators.wanted_faces import wanted_names
from erasure_bench.models.microworld.drawing import draw, labels, sample_scene
from erasure_bench.prompt_suites.concepts import Concept
from erasure_bench.prompt_suites.suite import Prompt, Role

MIRA, THEO = "identity/Mira Voss", "identity/Theo Lark"
CONCEPT = Concept(
    name="Mira Voss",
    kind="identity",
    targets=("Mira Voss",),
    anchor="a person",
    label=MIRA,
    neighbours=("Theo Lark",),
)


def _picture(role: Role, label: str | None, number: int, pixels: np.ndarray) -> Picture:
    prompt = Prompt(id=f"{role}/{label}", text=str(label), role=role, subject=str(label), label=label)
    return Picture(prompt, number, pixels)


@pytest.fixture(scope="module")
def portraits() -> dict[str, list[np.ndarray]]:
    """Six plain drawings each of two people, 64 × 64."""
    random, found = np.random.default_rng(0), {"Mira Voss": [], "Theo Lark": []}  # type: ignore[var-annotated]
    while min(map(len, found.values())) < 6:
        scene = sample_scene(random)
        shown = labels(scene)
        if shown.identity in found and shown.style == "plain" and len(found[shown.identity]) < 6:
            found[shown.identity].append(np.asarray(draw(scene)))
    return found


@pytest.fixture(scope="module")
def oracle() -> Celebrity:
    evaluator = build_evaluator("celebrity", "microworld")
    assert isinstance(evaluator, Celebrity)
    try:
        evaluator.prepare()
    except BenchError as error:
        pytest.skip(str(error))
    return evaluator


def test_the_built_in_people_are_known(oracle: Celebrity, portraits: dict[str, list[np.ndarray]]) -> None:
    shown = [_picture("target", None, number, each) for number, each in enumerate(portraits["Mira Voss"])]
    shown += [
        _picture("target", None, 6 + number, each) for number, each in enumerate(portraits["Theo Lark"])
    ]
    shown += [_picture("neighbour", THEO, number, each) for number, each in enumerate(portraits["Theo Lark"])]

    frame = oracle.score(ImageSet(CONCEPT, tuple(shown))).values

    faces = 1 - frame[frame.metric == "no_face"].value.to_numpy()
    top = frame[frame.metric == "identity_top1"].value.to_numpy()
    of_all = frame[frame.metric == "shows_celebrity"].value.to_numpy()
    whose = np.array([1] * 6 + [0] * 6 + [1] * 6)
    assert faces.mean() > 0.8
    np.testing.assert_array_equal(top[faces == 1], whose[faces == 1])
    assert np.isnan(top[faces == 0]).all()
    np.testing.assert_array_equal(of_all, whose * faces)


def test_nothing_without_a_face_is_taken_for_anybody(oracle: Celebrity) -> None:
    """Noise, blanks, one pixel, grey: without a face they show nobody, and only that is said of them."""
    random = np.random.default_rng(0)
    blank = np.zeros((64, 64, 3), np.uint8)
    empty = [
        random.integers(0, 256, (64, 64, 3), dtype=np.uint8),
        blank,
        blank + 255,
        blank[:1, :1],
        blank + 90,
    ]
    shown = ImageSet(
        CONCEPT, tuple(_picture("target", None, number, each) for number, each in enumerate(empty))
    )

    frame = oracle.score(shown).values.set_index(["metric", "image_index"])

    assert (frame.loc["no_face"].value == 1).all() and (frame.loc["shows_celebrity"].value == 0).all()
    for metric in ("identity_probability", "identity_top1"):
        assert (frame.loc[metric].status == "missing").all() and (frame.loc[metric].reason == "no face").all()


def test_an_unknown_face_is_missing_in_pictures_without_one_too(
    oracle: Celebrity, portraits: dict[str, list[np.ndarray]]
) -> None:
    boat = replace(CONCEPT, label="object/boat", name="a boat", targets=("a boat",))
    pixels = [portraits["Mira Voss"][0], np.zeros((64, 64, 3), np.uint8)]
    shown = ImageSet(
        boat, tuple(_picture("target", None, number, each) for number, each in enumerate(pixels))
    )

    frame = oracle.score(shown).values

    told = frame[frame.metric != "no_face"]
    assert (told.status == "missing").all() and told.reason.str.contains("'object/boat'").all()


def test_every_batch_size_gives_what_detector_and_oracle_give_directly(
    oracle: Celebrity, portraits: dict[str, list[np.ndarray]]
) -> None:
    nudenet = pytest.importorskip("nudenet")
    from erasure_bench.evaluators.classifier import ClassProbability

    drawn = [each for several in portraits.values() for each in several]
    shown = ImageSet(
        CONCEPT, tuple(_picture("target", None, number, each) for number, each in enumerate(drawn))
    )
    detector = nudenet.NudeDetector()
    larger = [
        np.asarray(Image.fromarray(each).resize((320, 320), Image.Resampling.LANCZOS)) for each in drawn
    ]
    faced = [any(found["class"].startswith("FACE") for found in detector.detect(each)) for each in larger]
    classifier = ClassProbability(model="microworld").score(shown).values
    directly = classifier[classifier.metric == "class_probability"].value.to_numpy()

    for size in (1, 7, 32):
        frame = replace(oracle, batch_size=size).score(shown).values

        assert list(frame[frame.metric == "no_face"].value == 0) == faced
        found = frame[frame.metric == "identity_probability"].value.to_numpy()
        np.testing.assert_allclose(found, np.where(faced, directly, np.nan), atol=1e-5)


def test_whom_a_prompt_asks_for() -> None:
    one = Prompt(id="a", text="", role="target", subject="a smile", label="Somebody Else")
    kept = replace(one, role="neighbour")
    many = replace(CONCEPT, name="ten celebrities", label=None)

    assert wanted_names(CONCEPT, one)[0] == MIRA
    assert wanted_names(many, one)[0] == "Somebody Else"
    assert wanted_names(CONCEPT, kept) == ("Somebody Else", "a smile")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"recogniser": "dlib", "pack": "x"}, "pack has no effect with recogniser=dlib"),
        ({"recogniser": "giphy", "threshold": "0.5"}, "threshold has no effect with recogniser=giphy"),
        ({"upsample": "1"}, "upsample has no effect with recogniser=insightface"),
        ({"recogniser": "dlib", "threshold": "0"}, "a distance above 0"),
        ({"recogniser": "oracle", "least_score": "0.1"}, "NudeNet keeps nothing below"),
        ({"recogniser": "giphy", "detector": "nudenet", "least_score": "0.1"}, "NudeNet keeps nothing below"),
        ({"recogniser": "giphy", "least_score": "70"}, r"least_score must lie in \[0, 1\].*got 70"),
        ({"recogniser": "insightface", "least_score": "50"}, r"least_score must lie in \[0, 1\].*got 50"),
        ({"recogniser": "dlib", "least_score": "25"}, r"least_score must lie in \[-5, 5\].*got 25"),
        ({"recogniser": "dlib", "least_score": "nan"}, "least_score must lie in"),
        ({"recogniser": "facenet"}, "recogniser"),
    ],
)
def test_settings_that_mean_nothing_are_refused(options: dict[str, str], words: str) -> None:
    with pytest.raises(BenchError, match=words):
        build_evaluator("celebrity", None, options)


def test_an_oracle_must_be_named_and_know_faces(tmp_path: object) -> None:
    with pytest.raises(BenchError, match="celebrity.model=NAME"):
        Celebrity(recogniser="oracle").prepare()
    with pytest.raises(BenchError, match="oracle.json missing"):
        Celebrity(recogniser="oracle", model=str(tmp_path)).prepare()
    with pytest.raises(BenchError, match="'microwrld' is neither .*celebrity.model=NAME"):
        Celebrity(recogniser="oracle", model="microwrld").protocol()


def test_nudenets_faces_lie_where_they_are_in_small_and_large_pictures() -> None:
    data = pytest.importorskip("skimage.data")
    astronaut = data.astronaut()[:400, :400]
    small = np.asarray(Image.fromarray(astronaut).resize((160, 160), Image.Resampling.LANCZOS))

    ((large,), (little,)) = NudeNetFaces(0.25).load("cpu").find([astronaut, small])

    assert large.left < 224 < large.right and large.top < 125 < large.bottom
    np.testing.assert_allclose(np.array(little[:4]) * 2.5, large[:4], atol=12)
