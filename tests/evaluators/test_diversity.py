"""One good picture for everything is seen, and different pictures of one thing are not taken for it."""

from collections.abc import Callable

import numpy as np
import pytest

from erasure_bench.evaluators.base import ImageSet, Picture, Pixels
from erasure_bench.evaluators.diversity import Diversity
from erasure_bench.prompt_suites.concepts import Concept
from erasure_bench.prompt_suites.suite import Prompt

CONCEPT = Concept(name="cat", kind="object", targets=("cat",), anchor="dog")


def share(*pictures: tuple[str, Pixels], same_prompt: bool = True) -> float:
    shown = tuple(
        Picture(Prompt(id=name, text="a cat", role="target", subject="cat"), place, pixels)
        for place, (name, pixels) in enumerate(pictures)
    )
    scores = Diversity(same_prompt=same_prompt).score(ImageSet(CONCEPT, shown)).values
    assert (scores.status == "ok").all()
    return float(scores.value.mean())


@pytest.fixture(scope="module")
def drawings() -> list[Pixels]:
    from erasure_bench.models.microworld.drawing import draw, sample_scene

    random = np.random.default_rng(7)
    return [np.asarray(draw(sample_scene(random))) for _ in range(60)]


@pytest.mark.parametrize(
    "how",
    [
        lambda pixels: np.clip(pixels + np.random.default_rng(0).normal(0, 10, pixels.shape), 0, 255),
        lambda pixels: np.roll(pixels, 1, axis=1),
        lambda pixels: pixels // 8 * 8,
    ],
)
def test_copies_with_a_difference_are_copies(
    drawings: list[Pixels], how: Callable[[Pixels], np.ndarray]
) -> None:
    first, copy = drawings[0], how(drawings[0]).astype(np.uint8)

    assert share(*((f"p{i}", copy if i else first) for i in range(6))) == 1


def test_different_drawings_are_no_copies(drawings: list[Pixels]) -> None:
    assert share(*((f"p{i}", pixels) for i, pixels in enumerate(drawings))) <= 0.05


def test_one_picture_for_every_noise_of_a_prompt_is_seen(drawings: list[Pixels]) -> None:
    """Each prompt with a picture of its own, the same for all 20 noises: nothing is drawn but these."""
    assert share(*[("a", drawings[0])] * 20) == 1
    assert share(*[("a", drawings[0])] * 10, *[("b", drawings[1])] * 10) == 1
    assert share(("a", drawings[0]), ("a", drawings[1]), ("b", drawings[2])) == 0


def test_without_them_one_prompts_pictures_are_not_held_against_each_other(drawings: list[Pixels]) -> None:
    assert share(("a", drawings[0]), ("a", drawings[0]), ("b", drawings[1]), same_prompt=False) == 0
    assert share(("a", drawings[0]), ("b", drawings[0]), same_prompt=False) == 1
    assert Diversity(same_prompt=False).protocol() != Diversity().protocol()


def test_one_picture_alone_repeats_none(drawings: list[Pixels]) -> None:
    assert share(("a", drawings[0])) == 0
