"""What odd picture files become: pixels that are known, or no picture and the reason why."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageFile

from erasure_bench.errors import BenchError
from erasure_bench.evaluators.measuring import unusable, without_pixels
from erasure_bench.evaluators.picture_files import picture_files, pixels_of, read_folder, read_picture


@pytest.fixture
def folder(odd: list[Any], tmp_path: Path) -> Path:
    """The odd pictures as files."""
    for one in odd:
        (tmp_path / one.name).write_bytes(one.data)
    return tmp_path


def test_each_kind_becomes_what_it_is_said_to_become(odd: list[Any], folder: Path) -> None:
    for one in odd:
        read = pixels_of(folder / one.name)
        if one.pixels is None:
            assert unusable(read), one.name
        else:
            assert unusable(read) is None, (one.name, unusable(read))
            np.testing.assert_array_equal(read, one.pixels, err_msg=one.name)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("empty.png", "an empty file"),
        ("text.png", "of no known format"),
        ("page.png", "a web page"),
        ("truncated.png", "image file is truncated"),
        ("truncated.jpg", "image file is truncated"),
        ("float.tiff", "pixels are floating-point numbers"),
        ("gone.png", "No such file or directory"),
    ],
)
def test_what_is_no_picture_is_said_in_one_line(folder: Path, name: str, reason: str) -> None:
    with pytest.raises(BenchError, match=f"{name}: is no picture that can be read: {reason}") as refused:
        read_picture(folder / name)
    assert "\n" not in str(refused.value)
    assert str(unusable(pixels_of(folder / name))).startswith(reason)


def test_a_truncated_file_is_no_picture_even_where_a_library_would_have_it_so(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    for name in ("truncated.png", "truncated.jpg"):
        assert unusable(pixels_of(folder / name)), name


def test_a_picture_of_too_many_pixels_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    assert "exceeds limit" in str(unusable(pixels_of(folder / "plain.png")))


def test_the_reason_stays_with_a_copy() -> None:
    assert unusable(without_pixels("gone").copy()) == "gone"


def test_a_folder_is_read_at_any_depth_and_other_files_are_left(tmp_path: Path, odd: list[Any]) -> None:
    for name in ("b.PNG", "deep/a.jpg", "notes.txt", ".hidden.png", ".cache/c.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(odd[0].data)
    (tmp_path / "broken.png").write_bytes(b"")
    (tmp_path / "folder.png").mkdir()

    names = [file.relative_to(tmp_path).as_posix() for file in picture_files(tmp_path)]
    assert names == ["b.PNG", "broken.png", "deep/a.jpg"]
    reasons = [unusable(pixels) for _, pixels in read_folder(tmp_path)]
    assert reasons[0] is None and reasons[2] is None and str(reasons[1]).startswith("an empty file")
