"""Q16 and the union with nudity, against a plain reading of Q16's published classifier.

Random CLIP, random vectors, random pixels: nothing that anybody minds to look at.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from erasure_bench.errors import BenchError
from erasure_bench.evaluators.base import ImageSet
from erasure_bench.evaluators.clip_model import load_clip
from erasure_bench.evaluators.clip_source import OF_OPEN_CLIP, clip_source
from erasure_bench.evaluators.inappropriate import Inappropriate
from erasure_bench.evaluators.nudenet_detector import Detection
from erasure_bench.evaluators.nudenet_networks import NudeNet

open_clip = pytest.importorskip("open_clip")

MakeImages = Callable[..., ImageSet]
WIDTH = 16


def _pixels(count: int) -> list[np.ndarray]:
    """Noise in many tints."""
    random = np.random.default_rng(9)
    noise = random.integers(0, 256, (count, 32, 32, 3))
    return list((noise * random.random((count, 1, 1, 3))).astype(np.uint8))


@pytest.fixture(scope="module")
def prompts(tiny_clip: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two vectors on either side of the pictures' mean, so that some are nearer to each."""
    embedded = load_clip(clip_source(str(tiny_clip))).encode_images(_pixels(32)).numpy()
    mean = embedded.mean(axis=0)
    across = np.linalg.svd(embedded - mean)[2][0]
    across -= mean * (across @ mean) / (mean @ mean)
    file = tmp_path_factory.mktemp("q16") / "prompts.npy"
    np.save(file, np.stack([mean - across * 0.05, mean + across * 0.05]).astype(np.float16))
    return file


def _images(image_set: MakeImages, count: int = 32) -> ImageSet:
    images = image_set(*[("target", None)] * count)
    shown = zip(images.pictures, _pixels(count), strict=True)
    return ImageSet(images.concept, tuple(picture._replace(pixels=pixels) for picture, pixels in shown))


def _published(pixels: list[np.ndarray], folder: Path, prompts: Path) -> tuple[np.ndarray, np.ndarray]:
    """Similarities ·100 of normalised features and prompts: their argmax and softmax, picture by picture."""
    model, _, preprocess = open_clip.create_model_and_transforms(f"local-dir:{folder}")
    model.eval()
    vectors = torch.tensor(np.load(prompts), dtype=torch.float32)
    vectors = vectors / vectors.norm(dim=-1, keepdim=True)
    rows = []
    with torch.no_grad():
        for picture in pixels:
            features = model.encode_image(preprocess(Image.fromarray(picture))[None])
            rows.append((100.0 * features / features.norm(dim=-1, keepdim=True) @ vectors.T).squeeze())
    similarity = torch.stack(rows)
    return similarity.argmax(dim=-1).numpy(), torch.softmax(similarity, dim=-1)[:, 1].numpy()


def _column(frame: Any, metric: str) -> Any:
    return frame[frame.metric == metric].sort_values("image_index")


@pytest.mark.parametrize("batch", [1, 7, 32])
def test_q16_is_the_published_classifier(
    batch: int, tiny_clip: Path, prompts: Path, image_set: MakeImages
) -> None:
    images = _images(image_set)
    flags, probabilities = _published([p.pixels for p in images.pictures], tiny_clip, prompts)

    frame = (
        Inappropriate(backbone=str(tiny_clip), prompts=str(prompts), batch_size=batch).score(images).values
    )

    np.testing.assert_allclose(_column(frame, "q16_probability").value, probabilities, atol=1e-5)
    assert _column(frame, "q16_inappropriate").value.tolist() == flags.tolist()
    assert 0 < flags.sum() < len(flags)


class Scripted:
    """Finds what it is told, picture by picture, by the brightness of the first pixel's red."""

    def __init__(self, answers: dict[int, list[Detection] | Exception]) -> None:
        self.answers = answers

    def detect(self, pixels: list[np.ndarray]) -> list[list[Detection]]:
        found = [self.answers[int(picture[0, 0, 0])] for picture in pixels]
        for answer in found:
            if isinstance(answer, Exception):
                raise answer
        return found  # type: ignore[return-value]


@pytest.mark.parametrize(("parts", "of_belly"), [("strict", 0.0), ("exposed", 1.0)])
def test_either_detector_flags_and_a_failure_is_no_no(
    parts: Any,
    of_belly: float,
    tiny_clip: Path,
    prompts: Path,
    image_set: MakeImages,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import erasure_bench.evaluators.inappropriate as module

    images = image_set(*[("target", None)] * 6)
    for number, picture in enumerate(images.pictures):
        picture.pixels[0, 0, 0] = number
    nothing: list[Detection] = []
    answers: dict[int, list[Detection] | Exception] = {
        0: nothing,
        1: [Detection("BUTTOCKS_EXPOSED", 0.6, 0, 0, 4, 4)],
        2: [Detection("BUTTOCKS_EXPOSED", 0.59, 0, 0, 4, 4), Detection("BELLY_EXPOSED", 0.9, 0, 0, 4, 4)],
        3: nothing,
        4: RuntimeError("cannot see"),
        5: RuntimeError("cannot see"),
    }

    class Q16:
        def probabilities(self, pixels: list[np.ndarray]) -> list[float]:
            return [{3: 0.5, 4: 0.7}.get(int(picture[0, 0, 0]), 0.1) for picture in pixels]

    monkeypatch.setattr(NudeNet, "load", lambda self, device: Scripted(answers))
    monkeypatch.setattr(module, "load_q16", lambda *_: Q16())

    scores = Inappropriate(backbone=str(tiny_clip), prompts=str(prompts), parts=parts).score(images)

    union = _column(scores.values, "inappropriate")
    assert union.value.tolist()[:5] == [0.0, 1.0, of_belly, 0.0, 1.0]
    assert list(union.status) == ["ok"] * 5 + ["missing"] and "cannot see" in union.reason.iloc[5]
    nudity = _column(scores.values, "inappropriate_nudity")
    assert nudity.value.tolist()[:4] == [0.0, 1.0, of_belly, 0.0] and nudity.value.isna().tolist()[4:] == [
        True,
        True,
    ]
    assert scores.details is not None and set(scores.details.label) == {
        "Q16",
        "BUTTOCKS_EXPOSED",
        "BELLY_EXPOSED",
    }


@pytest.mark.parametrize("pixels", [np.zeros((32, 32, 3)), np.full((32, 32, 3), 255), np.full((1, 1, 3), 77)])
def test_blank_and_tiny_pictures_have_the_score_that_is_theirs(
    pixels: np.ndarray, tiny_clip: Path, prompts: Path, image_set: MakeImages
) -> None:
    """Defined, though it means little: what such a picture is worth is `coherence`'s to say."""
    images = image_set(("target", None))
    (picture,) = images.pictures
    shown = ImageSet(images.concept, (picture._replace(pixels=pixels.astype(np.uint8)),))

    frame = Inappropriate(backbone=str(tiny_clip), prompts=str(prompts)).score(shown).values

    assert (frame.status == "ok").all() and _column(frame, "inappropriate_nudity").value.item() == 0
    flags, probabilities = _published([shown.pictures[0].pixels], tiny_clip, prompts)
    assert _column(frame, "q16_probability").value.item() == pytest.approx(float(probabilities[0]), abs=1e-5)


def test_the_protocol_names_both_detectors(tiny_clip: Path, prompts: Path) -> None:
    protocol = Inappropriate(backbone=str(tiny_clip), prompts=str(prompts)).protocol()

    assert protocol["nudity_detector"] == "nudenet-3.4.2-320n" and protocol["nudity_parts"] == "strict"
    assert protocol["resize"] == OF_OPEN_CLIP
    assert len(protocol["q16_prompts_sha256"]) == len(protocol["weights_sha256"]) == 64


@pytest.mark.parametrize("detector", ["320n", "640m", "v3.0", "v2"])
def test_the_detectors_weights_are_called_as_this_evaluator_calls_them(
    detector: Any, tiny_clip: Path, prompts: Path, tmp_path: Path
) -> None:
    """`weights` are CLIP's here: who followed such a line would hand it NudeNet's file."""
    given = {"backbone": str(tiny_clip), "prompts": str(prompts), "detector": detector}
    nowhere = Inappropriate(**given, detector_weights=str(tmp_path / "nowhere.onnx"))
    with pytest.raises(BenchError, match="--evaluator-option detector_weights="):
        nowhere.protocol()
    (tmp_path / "wrong.onnx").write_bytes(b"no network")
    with pytest.raises(BenchError) as error:
        Inappropriate(**given, detector_weights=str(tmp_path / "wrong.onnx")).prepare()
    assert "option weights" not in str(error.value)


def test_missing_and_wrong_prompts_say_what_to_do(
    tiny_clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("BENCH_MODELS", raising=False)
    with pytest.raises(BenchError, match=r"prompts.p of ml-research/Q16.*inappropriate\.prompts=FILE"):
        Inappropriate(backbone=str(tiny_clip)).protocol()
    for shape, said in (((2, 7), "another model"), ((3, WIDTH), r"not \[2, width\]")):
        np.save(tmp_path / "wrong.npy", np.ones(shape, np.float32))
        with pytest.raises(BenchError, match=said):
            Inappropriate(backbone=str(tiny_clip), prompts=str(tmp_path / "wrong.npy")).prepare()
    one = np.arange(1, 1 + WIDTH, dtype=np.float32)
    for vectors in ([one, 3 * one], [one, 0 * one], [0 * one, one]):
        np.save(tmp_path / "wrong.npy", np.stack(vectors))
        with pytest.raises(BenchError, match="no picture would ever be nearer to the second"):
            Inappropriate(backbone=str(tiny_clip), prompts=str(tmp_path / "wrong.npy")).prepare()
    for wrong in ({"parts": "some"}, {"detector": "v9"}, {"threshold": 0.1}, {"batch_size": 0}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            Inappropriate(**wrong)  # type: ignore[arg-type]
