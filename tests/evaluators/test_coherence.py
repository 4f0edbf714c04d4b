"""Coherence falls for whatever breaks a picture, by one definition for drawings and for photographs."""

from collections.abc import Callable, Sequence
from functools import cache
from typing import NamedTuple

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from erasure_bench.evaluators.base import ImageSet, Picture, Pixels
from erasure_bench.evaluators.coherence import Coherence
from erasure_bench.evaluators.picture_statistics import SMALLEST, picture_statistics
from erasure_bench.evaluators.reference_range import DIFFERENT, FEWEST, ReferenceRange
from erasure_bench.prompt_suites.concepts import Concept
from erasure_bench.prompt_suites.suite import Prompt

Corruption = Callable[[Pixels, np.random.Generator], Pixels]


def as_pixels(values: np.ndarray) -> Pixels:
    return np.clip(np.round(values), 0, 255).astype(np.uint8)


def grain(sigma: float) -> Corruption:
    return lambda pixels, random: as_pixels(pixels + random.normal(0, sigma, pixels.shape))


def blur(radius: float) -> Corruption:
    return lambda pixels, _: as_pixels(gaussian_filter(pixels.astype(float), (radius, radius, 0)))


def smooth_noise(radius: float) -> Corruption:
    def corrupted(pixels: Pixels, random: np.random.Generator) -> Pixels:
        field = gaussian_filter(random.normal(size=pixels.shape), (radius, radius, 0))
        return as_pixels(128 + 60 * field / field.std())

    return corrupted


def flat(pixels: Pixels, random: np.random.Generator) -> Pixels:
    return np.broadcast_to(random.integers(0, 256, 3), pixels.shape).astype(np.uint8)


def uniform_noise(pixels: Pixels, random: np.random.Generator) -> Pixels:
    return random.integers(0, 256, pixels.shape).astype(np.uint8)


def stripes(width: int) -> Corruption:
    def corrupted(pixels: Pixels, _: np.random.Generator) -> Pixels:
        kept = np.arange(pixels.shape[0]) // width % 2 == 0
        return np.where(kept[:, None, None], pixels, 0).astype(np.uint8)

    return corrupted


def half_black(pixels: Pixels, _: np.random.Generator) -> Pixels:
    kept = np.arange(pixels.shape[1]) < pixels.shape[1] // 2
    return np.where(kept[None, :, None], pixels, 0).astype(np.uint8)


def shuffled(parts: int) -> Corruption:
    def corrupted(pixels: Pixels, random: np.random.Generator) -> Pixels:
        rows = [part for row in np.split(pixels, parts) for part in np.split(row, parts, axis=1)]
        order = random.permutation(len(rows)).reshape(parts, parts)
        return np.concatenate([np.concatenate([rows[i] for i in row], axis=1) for row in order])

    return corrupted


def grey(pixels: Pixels, _: np.random.Generator) -> Pixels:
    return as_pixels((pixels @ np.array([0.299, 0.587, 0.114]))[..., None].repeat(3, axis=-1))


def saturated(pixels: Pixels, _: np.random.Generator) -> Pixels:
    return as_pixels(128 + (pixels.astype(float) - 128) * 3)


def dark(pixels: Pixels, _: np.random.Generator) -> Pixels:
    return as_pixels(pixels * 0.15)


DESTROYED: dict[str, Corruption] = {
    "uniform noise": uniform_noise,
    "grain": grain(40),
    "flat": flat,
    "smooth noise": smooth_noise(4),
    "stripes": stripes(2),
    "half black": half_black,
}
"""After which nobody would call it a picture of that model."""
WORSE: dict[str, Corruption] = {
    "slight grain": grain(10),
    "slight blur": blur(1),
    "blur": blur(2),
    "strong blur": blur(4),
    "saturated": saturated,
    "shuffled": shuffled(8),
    "dark": dark,
}
"""What costs coherence, by how much depends on what the model draws."""

CONCEPT = Concept(name="cat", kind="object", targets=("cat",), anchor="dog")


class World(NamedTuple):
    """Pictures of one source: those that stand for the base model's, and others of the same kind."""

    drawn: tuple[Pixels, ...]
    others: tuple[Pixels, ...]


@cache
def _drawings() -> World:
    from erasure_bench.models.microworld.drawing import draw, sample_scene

    random = np.random.default_rng(0)
    pictures = [np.asarray(draw(sample_scene(random))) for _ in range(90)]
    return World(tuple(pictures[:60]), tuple(pictures[60:]))


def _photographs() -> World:
    data = pytest.importorskip("skimage.data")
    photographs = [data.astronaut(), data.coffee(), data.chelsea(), data.rocket()]
    random = np.random.default_rng(1)

    def crop(number: int) -> Pixels:
        whole = photographs[number % len(photographs)]
        down, across = (int(random.integers(0, side - 127)) for side in whole.shape[:2])
        pixels: Pixels = whole[down : down + 128, across : across + 128, :3]
        return pixels

    return World(tuple(map(crop, range(80))), tuple(map(crop, range(32))))


@pytest.fixture(scope="module", params=[_drawings, _photographs], ids=["drawings", "photographs"])
def world(request: pytest.FixtureRequest) -> World:
    made: World = request.param()
    return made


def images(pixels: Sequence[Pixels], name: str = "p") -> ImageSet:
    return ImageSet(
        CONCEPT,
        tuple(
            Picture(Prompt(id=f"{name}{i}", text="a cat", role="target", subject="cat"), 0, each)
            for i, each in enumerate(pixels)
        ),
    )


def mean(shown: ImageSet, base: ImageSet) -> dict[str, float]:
    scores = Coherence().score(shown, base).values
    assert (scores.status == "ok").all()
    return dict(scores.groupby("metric")["value"].mean())


def corrupted(pixels: Sequence[Pixels], how: Corruption) -> list[Pixels]:
    random = np.random.default_rng(2)
    return [how(each, random) for each in pixels]


def test_the_base_model_is_in_its_own_range_and_so_are_other_pictures_of_the_kind(world: World) -> None:
    base = images(world.drawn)

    own, others = mean(base, base), mean(images(world.others, "other"), base)

    assert own["out_of_range"] <= 0.03 and own["coherence"] > 0.9
    assert others["out_of_range"] <= 0.05 and others["coherence"] > 0.85


@pytest.mark.parametrize("name", DESTROYED)
def test_what_is_destroyed_has_left_the_range(world: World, name: str) -> None:
    shown = mean(images(corrupted(world.others, DESTROYED[name]), "other"), images(world.drawn))

    assert shown["out_of_range"] >= 0.8 and shown["coherence"] < 0.5


@pytest.mark.parametrize("name", WORSE)
def test_what_is_only_worse_costs_coherence(world: World, name: str) -> None:
    base = images(world.drawn)

    shown = mean(images(corrupted(world.others, WORSE[name]), "other"), base)

    assert shown["coherence"] < mean(images(world.others, "other"), base)["coherence"] - 0.15


def test_more_blur_and_more_grain_cost_more() -> None:
    drawings = _drawings()
    base = images(drawings.drawn)

    for ladder in ([blur(1), blur(2), blur(4)], [grain(10), grain(20), grain(40)]):
        values = [mean(images(corrupted(drawings.others, how), "other"), base) for how in ladder]
        assert [each["coherence"] for each in values] == sorted(
            (each["coherence"] for each in values), reverse=True
        )


def test_who_draws_what_the_base_draws_has_its_scores() -> None:
    """Each picture is held against the others: the one of the same prompt and noise would flatter it."""
    base = images(_drawings().drawn)
    some = ImageSet(CONCEPT, base.pictures[10:20])

    scores, own = Coherence().score(some, base).values, Coherence().score(base, base).values

    of_these = own[own.prompt_id.isin([picture.prompt.id for picture in some.pictures])]
    assert list(scores.value) == list(of_these.value)
    again = Coherence().score(images([each.pixels for each in some.pictures], "new"), base).values
    assert again.value[again.metric == "coherence"].mean() > scores.value[scores.metric == "coherence"].mean()


def test_a_memorised_picture_that_comes_back_each_time_does_not_narrow_the_range() -> None:
    drawn = _drawings().drawn
    repeated = (*drawn, *[drawn[0]] * 40)

    alone, with_copies = (
        ReferenceRange.of(np.stack([picture_statistics(each) for each in pixels]))
        for pixels in (drawn, repeated)
    )

    assert with_copies.distinct.sum() == alone.distinct.sum() == len(drawn)
    assert with_copies.usual > 0.5 * alone.usual and with_copies.fence > 0.5 * alone.fence


def test_too_few_pictures_of_the_base_model_are_no_range() -> None:
    base = images(_drawings().drawn[: FEWEST - 1])

    scores = Coherence().score(base, base).values

    assert (scores.status == "missing").all()
    assert (
        scores.reason.iloc[0]
        == f"of the concept the base model has 19 pictures, at least {FEWEST} are needed"
    )


@pytest.mark.parametrize("different", [1, 4, DIFFERENT - 1])
def test_a_base_model_that_repeats_itself_is_no_range(different: int) -> None:
    """Held against copies of themselves, its own pictures were as far out as noise."""
    base = images([_drawings().drawn[place % different] for place in range(2 * FEWEST)])

    scores = Coherence().score(base, base).values

    assert (scores.status == "missing").all()
    assert f"has {different} different pictures, at least {DIFFERENT}" in scores.reason.iloc[0]


def test_a_picture_too_small_to_measure_is_missing() -> None:
    base = images(_drawings().drawn)
    small = images([np.zeros((SMALLEST - 1, 64, 3), np.uint8)], "small")

    scores = Coherence().score(small, base).values

    assert (scores.status == "missing").all() and "15 pixels" in scores.reason.iloc[0]


@pytest.mark.parametrize("shade", [0, 128, 255])
@pytest.mark.parametrize("shape", [(16, 16), (17, 301), (64, 64)])
def test_statistics_are_finite_for_the_emptiest_pictures(shade: int, shape: tuple[int, int]) -> None:
    assert np.isfinite(picture_statistics(np.full((*shape, 3), shade, np.uint8))).all()
