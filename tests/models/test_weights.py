"""Weights go in and come out bit by bit, and a model's digest follows every byte that it is loaded from."""

import hashlib
import os
import shutil
import time

import pytest
import torch

from erasure_bench.errors import BenchError
from erasure_bench.models import digest
from erasure_bench.models.digest import digest_cache, file_digest, weights_digest
from erasure_bench.models.weights import changed_tensors, snapshot, swapped


def bits(tensors):
    return {name: tensor.detach().view(torch.int32).clone() for name, tensor in tensors.items()}


def assert_bits_equal(left, right):
    assert left.keys() == right.keys()
    assert all(torch.equal(left[name], right[name]) for name in left)


@pytest.fixture
def replacements(tiny_model):
    own = tiny_model.named_tensors()
    return {
        "unet.conv_in.weight": torch.full_like(own["unet.conv_in.weight"], 3.0),
        "text_encoder.final_layer_norm.bias": torch.full((32,), float("nan")),
    }


def test_swapped_tensors_are_in_place_and_leave_no_trace(tiny_model, replacements):
    before = bits(tiny_model.named_tensors())

    with swapped(tiny_model, replacements) as model:
        assert model is tiny_model
        assert (model.unet.conv_in.weight == 3).all()
        assert model.named_tensors()["text_encoder.final_layer_norm.bias"].isnan().all()

    assert_bits_equal(bits(tiny_model.named_tensors()), before)


def test_an_exception_or_further_change_inside_leaves_no_trace(tiny_model, replacements):
    before = bits(tiny_model.named_tensors())

    with pytest.raises(RuntimeError, match="drawing failed"), swapped(tiny_model, replacements):
        with torch.no_grad():
            tiny_model.unet.conv_in.weight.mul_(7)
        raise RuntimeError("drawing failed")

    assert_bits_equal(bits(tiny_model.named_tensors()), before)


def test_swaps_nest(tiny_model, replacements):
    before = bits(tiny_model.named_tensors())
    name = "unet.conv_in.weight"

    with swapped(tiny_model, replacements):
        with swapped(tiny_model, {name: -replacements[name]}):
            assert (tiny_model.unet.conv_in.weight == -3).all()
        assert (tiny_model.unet.conv_in.weight == 3).all()

    assert_bits_equal(bits(tiny_model.named_tensors()), before)


@pytest.mark.parametrize(("name", "shape"), [("unet.no_such", (1,)), ("unet.conv_in.weight", (2, 2))])
def test_tensors_that_do_not_fit_change_nothing(tiny_model, replacements, name, shape):
    before = bits(tiny_model.named_tensors())

    wrong = {**replacements, name: torch.zeros(shape)}
    with pytest.raises(ValueError, match=name), swapped(tiny_model, wrong):
        pass

    assert_bits_equal(bits(tiny_model.named_tensors()), before)


def test_changed_tensors_are_those_with_another_bit(tiny_model):
    before = snapshot(tiny_model)
    assert changed_tensors(before, tiny_model.named_tensors()) == {}
    name = "unet.conv_in.bias"
    with torch.no_grad():
        weight = tiny_model.named_tensors()[name]
        weight[0] = torch.nextafter(weight[0], torch.tensor(torch.inf))

    changed = changed_tensors(before, tiny_model.named_tensors())

    assert list(changed) == [name]
    torch.testing.assert_close(changed[name], weight, rtol=0, atol=0)
    assert changed[name].data_ptr() != weight.data_ptr()
    assert not torch.equal(before[name], weight)


def test_the_sign_of_zero_is_a_change():
    assert list(changed_tensors({"a": torch.tensor([0.0])}, {"a": torch.tensor([-0.0])})) == ["a"]
    with pytest.raises(ValueError, match="only one of the two: b"):
        changed_tensors({"a": torch.zeros(1)}, {"a": torch.zeros(1), "b": torch.zeros(1)})
    with pytest.raises(ValueError, match="a: "):
        changed_tensors({"a": torch.zeros(1)}, {"a": torch.zeros(2)})


@pytest.fixture
def copied(tiny_model_dir, tmp_path):
    return shutil.copytree(tiny_model_dir, tmp_path / "elsewhere")


def flip_last_bit(path):
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


def test_digest_is_of_the_content_not_the_place(tiny_model_dir, copied, tiny_model):
    assert weights_digest(copied) == weights_digest(tiny_model_dir) == tiny_model.digest
    (copied / "README.md").write_text("not loaded")
    (copied / "unet/diffusion_pytorch_model.bin").write_bytes(b"not loaded either")
    assert weights_digest(copied) == tiny_model.digest


@pytest.mark.parametrize(
    "file",
    [
        "unet/diffusion_pytorch_model.safetensors",
        "text_encoder/model.safetensors",
        "vae/diffusion_pytorch_model.safetensors",
        "unet/config.json",
        "scheduler/scheduler_config.json",
        "tokenizer/tokenizer_config.json",
    ],
)
def test_one_bit_changes_the_digest(copied, tiny_model, file):
    flip_last_bit(copied / file)

    assert weights_digest(copied) != tiny_model.digest


def test_an_incomplete_directory_has_no_digest(copied):
    (copied / "vae/config.json").unlink()

    with pytest.raises(BenchError, match=r"missing vae/config\.json"):
        weights_digest(copied)


def test_large_files_are_hashed_once_until_they_change(tmp_path, monkeypatch):
    path = tmp_path / "weights"
    path.write_bytes(b"a" * digest.REMEMBERED_FROM_BYTES)
    monkeypatch.setattr(digest, "SETTLED_SECONDS", 0.0)
    hashed = []
    real = digest._hash
    monkeypatch.setattr(digest, "_hash", lambda path: hashed.append(path) or real(path))

    assert file_digest(path) == file_digest(path) == hashlib.sha256(path.read_bytes()).hexdigest()
    assert len(hashed) == 1

    flip_last_bit(path)
    assert file_digest(path) == hashlib.sha256(path.read_bytes()).hexdigest()
    assert len(hashed) == 2


@pytest.mark.parametrize("replaced", [False, True])
def test_other_content_of_the_same_size_and_time_has_another_digest(tmp_path, monkeypatch, replaced):
    monkeypatch.setattr(digest, "SETTLED_SECONDS", 0.0)
    path = tmp_path / "weights"
    path.write_bytes(b"a" * digest.REMEMBERED_FROM_BYTES)
    os.utime(path, (1_000_000, 1_000_000))
    before = file_digest(path)
    time.sleep(0.01)  # the kernel's clock of inodes ticks every few milliseconds

    changed = tmp_path / "new" if replaced else path
    changed.write_bytes(b"b" * digest.REMEMBERED_FROM_BYTES)
    os.utime(changed, (1_000_000, 1_000_000))
    changed.rename(path)
    assert file_digest(path) != before


def test_what_was_remembered_is_not_asked_for_a_digest_afresh(tmp_path, monkeypatch):
    monkeypatch.setattr(digest, "SETTLED_SECONDS", 0.0)
    monkeypatch.setattr(digest, "digest_cache", lambda: tmp_path / "digests")
    path = tmp_path / "weights"
    path.write_bytes(b"a" * digest.REMEMBERED_FROM_BYTES)
    true = file_digest(path)
    (note,) = (tmp_path / "digests").iterdir()
    note.write_text(note.read_text().replace(true, "0" * 64))
    assert file_digest(path) == "0" * 64
    assert file_digest(path, afresh=True) == true


def test_a_damaged_or_forbidden_cache_only_costs_time(tmp_path, monkeypatch):
    path = tmp_path / "weights"
    path.write_bytes(b"a" * digest.REMEMBERED_FROM_BYTES)
    monkeypatch.setattr(digest, "SETTLED_SECONDS", 0.0)
    expected = file_digest(path)
    for note in digest_cache().iterdir():
        note.write_text("{")
    assert file_digest(path) == expected
    blocked = tmp_path / "file"
    blocked.write_text("")
    monkeypatch.setattr(digest, "digest_cache", lambda: blocked / "digests")
    assert file_digest(path) == expected
