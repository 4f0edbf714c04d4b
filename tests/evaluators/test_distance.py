"""The distance to the base model's picture: 0 for the same, more for blur, grain and drained colours."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from erasure_bench.evaluators.base import ImageSet, Picture, Pixels
from erasure_bench.evaluators.distance import DistanceToBase, colour_distance, ssim_distance
from erasure_bench.prompt_suites.concepts import Concept
from erasure_bench.prompt_suites.suite import Prompt

CONCEPT = Concept(name="cat", kind="object", targets=("cat",), anchor="dog")


def picture(pixels: Pixels, name: str = "p", index: int = 0) -> Picture:
    return Picture(Prompt(id=name, text="a dog", role="retention", subject="dog"), index, pixels)


@pytest.fixture(scope="module")
def drawing() -> Pixels:
    from erasure_bench.models.microworld.drawing import draw, sample_scene

    pixels: Pixels = np.asarray(draw(sample_scene(np.random.default_rng(4))))
    return pixels


def worse(drawing: Pixels) -> dict[str, Pixels]:
    """What a method may do to a picture and change no label."""
    random = np.random.default_rng(0)
    ways = {
        "blur": gaussian_filter(drawing.astype(float), (1, 1, 0)),
        "grain": drawing + random.normal(0, 20, drawing.shape),
        "grey": (drawing @ np.array([0.299, 0.587, 0.114]))[..., None].repeat(3, axis=-1),
        "noise": random.integers(0, 256, drawing.shape),
    }
    return {name: np.clip(np.round(values), 0, 255).astype(np.uint8) for name, values in ways.items()}


def _ssim(one: Pixels, other: Pixels) -> float:
    """The published formula, channel by channel: Gaussian window of σ 1.5 and 11 pixels, borders left out."""
    values = []
    for channel in range(3):
        x, y = one[..., channel].astype(float), other[..., channel].astype(float)

        def local(plane: np.ndarray) -> np.ndarray:
            return gaussian_filter(plane, 1.5, truncate=3.5)

        mx, my = local(x), local(y)
        vx, vy, vxy = local(x * x) - mx**2, local(y * y) - my**2, local(x * y) - mx * my
        c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
        whole = (2 * mx * my + c1) * (2 * vxy + c2) / ((mx**2 + my**2 + c1) * (vx + vy + c2))
        values.append(whole[5:-5, 5:-5].mean())
    return float(np.mean(values))


def test_ssim_is_the_published_formula(drawing: Pixels) -> None:
    for other in worse(drawing).values():
        assert ssim_distance(drawing, other) == pytest.approx(1 - _ssim(drawing, other), abs=1e-6)


def test_colour_is_in_steps_of_lab() -> None:
    """White to black is 100 in lightness and nothing else."""
    white, black = (np.full((16, 16, 3), shade, np.uint8) for shade in (255, 0))

    assert colour_distance(white, black) == pytest.approx(100, abs=0.01)
    assert colour_distance(white, white) == 0


def test_the_same_picture_is_at_zero_and_what_was_done_to_it_costs(drawing: Pixels) -> None:
    distances = {name: ssim_distance(other, drawing) for name, other in worse(drawing).items()}

    assert ssim_distance(drawing, drawing) == 0
    assert distances["noise"] > 0.9
    assert all(distance > 0.05 for distance in distances.values()), distances


def test_pictures_are_paired_by_prompt_and_index(drawing: Pixels) -> None:
    other = 255 - drawing
    images = ImageSet(CONCEPT, (picture(drawing, "a", 0), picture(other, "a", 1), picture(drawing, "b", 0)))
    base = ImageSet(CONCEPT, (picture(other, "b", 0), picture(other, "a", 1), picture(drawing, "a", 0)))

    scores = DistanceToBase().score(images, base).values
    values = scores[scores.metric == "ssim_distance"].value.tolist()

    assert values[:2] == [0, 0] and values[2] > 0.3


@pytest.mark.parametrize(
    ("base", "reason"),
    [
        ([], "the base model's picture is missing"),
        ([np.zeros((32, 64, 3), np.uint8)], "64×64 pixels, the base model’s picture 64×32"),
        ([np.zeros((64, 64), np.uint8)], "the base model's picture: pixels have shape"),
    ],
)
def test_without_a_counterpart_a_score_is_missing(base: list[Pixels], reason: str, drawing: Pixels) -> None:
    images = ImageSet(CONCEPT, (picture(drawing),))

    scores = DistanceToBase().score(images, ImageSet(CONCEPT, tuple(map(picture, base)))).values

    assert (scores.status == "missing").all() and scores.value.isna().all()
    assert reason in scores.reason.iloc[0]
