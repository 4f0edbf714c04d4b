"""Labelled pictures: what is refused, and what is left without a class."""

import numpy as np
import pytest

from erasure_bench.models.labelled import LabelledPictures


def some(labels: list[int], pixels: np.ndarray | None = None) -> LabelledPictures:
    given = np.arange(len(labels) * 4, dtype=np.uint8).reshape(-1, 2, 2, 1) if pixels is None else pixels
    return LabelledPictures(
        name="some", pixels=given, labels=np.array(labels, np.int64), classes=("a", "b", "c"), digest=""
    )


def test_without_a_class_its_pictures_are_gone_and_the_other_labels_mean_the_same() -> None:
    whole = some([0, 1, 2, 1, 0])
    left = whole.without(frozenset({"b"}))
    assert left.labels.tolist() == [0, 2, 0]
    assert left.classes == whole.classes
    np.testing.assert_array_equal(left.pixels, whole.pixels[[0, 2, 4]])
    with pytest.raises(ValueError, match="no picture is left"):
        whole.without(frozenset("abc"))


def test_what_fits_no_picture_is_refused() -> None:
    with pytest.raises(ValueError, match="beyond the 3 classes"):
        some([0, 3])
    with pytest.raises(ValueError, match="pixels"):
        some([0], np.zeros((1, 2, 2, 4), np.uint8))
    with pytest.raises(ValueError, match="labels"):
        some([0, 1], np.zeros((3, 2, 2, 1), np.uint8))
