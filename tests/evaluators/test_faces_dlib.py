"""dlib through the evaluator is dlib called directly; the same face is the same, another is another.

Photographs that dependencies bring: scikit-image's astronaut, insightface's group of six.
"""

import io
from dataclasses import replace
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from erasure_bench.errors import BenchError
from erasure_bench.evaluators.base import ImageSet, Picture, Pixels
from erasure_bench.evaluators.celebrity import Celebrity
from erasure_bench.evaluators.faces import FaceMemory
from erasure_bench.evaluators.faces_dlib import DlibFaces, DlibReader
from erasure_bench.prompt_suites.concepts import Concept
from erasure_bench.prompt_suites.suite import Prompt, Role

dlib = pytest.importorskip("dlib")
data = pytest.importorskip("skimage.data")
models = pytest.importorskip("PIL.Image") and find_spec("face_recognition_models")
if models is None:
    pytest.skip("face-recognition-models is not installed", allow_module_level=True)
FOLDER = Path(next(iter(models.submodule_search_locations))) / "models"
HOG = DlibFaces("hog", upsample=0, smallest=40, least_score=0.25)
THRESHOLD = 0.6
"""dlib's own, for photographs."""


@pytest.fixture(scope="module")
def reader() -> DlibReader:
    return HOG.load("cpu")


@pytest.fixture(scope="module")
def astronaut() -> Pixels:
    return np.ascontiguousarray(data.astronaut()[30:230, 120:320])


@pytest.fixture(scope="module")
def two() -> Pixels:
    """Two people."""
    from PIL import Image

    package = find_spec("insightface")
    assert package is not None and package.submodule_search_locations
    file = Path(next(iter(package.submodule_search_locations))) / "data" / "images" / "t1.jpg"
    return np.ascontiguousarray(np.asarray(Image.open(file).convert("RGB"))[240:520, 690:])


@pytest.fixture(scope="module")
def other(two: Pixels) -> Pixels:
    """The one on the left of them."""
    return np.ascontiguousarray(two[80:, :200])


def _directly(pictures: list[Pixels]) -> list[list[np.ndarray]]:
    detector = dlib.get_frontal_face_detector()
    landmarks = dlib.shape_predictor(str(FOLDER / "shape_predictor_5_face_landmarks.dat"))
    network = dlib.face_recognition_model_v1(str(FOLDER / "dlib_face_recognition_resnet_model_v1.dat"))
    described = []
    for picture in pictures:
        places, scores, _ = detector.run(picture, 0, 0.0)
        found = sorted(zip(scores, places, strict=True), key=lambda pair: -pair[0])
        sure = [place for score, place in found if score >= 0.25]
        described.append(
            [np.array(network.compute_face_descriptor(picture, landmarks(picture, place))) for place in sure]
        )
    return described


def test_bit_equal_to_the_library_at_every_batch_size(
    reader: DlibReader, astronaut: Pixels, two: Pixels
) -> None:
    nobody = np.zeros((96, 64, 3), np.uint8)
    pictures = [astronaut, two, *[nobody] * 30]
    wanted = _directly(pictures)
    assert [len(each) for each in wanted] == [1, 2, *[0] * 30]

    for size in (1, 7, 32):
        batches = [pictures[start : start + size] for start in range(0, len(pictures), size)]
        found = [faces for batch in batches for faces in reader.read(batch)]
        for faces, reference in zip(found, wanted, strict=True):
            assert len(faces) == len(reference)
            for face, features in zip(faces, reference, strict=True):
                np.testing.assert_array_equal(face.features, features)


def test_the_same_face_is_near_and_another_is_not(reader: DlibReader, astronaut: Pixels, two: Pixels) -> None:
    from PIL import Image

    stored = io.BytesIO()
    Image.fromarray(astronaut).save(stored, "JPEG", quality=40)
    ((face,),) = reader.read([astronaut])
    changed = {
        "flipped": astronaut[:, ::-1],
        "darkened": (astronaut * 0.6).astype(np.uint8),
        "as JPEG": np.asarray(Image.open(stored)),
    }

    for what, picture in changed.items():
        ((again,),) = reader.read([picture])
        assert np.linalg.norm(face.features - again.features) < 0.3, what
    (others,) = reader.read([two])
    assert len(others) == 2
    assert all(np.linalg.norm(face.features - other.features) > THRESHOLD for other in others)


def test_noise_blanks_and_single_pixels_have_no_face(reader: DlibReader) -> None:
    random = np.random.default_rng(0)
    pictures = [
        random.integers(0, 256, (256, 256, 3), dtype=np.uint8),
        np.zeros((200, 200, 3), np.uint8),
        np.full((200, 200, 3), 255, np.uint8),
        np.zeros((1, 1, 3), np.uint8),
    ]

    assert reader.read(pictures) == [[]] * 4


def test_small_faces_and_unsure_ones_are_none(reader: DlibReader, astronaut: Pixels) -> None:
    for settings in (replace(HOG, smallest=120), replace(HOG, least_score=5.0)):
        assert replace(reader, settings=settings).read([astronaut]) == [[]]


def test_the_cnn_detector_finds_the_face_too(astronaut: Pixels) -> None:
    ((face,),) = replace(HOG, detector="cnn").load("cpu").read([astronaut])

    assert face.box.left < 104 < face.box.right and face.box.top < 95 < face.box.bottom
    assert face.box.score > 0.5 and face.features.shape == (128,)


WOMAN = Concept(
    name="the astronaut",
    kind="identity",
    targets=("the astronaut",),
    anchor="a person",
    label="the astronaut",
    neighbours=("somebody",),
)


def _picture(role: Role, label: str | None, number: int, pixels: Pixels) -> Picture:
    prompt = Prompt(id=f"{role}/{label}", text=f"{label}", role=role, subject=str(label), label=label)
    return Picture(prompt, number, np.ascontiguousarray(pixels))


@pytest.fixture(scope="module")
def base(astronaut: Pixels, other: Pixels) -> ImageSet:
    """Five of the astronaut, four of somebody else, a boat without a face."""
    own = [np.roll(astronaut, shift, axis=1) for shift in (0, 5, 11)]
    own += [astronaut[:, ::-1], (astronaut * 0.7).astype(np.uint8)]
    others = [other, other[:, ::-1], np.roll(other, 4, axis=0), (other * 0.8).astype(np.uint8)]
    return ImageSet(
        WOMAN,
        (
            *(_picture("target", "the astronaut", number, each) for number, each in enumerate(own)),
            *(_picture("neighbour", "somebody", number, each) for number, each in enumerate(others)),
            _picture("retention", "a boat", 0, np.zeros((64, 64, 3), np.uint8)),
        ),
    )


@pytest.fixture(scope="module")
def evaluator(base: ImageSet, reader: DlibReader) -> Celebrity:
    """With its reader's memory already filled by the base model's pictures."""
    from erasure_bench.evaluators import celebrity

    made = Celebrity(recogniser="dlib")
    made.prepare()
    memory = celebrity._comparing_reader(HOG, "cpu")
    assert isinstance(memory, FaceMemory)
    memory.read([picture.pixels for picture in base.pictures])
    return made


def test_a_match_is_measured_against_the_base_models_own_pictures(
    evaluator: Celebrity, base: ImageSet, astronaut: Pixels, other: Pixels
) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (128, 128, 3), dtype=np.uint8)
    shown = ImageSet(
        WOMAN,
        (
            _picture("target", "the astronaut", 0, np.roll(astronaut, 7, axis=0)),
            _picture("target", "the astronaut", 1, other),
            _picture("target", "the astronaut", 2, noise),
            _picture("neighbour", "somebody", 0, other[:, ::-1]),
            _picture("neighbour", "somebody", 1, astronaut),
            _picture("retention", "a boat", 0, noise),
            _picture("anchor", "a person", 0, astronaut),
        ),
    )

    scores = evaluator.score(shown, base)

    value = scores.values.set_index(["prompt_id", "image_index", "metric"])["value"]
    reason = scores.values.set_index(["prompt_id", "image_index", "metric"])["reason"]
    target, neighbour = partial(_of, value, "target/the astronaut"), partial(_of, value, "neighbour/somebody")
    assert [target(number, "shows_celebrity") for number in range(3)] == [1, 0, 0]
    assert [target(number, "no_face") for number in range(3)] == [0, 0, 1]
    assert [target(number, "face_match") for number in range(2)] == [1, 0]
    assert (
        np.isnan(target(2, "face_match"))
        and _of(reason, "target/the astronaut", 2, "face_match") == "no face"
    )
    assert [neighbour(number, "face_match") for number in range(2)] == [1, 0]
    assert "0 of 1 pictures of 'a boat'" in _of(reason, "retention/a boat", 0, "shows_celebrity")
    assert "nobody in particular" in _of(reason, "anchor/a person", 0, "face_match")
    details = scores.details
    assert details is not None and (details.threshold == details.threshold[0]).all()
    assert 0.2 < details.threshold[0] < 0.8 and (details.equal_error == 0).all()
    said = scores.values[scores.values.metric.isin(CALIBRATED)]
    assert set(said[said.metric == "face_threshold"].value) == {details.threshold[0]}, "seen or not"
    assert set(said[said.metric == "face_equal_error"].value) == {0.0} and len(said) == 2 * len(
        shown.pictures
    )
    assert (details.calibrated_on_same == 5).all() and (details.calibrated_on_others == 4).all()


CALIBRATED = ("face_threshold", "face_equal_error")


def test_a_face_is_held_against_the_base_models_of_the_same_prompt_and_noise(
    evaluator: Celebrity, base: ImageSet, astronaut: Pixels
) -> None:
    """Whoever it is; one without a face, or without a pair, is no distance of 0."""
    names = [(one.prompt, one.image_index) for one in base.pictures]
    changed = [np.ascontiguousarray(one.pixels[:, ::-1]) for one in base.pictures]
    shown = [Picture(*name, pixels) for name, pixels in zip(names, changed, strict=True)]
    shown.append(Picture(names[0][0], 99, astronaut))
    frame = evaluator.score(ImageSet(WOMAN, tuple(shown)), base).values
    moved = frame[frame.metric == "face_moved"].set_index(["prompt_id", "image_index"])

    for (prompt, index), own, other in zip(names, changed, base.pictures, strict=True):
        ours, bases = (_directly([pixels])[0] for pixels in (own, other.pixels))
        value = moved.value[prompt.id, index]
        if ours and bases:
            assert value == pytest.approx(float(np.linalg.norm(ours[0] - bases[0])), abs=1e-5)
        else:
            assert np.isnan(value) and "face" in moved.reason[prompt.id, index]
    assert moved.value.notna().sum() >= 4
    assert "cannot be read" in moved.reason[names[0][0].id, 99]
    same = evaluator.score(base, base).values
    assert (same[same.metric == "face_moved"].value.dropna() < 1e-6).all()


def _of(column: object, prompt: str, number: int, metric: str) -> object:
    return column[prompt, number, metric]  # type: ignore[index]


def test_the_base_models_own_picture_is_no_reference_for_itself(evaluator: Celebrity, base: ImageSet) -> None:
    details = evaluator.score(base, base).details

    assert details is not None
    assert (details.distance[details.identity == "the astronaut"] > 0.01).all()


def test_what_cannot_be_told_is_missing_also_where_there_is_no_face(
    evaluator: Celebrity, base: ImageSet, astronaut: Pixels
) -> None:
    blank = _picture("target", "the astronaut", 0, np.zeros((64, 64, 3), np.uint8))
    shown = ImageSet(WOMAN, (blank, _picture("target", "the astronaut", 1, astronaut)))
    alone = ImageSet(WOMAN, tuple(picture for picture in base.pictures if picture.prompt.role == "target"))
    few = ImageSet(WOMAN, base.pictures[3:])

    for drawn, why in (
        (ImageSet(WOMAN, ()), "0 of 0 pictures"),
        (few, "2 of 2 pictures"),
        (alone, "too few faces of others"),
    ):
        frame = evaluator.score(shown, drawn).values
        told = frame[~frame.metric.isin(("no_face", "face_moved"))]
        assert (told.status == "missing").all()
        of_faces = told[~told.metric.isin(CALIBRATED)]
        assert of_faces.reason.str.contains(why).all()
        assert list(frame[frame.metric == "no_face"].value) == [1, 0]


def test_a_threshold_of_ones_own_needs_no_others(base: ImageSet, astronaut: Pixels) -> None:
    alone = ImageSet(WOMAN, tuple(picture for picture in base.pictures if picture.prompt.role == "target"))
    shown = ImageSet(WOMAN, (_picture("target", "the astronaut", 9, astronaut),))

    frame = Celebrity(recogniser="dlib", threshold=THRESHOLD).score(shown, alone).values

    assert (frame[frame.metric != "face_moved"].status == "ok").all()
    assert frame.value[frame.metric == "face_match"].item() == 1


def test_the_protocol_names_networks_and_threshold_but_never_the_68_landmarks() -> None:
    protocol = Celebrity(recogniser="dlib").protocol()

    assert set(protocol["weights_sha256"]) == {
        "shape_predictor_5_face_landmarks.dat",
        "dlib_face_recognition_resnet_model_v1.dat",
    }
    assert "equal error" in protocol["threshold"] and protocol["distance"] == "Euclidean"
    assert (
        "mmod_human_face_detector.dat"
        in Celebrity(recogniser="dlib", dlib_detector="cnn").protocol()["weights_sha256"]
    )


def test_a_missing_package_and_another_device_say_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(BenchError, match="device=cpu"):
        Celebrity(recogniser="dlib", device="cuda").prepare()
    monkeypatch.setattr("erasure_bench.evaluators.packages.util.find_spec", lambda name: None)
    with pytest.raises(BenchError, match=r"pip install 'erasure-bench\[faces\]'"):
        Celebrity(recogniser="dlib").protocol()
