"""Augmented pictures are where their mask says, as small or close as their caption says, and drawn fairly."""

import pytest
import torch
from torch import Tensor

from erasure_bench.methods.concept_ablation.augmentation import (
    BLANK,
    CLOSE,
    SMALL,
    Augmented,
    augment,
    mirrored,
)

SIZE, FACTOR = 64, 8


def white(count: int, size: int = SIZE) -> Tensor:
    return torch.ones(count, 3, size, size)


def ramps(count: int, size: int = SIZE) -> Tensor:
    """Pictures that grow brighter from the left edge, 0, to the right edge, 1, and never blank's grey."""
    return torch.linspace(0, 1, size).expand(count, 3, size, size).clone()


def draw(images: Tensor, factor: int = FACTOR, seed: int = 0) -> Augmented:
    return augment(images, factor, torch.Generator().manual_seed(seed))


def shown(image: Tensor) -> Tensor:
    """The pixels [size, size] of an augmented white picture that are not blank canvas."""
    return (image - BLANK).abs().amax(0) > 0.25


def sides(image: Tensor) -> tuple[int, int]:
    rows, columns = shown(image).any(1), shown(image).any(0)
    return int(rows.sum()), int(columns.sum())


def whole_cells(pixels: Tensor, factor: int) -> Tensor:
    """The cells [size / factor, size / factor] all of whose pixels are set."""
    return -torch.nn.functional.max_pool2d(-pixels.float()[None], factor)[0]


def without_border(cells: Tensor) -> Tensor:
    """Less the cells that touch one that is not set; beyond the canvas's edge all are."""
    padded = torch.nn.functional.pad(cells[None], (1, 1, 1, 1), value=1.0)
    return -torch.nn.functional.max_pool2d(-padded, 3, stride=1)[0]


def test_shapes_and_ranges():
    done = draw(ramps(12))

    assert done.images.shape == (12, 3, SIZE, SIZE)
    assert done.masks.shape == (12, 1, SIZE // FACTOR, SIZE // FACTOR)
    assert len(done.prefixes) == 12
    assert done.images.min() >= 0 and done.images.max() <= 1
    assert set(done.masks.unique().tolist()) <= {0.0, 1.0}


def test_mask_is_the_cells_that_the_picture_fills():
    done = draw(white(300))

    for image, mask in zip(done.images, done.masks, strict=True):
        torch.testing.assert_close(mask[0], whole_cells(shown(image), FACTOR))
        assert mask.sum() >= 1


def test_mask_of_a_large_model_leaves_one_cell_of_border_inside_the_canvas():
    done = draw(white(60, size=192), factor=3, seed=1)

    for image, mask in zip(done.images, done.masks, strict=True):
        torch.testing.assert_close(mask[0], without_border(whole_cells(shown(image), 3)))
    assert any(0 < mask.mean() < 1 for mask in done.masks)


@pytest.mark.parametrize(("size", "factor"), [(64, 8), (16, 8), (64, 16), (128, 2)])
def test_mask_is_never_empty(size, factor):
    done = draw(white(200, size), factor)
    assert done.masks.flatten(1).sum(1).min() >= 1


def test_caption_says_how_the_picture_was_taken():
    done = draw(white(400))

    seen = {"small": 0, "as it is": 0}
    for image, prefix in zip(done.images, done.prefixes, strict=True):
        height, width = sides(image)
        assert height == width >= SIZE // 3
        if height < 0.6 * SIZE:
            assert prefix in SMALL
            seen["small"] += 1
        elif height < SIZE:
            assert prefix == ""
            seen["as it is"] += 1
        else:
            assert prefix in ("", *CLOSE)
    assert min(seen.values()) > 50
    assert set(done.prefixes) == {"", *SMALL, *CLOSE}


def test_close_pictures_are_parts_made_larger():
    """A ramp that is made larger is less steep, by the factor that it was made larger by."""
    done = draw(ramps(300))
    close = [image for image, prefix in zip(done.images, done.prefixes, strict=True) if prefix in CLOSE]

    scales = []
    for image in close:
        row = image[0, 0, 2:-2]
        steps = row.diff()
        assert steps.std() < 0.1 * steps.mean(), "nothing but the ramp is there"
        scales.append(1 / (float(steps.mean()) * (SIZE - 1)))
    assert 1.17 < min(scales) < 1.25 and 1.35 < max(scales) < 1.42


def test_small_pictures_are_whole():
    done = draw(ramps(100))
    for image, prefix in zip(done.images, done.prefixes, strict=True):
        if prefix not in SMALL:
            continue
        assert image.min() < 0.05 and image.max() > 0.95
        blank = image == BLANK
        assert blank.float().mean() > 0.6


def test_two_thirds_are_on_the_canvas_and_sides_are_uniform():
    done = draw(white(900), seed=2)
    close = sum(prefix in CLOSE for prefix in done.prefixes)
    assert abs(close / 900 - 1 / 3) < 5 * (2 / 9 / 900) ** 0.5

    lengths = [
        sides(image)[0]
        for image, prefix in zip(done.images, done.prefixes, strict=True)
        if prefix not in CLOSE
    ]
    assert min(lengths) == SIZE // 3 and max(lengths) == SIZE
    middle, spread = (SIZE // 3 + SIZE) / 2, (SIZE - SIZE // 3 + 1) / 12**0.5
    assert abs(sum(lengths) / len(lengths) - middle) < 5 * spread / len(lengths) ** 0.5


def test_pictures_lie_anywhere():
    done = draw(white(500))
    tops = {int(shown(image).any(1).int().argmax()) for image in done.images}
    lefts = {int(shown(image).any(0).int().argmax()) for image in done.images}
    for starts in (tops, lefts):
        assert starts >= set(range(32)) and max(starts) > 36


def test_the_generator_decides_everything():
    state = torch.random.get_rng_state()
    first, second, other = draw(ramps(8)), draw(ramps(8)), draw(ramps(8), seed=5)

    assert torch.equal(first.images, second.images) and torch.equal(first.masks, second.masks)
    assert first.prefixes == second.prefixes
    assert not torch.equal(first.images, other.images)
    assert torch.equal(torch.random.get_rng_state(), state)


def test_half_of_the_pictures_are_mirrored():
    images = torch.rand(400, 3, 4, 4)
    turned = mirrored(images, torch.Generator().manual_seed(0))

    same = [torch.equal(before, after) for before, after in zip(images, turned, strict=True)]
    for before, after, kept in zip(images, turned, same, strict=True):
        assert torch.equal(after, before if kept else before.flip(-1))
    assert 150 < sum(same) < 250
