"""Resized pictures are bit for bit what Pillow and torchvision make of them."""

import numpy as np
import pytest
from PIL import Image

from erasure_bench.evaluators.base import Pixels
from erasure_bench.evaluators.pixel_batch import by_size
from erasure_bench.evaluators.resizing import shorter_side, square


def grain(height: int, width: int) -> Pixels:
    return np.random.default_rng(height).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.mark.parametrize("size", [(64, 64), (96, 80), (37, 101), (101, 37), (1, 1), (512, 512), (20, 64)])
@pytest.mark.parametrize("side", [64, 288])
def test_the_shorter_side_is_torchvisions(size: tuple[int, int], side: int) -> None:
    transforms = pytest.importorskip("torchvision.transforms")
    pixels = grain(*size)

    expected = np.asarray(transforms.Resize(side)(Image.fromarray(pixels)))

    np.testing.assert_array_equal(shorter_side(pixels, side), expected)
    assert min(expected.shape[:2]) == side


def test_a_square_is_pillows() -> None:
    pixels = grain(37, 101)
    expected = np.asarray(Image.fromarray(pixels).resize((32, 32), Image.Resampling.BICUBIC))

    np.testing.assert_array_equal(square(pixels, 32), expected)
    np.testing.assert_array_equal(square(grain(32, 32), 32), grain(32, 32))


def test_pictures_of_one_size_share_a_batch() -> None:
    pixels = [grain(8, 8), grain(8, 9), grain(8, 8), grain(9, 8)]
    assert by_size(pixels) == [[0, 2], [1], [3]]
    assert by_size([]) == []
