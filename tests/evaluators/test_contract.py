"""Every registered evaluator keeps the contract; a new one needs one line in `tiny_options`."""

import dataclasses
import math
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from pandas.testing import assert_frame_equal

from erasure_bench.errors import BenchError
from erasure_bench.evaluators.base import (
    SCORE_COLUMNS,
    ImageSet,
    Picture,
    Scores,
    compares_with,
    scored,
)
from erasure_bench.evaluators.contract import Trial
from erasure_bench.evaluators.measuring import Failure, unusable
from erasure_bench.evaluators.picture_files import read_folder
from erasure_bench.evaluators.registry import (
    ENTRY_POINTS,
    EVALUATORS,
    build_evaluator,
    evaluator_card,
    evaluator_names,
)
from erasure_bench.evaluators.resizing import is_narrow
from erasure_bench.evaluators.score_frames import MISSING, PictureName, checked_scores
from erasure_bench.evaluators.set_contract import SetRehearsal, check_set_contract
from erasure_bench.evaluators.sets import features_of, is_set_evaluator
from erasure_bench.prompt_suites.concepts import Concept
from erasure_bench.prompt_suites.suite import ROLES

ROLES_AND_LABELS = (
    ("target", None),
    ("anchor", "blue"),
    ("neighbour", "green"),
    ("retention", "red"),
    ("attack", None),
)

NO_RGB = (
    np.zeros((32, 32, 4), np.uint8),
    np.zeros((32, 32), np.uint8),
    np.zeros((32, 32, 3), np.float32),
    np.zeros((32, 32, 3), np.uint16),
)
"""Arrays that are no pixels."""
CONCEPT = Concept(name="red things", kind="object", targets=("red ball",), anchor="blue ball")
OF_SETS = [name for name in EVALUATORS if is_set_evaluator(evaluator_card(name).build)]
OF_PICTURES = [name for name in EVALUATORS if name not in OF_SETS]

MakeImages = Callable[..., ImageSet]
ScoresOf = Callable[[object, ImageSet], Scores]


@pytest.fixture
def tiny_options(
    tiny_clip: Path,
    colour_classifier: tuple[Path, Path],
    whole_picture_detector: Path,
    tiny_judge: Path,
    tmp_path_factory: pytest.TempPathFactory,
    lpips_weights: dict[str, Any],
    copy_descriptor: Path,
    memorized_pictures: Path,
) -> dict[str, dict[str, str]]:
    network, labels = colour_classifier
    vectors = tmp_path_factory.mktemp("q16") / "prompts.npy"
    np.save(vectors, np.random.default_rng(0).normal(size=(2, 16)).astype(np.float32))
    return {
        "clip": {"backbone": str(tiny_clip)},
        "nudity": {},
        "opennsfw": {},
        "inappropriate": {"backbone": str(tiny_clip), "prompts": str(vectors)},
        "classifier": {"model": str(network), "labels": str(labels)},
        "distance": {},
        "quality": {"backbone": str(tiny_clip)},
        "coherence": {},
        "diversity": {},
        "perceptual": {"weights": str(lpips_weights["file"]), "networks": "alex"},
        "memorization": {"model": str(copy_descriptor), "references": str(memorized_pictures)},
        "celebrity": {
            "recogniser": "giphy",
            "detector": str(whole_picture_detector),
            "model": str(network),
            "labels": str(labels),
            "least_score": "0.3",
        },
        "judge": {"model": str(tiny_judge), "others": "false"},
        "fidelity": {"network": "microworld"},
        "cmmd": {"backbone": str(tiny_clip)},
    }


@pytest.fixture
def scores_of(image_set: MakeImages) -> ScoresOf:
    """What an evaluator gives; the base model has drawn more pictures, the first of the same prompts."""
    others = image_set(*[("retention", "red")] * 30, size=(48, 48)).pictures

    def score(evaluator: object, images: ImageSet) -> Scores:
        drawn = image_set(*ROLES_AND_LABELS).pictures
        same = [picture._replace(pixels=np.roll(picture.pixels, 3, axis=1)) for picture in drawn]
        more = [picture._replace(image_index=100 + picture.image_index) for picture in others]
        scores = scored(evaluator, images, ImageSet(images.concept, (*same, *more)))  # type: ignore[arg-type]
        assert isinstance(scores, Scores)
        return scores

    return score


def _settings(name: str) -> set[str]:
    return {field.name for field in dataclasses.fields(evaluator_card(name).build)}


def _protocol(evaluator: Any) -> dict[str, Any]:
    """All that decides whether two numbers can be compared: of sets its features', too."""
    of_features = evaluator.extractor.protocol() if is_set_evaluator(evaluator) else {}
    return {**evaluator.protocol(), **of_features}


def _batches_of(name: str, size: str) -> dict[str, str]:
    return {"batch_size": size} if "batch_size" in _settings(name) else {}


def test_the_table_of_settings_covers_every_evaluator(tiny_options: dict[str, dict[str, str]]) -> None:
    assert set(tiny_options) == set(EVALUATORS) <= set(evaluator_names())


@pytest.mark.parametrize("name", OF_PICTURES)
def test_one_row_for_each_image_and_metric(
    name: str, tiny_options: dict[str, dict[str, str]], image_set: MakeImages, scores_of: ScoresOf
) -> None:
    images = image_set(*ROLES_AND_LABELS)
    evaluator = build_evaluator(name, options=tiny_options[name])

    frame = scores_of(evaluator, images).values

    metrics = {metric.name: metric for metric in evaluator.metrics}
    assert tuple(frame.columns) == SCORE_COLUMNS
    keys = list(zip(frame.prompt_id, frame.image_index, frame.metric, strict=True))
    wanted = {(p.prompt.id, p.image_index, metric) for p in images.pictures for metric in metrics}
    assert len(keys) == len(wanted) and set(keys) == wanted
    assert (frame.status == "ok").all() and np.isfinite(frame.value).all()
    for metric, value in zip(frame.metric, frame.value.astype(float), strict=True):
        least, most = metrics[metric].bounds
        assert least - 1e-6 <= value <= most + 1e-6


KEEPS_PROPORTIONS = {"cmmd"}
"""Brought to CLIP's size by its shorter side, a single row would fill the memory."""


@pytest.mark.parametrize("name", OF_SETS)
def test_odd_pictures_have_features_or_a_reason(
    name: str, tiny_options: dict[str, dict[str, str]], odd: list[Any], tmp_path: Path
) -> None:
    """What is a picture has finite features, however small or plain; what is none has why, and no zero."""
    for one in odd:
        (tmp_path / one.name).write_bytes(one.data)
    pixels = [*(each for _, each in read_folder(tmp_path)), *NO_RGB]
    evaluator = build_evaluator(name, options=tiny_options[name])
    evaluator.prepare()

    found = features_of(evaluator, pixels)

    for each, features in zip(pixels, found, strict=True):
        if reason := unusable(each):
            assert features == Failure(reason)
        elif name in KEEPS_PROPORTIONS and is_narrow(each):
            assert isinstance(features, Failure) and "too narrow" in features.reason
        else:
            assert not isinstance(features, Failure) and np.isfinite(features).all()
    assert 5 < sum(isinstance(features, Failure) for features in found) < len(found) - 5


@pytest.mark.parametrize("name", OF_PICTURES)
def test_odd_pictures_get_a_score_or_a_reason(
    name: str,
    tiny_options: dict[str, dict[str, str]],
    image_set: MakeImages,
    odd: list[Any],
    tmp_path: Path,
) -> None:
    """One pixel, grey, transparent, 16 bits, damaged: never an exception, never a score of what is none."""
    for one in odd:
        (tmp_path / one.name).write_bytes(one.data)
    pixels = [*(each for _, each in read_folder(tmp_path)), *NO_RGB]
    drawn = image_set(*ROLES_AND_LABELS * 10).pictures
    assert len(drawn) > len(pixels) + 10, "there are good pictures beside the odd ones"
    shown = [picture._replace(pixels=each) for picture, each in zip(drawn, pixels, strict=False)]
    evaluator = build_evaluator(name, options=tiny_options[name])

    def score(images: Sequence[Picture], base: Sequence[Picture]) -> pd.DataFrame:
        concept = image_set().concept
        given = scored(evaluator, ImageSet(concept, tuple(images)), ImageSet(concept, tuple(base)))
        asked = [PictureName(picture.prompt.id, picture.image_index) for picture in images]
        return checked_scores(given, evaluator.metrics, asked).values.set_index("image_index")

    frame = score(shown, drawn)
    for picture in shown:
        if reason := unusable(picture.pixels):
            found = frame.loc[[picture.image_index]]
            assert {*found["status"]} == {MISSING} and {*found["reason"]} == {reason}

    beside_odd = score(drawn, [*shown, *drawn[len(shown) :]])
    if compares_with(evaluator) == "pairs":
        for picture in shown:
            if unusable(picture.pixels):
                assert {*beside_odd.loc[[picture.image_index]]["status"]} == {MISSING}


@pytest.mark.parametrize("name", OF_PICTURES)
def test_the_same_scores_again_and_for_every_batch_size(
    name: str, tiny_options: dict[str, dict[str, str]], image_set: MakeImages, scores_of: ScoresOf
) -> None:
    images = image_set(*ROLES_AND_LABELS)
    once, again, one_by_one = (
        scores_of(build_evaluator(name, options=tiny_options[name] | _batches_of(name, size)), images)
        for size in ("4", "4", "1")
    )

    assert_frame_equal(once.values, again.values, check_exact=True)
    assert_frame_equal(once.values, one_by_one.values, check_exact=False, atol=1e-5)
    assert (once.details is None) == (one_by_one.details is None)
    if once.details is not None and one_by_one.details is not None:
        assert_frame_equal(once.details, one_by_one.details, check_exact=False, atol=1e-5)


@pytest.mark.parametrize("name", OF_PICTURES)
@pytest.mark.parametrize(
    "spoilt",
    [np.zeros((32, 32, 3), np.float32), np.zeros((32, 32), np.uint8), np.zeros((0, 32, 3), np.uint8)],
)
def test_a_bad_picture_is_missing_and_spoils_no_other(
    name: str,
    spoilt: np.ndarray,
    tiny_options: dict[str, dict[str, str]],
    image_set: MakeImages,
    scores_of: ScoresOf,
) -> None:
    images = image_set(*ROLES_AND_LABELS)
    evaluator = build_evaluator(name, options=tiny_options[name])
    good = scores_of(evaluator, images).values
    pictures = list(images.pictures)
    pictures[1] = pictures[1]._replace(pixels=spoilt)

    frame = scores_of(evaluator, ImageSet(images.concept, tuple(pictures))).values

    bad = frame[frame.image_index == 1]
    assert len(bad) == len(evaluator.metrics)
    assert (bad.status == "missing").all() and bad.value.isna().all() and (bad.reason != "").all()
    assert_frame_equal(
        frame[frame.image_index != 1].reset_index(drop=True),
        good[good.image_index != 1].reset_index(drop=True),
        check_exact=False,
        atol=1e-5,
    )


@pytest.mark.parametrize("name", OF_PICTURES)
def test_no_pictures_give_an_empty_frame(
    name: str, tiny_options: dict[str, dict[str, str]], image_set: MakeImages, scores_of: ScoresOf
) -> None:
    scores = scores_of(build_evaluator(name, options=tiny_options[name]), image_set())

    assert tuple(scores.values.columns) == SCORE_COLUMNS and len(scores.values) == 0


@pytest.mark.parametrize("name", EVALUATORS)
def test_the_protocol_is_text_and_numbers_and_ignores_batch_size(
    name: str, tiny_options: dict[str, dict[str, str]]
) -> None:
    protocol, other = (
        _protocol(build_evaluator(name, options=tiny_options[name] | _batches_of(name, size)))
        for size in ("2", "8")
    )

    assert protocol == other
    assert "absent" not in protocol.values()
    without_weights = all(not key.startswith("weights") for key in _settings(name))
    named = ("pretrained", "weights_file")
    assert without_weights or any(key in named or key.endswith("_sha256") for key in protocol)
    paths = [option for option in tiny_options[name].values() if Path(option).exists()]
    assert not any(path in str(value) for path in paths for value in protocol.values())


@pytest.mark.parametrize("name", EVALUATORS)
@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"batch_siz": "4"}, ["batch_siz", "batch_size", "--evaluator-option"]),
        ({"batch_size": "many"}, ["batch_size", "many", "--evaluator-option"]),
        ({"batch_size": "0"}, ["batch_size", "at least 1", "--evaluator-option"]),
    ],
)
def test_bad_options_are_refused_clearly(name: str, options: dict[str, str], words: list[str]) -> None:
    if not options.keys() & {"batch_siz"} and "batch_size" not in _settings(name):
        pytest.skip("it measures picture by picture")
    with pytest.raises(BenchError) as refused:
        build_evaluator(name, options=options)

    words = words if "batch_size" in _settings(name) else ["batch_siz", "--evaluator-option"]
    assert all(word in str(refused.value) for word in (name, *words)) and "\n" not in str(refused.value)


@pytest.mark.parametrize("name", EVALUATORS)
def test_the_card_presents_the_evaluator(name: str) -> None:
    card = evaluator_card(name)

    assert card.name == name and card.title and card.paper and card.formula and card.notes and card.requires
    assert "official" in card.presets
    metrics = [build_evaluator(name, preset).metrics for preset in (*card.presets, None, "no such preset")]
    for group in metrics:
        assert len({metric.name for metric in group}) == len(group)
        assert any(metric.headline for metric in group)
        assert all(
            set(metric.better) <= set(ROLES) and metric.bounds[0] < metric.bounds[1] for metric in group
        )
        assert not any(math.isnan(bound) for metric in group for bound in metric.bounds)


@pytest.mark.parametrize("name", OF_SETS)
def test_one_of_sets_keeps_its_contract(
    name: str, tiny_options: dict[str, dict[str, str]], image_set: MakeImages
) -> None:
    prompts = [picture.prompt for picture in image_set(*ROLES_AND_LABELS).pictures]
    trial = Trial(evaluator=name, concept=CONCEPT, prompts=prompts, options=tiny_options[name])
    broken = [check for check in check_set_contract(SetRehearsal(trial)) if check.verdict != "ok"]
    assert broken == []


def test_an_unknown_evaluator_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(BenchError, match="did you mean nudity"):
        build_evaluator("nudty")


def test_another_package_adds_an_evaluator_by_an_entry_point(monkeypatch: pytest.MonkeyPatch) -> None:
    theirs = {"nudity-again": "erasure_bench.evaluators.nudity:CARD"}
    monkeypatch.setattr(
        "erasure_bench.evaluators.registry.offered", lambda group: theirs if group == ENTRY_POINTS else {}
    )

    assert "nudity-again" in evaluator_names()
    assert evaluator_card("nudity-again").name == "nudity"


def test_the_registry_imports_no_heavy_package() -> None:
    heavy = "{'torch', 'onnxruntime', 'open_clip', 'cv2', 'pandas'}"
    code = f"import sys, erasure_bench.evaluators.registry; print({heavy} & set(sys.modules))"

    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout

    assert printed.strip() == "set()"
