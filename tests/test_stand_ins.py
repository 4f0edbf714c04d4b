"""What a failed download left in a file's place is named as what it is."""

import pytest

from erasure_bench.errors import BenchError
from erasure_bench.stand_ins import refuse_stand_in, stand_in

POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 3438000000\n"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (POINTER, "a Git LFS pointer.*git lfs pull"),
        (b"\n <!DOCTYPE html><html><body>Sign in</body></html>", "a web page.*login"),
        (b"", "an empty file"),
    ],
)
def test_stand_ins_are_named_with_the_way_out(tmp_path, content, words):
    (path := tmp_path / "model.safetensors").write_bytes(content)

    with pytest.raises(BenchError, match=f"model.safetensors: {words}") as error:
        refuse_stand_in(path)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("content", [b"{}", b"\x08\0\0\0\0\0\0\0{}      ", b"PK\x03\x04", b"a,b\n1,2\n"])
def test_content_is_none(tmp_path, content):
    (path := tmp_path / "file").write_bytes(content)
    assert stand_in(path) is None
    refuse_stand_in(path)
