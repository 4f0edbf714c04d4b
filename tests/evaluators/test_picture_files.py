"""Picture files of every kind become RGB pixels by one rule; what is none is said in one line."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from erasure_bench.errors import BenchError
from erasure_bench.evaluators.picture_files import picture_files, read_picture

RAMP = np.arange(48, dtype=np.uint8).reshape(4, 4, 3) * 5


def test_rgb_is_as_it_is_and_grey_has_three_equal_channels(tmp_path: Path) -> None:
    Image.fromarray(RAMP).save(tmp_path / "rgb.png")
    Image.fromarray(RAMP[..., 0]).save(tmp_path / "grey.png")

    np.testing.assert_array_equal(read_picture(tmp_path / "rgb.png"), RAMP)
    np.testing.assert_array_equal(read_picture(tmp_path / "grey.png"), RAMP[..., :1].repeat(3, axis=-1))


def test_transparency_is_dropped(tmp_path: Path) -> None:
    alpha = np.full((4, 4, 1), 10, np.uint8)
    Image.fromarray(np.concatenate([RAMP, alpha], axis=-1)).save(tmp_path / "rgba.png")

    np.testing.assert_array_equal(read_picture(tmp_path / "rgba.png"), RAMP)


def test_sixteen_bits_keep_their_brightness(tmp_path: Path) -> None:
    Image.fromarray(RAMP[..., 0].astype(np.uint16) * 257).save(tmp_path / "deep.png")

    np.testing.assert_array_equal(read_picture(tmp_path / "deep.png"), RAMP[..., :1].repeat(3, axis=-1))


def test_one_pixel_is_a_picture(tmp_path: Path) -> None:
    Image.fromarray(RAMP[:1, :1]).save(tmp_path / "one.png")
    assert read_picture(tmp_path / "one.png").shape == (1, 1, 3)


def test_what_is_no_picture_is_said_in_one_line(tmp_path: Path) -> None:
    whole = tmp_path / "whole.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)).save(whole)
    for name, content, reason in (
        ("cut.png", whole.read_bytes()[:4000], "no picture that can be read"),
        ("text.png", b"hello", "no picture that can be read"),
        ("empty.png", b"", "an empty file"),
        ("page.png", b"<!DOCTYPE html><p>404", "a web page"),
    ):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(BenchError, match=reason) as refused:
            read_picture(tmp_path / name)
        assert name in str(refused.value) and "\n" not in str(refused.value)
    Image.fromarray(np.ones((2, 2), np.float32)).save(tmp_path / "float.tif")
    with pytest.raises(BenchError, match="floating-point"):
        read_picture(tmp_path / "float.tif")


def test_a_folder_is_read_at_any_depth_and_other_files_are_left(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    for name in ("b.PNG", "deep/a.jpg", "notes.txt"):
        (tmp_path / name).write_bytes(b"x")

    assert [file.relative_to(tmp_path).as_posix() for file in picture_files(tmp_path)] == [
        "b.PNG",
        "deep/a.jpg",
    ]
