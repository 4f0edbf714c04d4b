"""A model is found where the user keeps it, and a missing one is explained in one line."""

import re
import shutil
import subprocess
import sys
from dataclasses import replace

import huggingface_hub.constants
import pytest
import torch

from erasure_bench.errors import BenchError, UnknownName
from erasure_bench.models import zoo
from erasure_bench.models.digest import weights_digest
from erasure_bench.models.zoo import ZOO, load_model, local_copy, resolve_model


@pytest.fixture(autouse=True)
def empty_machine(tmp_path, monkeypatch):
    """No network, an empty hub cache, no local models."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.delenv("BENCH_MODELS", raising=False)


def test_every_entry_is_pinned_built_in_or_trained_by_the_user():
    for name, entry in ZOO.items():
        assert entry.name == name
        assert entry.folder is None or entry.repo_id is None
        assert entry.folder or entry.repo_id or entry.rebuild == f"bench train {name}"
        if entry.repo_id:
            assert re.fullmatch("[0-9a-f]{40}", entry.revision or "")


def test_missing_weights_name_files_places_and_ways(tmp_path):
    with pytest.raises(BenchError) as caught:
        resolve_model("sd-v1-4")

    message = str(caught.value)
    assert "\n" not in message
    for part in (
        "'sd-v1-4'",
        "unet/diffusion_pytorch_model.safetensors",
        "$BENCH_MODELS (not set)",
        str(tmp_path / "hub" / "models--CompVis--stable-diffusion-v1-4"),
        huggingface_hub.constants.ENDPOINT,
        "HF_HUB_OFFLINE",
        "hf download CompVis/stable-diffusion-v1-4 --revision 133a221b8aa7292a167afc5127cb63fb5005638b",
        "$BENCH_MODELS/sd-v1-4",
        "--model PATH",
    ):
        assert part in message
    assert local_copy("sd-v1-4") is None


def test_an_unreachable_hub_is_part_of_the_same_line(monkeypatch):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", "http://127.0.0.1:9")

    with pytest.raises(BenchError, match=r"at http://127\.0\.0\.1:9 \(Connect.*hf download"):
        resolve_model("sd-v1-5")


def test_missing_built_in_weights_say_how_to_make_them(tmp_path, monkeypatch):
    monkeypatch.setitem(ZOO, "microworld", replace(ZOO["microworld"], folder=tmp_path / "pipeline"))

    with pytest.raises(
        BenchError, match=r"missing .*unet/config\.json.*python -m erasure_bench\.models\.microworld\.train"
    ):
        resolve_model("microworld")
    assert local_copy("microworld") is None


@pytest.mark.parametrize("place", ["sd-v1-4", "CompVis/stable-diffusion-v1-4"])
def test_local_copies_are_found_under_bench_models(tiny_model_dir, tmp_path, monkeypatch, place):
    shutil.copytree(tiny_model_dir, tmp_path / "models" / place)
    monkeypatch.setenv("BENCH_MODELS", str(tmp_path / "models"))

    source = resolve_model("sd-v1-4")

    assert source[:4] == ("sd-v1-4", tmp_path / "models" / place, None, weights_digest(tiny_model_dir))
    assert local_copy("sd-v1-4") == source.path


def test_an_incomplete_local_copy_says_what_it_lacks(tiny_model_dir, tmp_path, monkeypatch):
    copied = shutil.copytree(tiny_model_dir, tmp_path / "models" / "sd-v1-4")
    (copied / "vae/diffusion_pytorch_model.safetensors").unlink()
    monkeypatch.setenv("BENCH_MODELS", str(tmp_path / "models"))

    with pytest.raises(BenchError, match=r"missing vae/diffusion_pytorch_model\.safetensors; looked in"):
        resolve_model("sd-v1-4")


@pytest.mark.parametrize("spec", ["sd-v1-4", f"{ZOO['sd-v1-4'].repo_id}@{ZOO['sd-v1-4'].revision}"])
def test_the_hubs_cache_is_used_at_the_pinned_revision(tiny_model_dir, tmp_path, spec):
    snapshots = tmp_path / "hub" / "models--CompVis--stable-diffusion-v1-4" / "snapshots"
    shutil.copytree(tiny_model_dir, snapshots / "another-revision")
    with pytest.raises(BenchError):
        resolve_model(spec)
    pinned = shutil.copytree(tiny_model_dir, snapshots / "133a221b8aa7292a167afc5127cb63fb5005638b")

    assert resolve_model(spec).path == pinned


def test_an_unpinned_hub_id_is_the_cached_main(tiny_model_dir, tmp_path):
    repo = tmp_path / "hub" / "models--some--model"
    pinned = shutil.copytree(tiny_model_dir, repo / "snapshots" / "c0ffee")
    (repo / "refs").mkdir()
    (repo / "refs" / "main").write_text("c0ffee\n")

    assert resolve_model("some/model")[:2] == ("some/model", pinned)


class Reachable:
    def head(self, url, timeout):
        return None


def test_only_what_is_read_is_fetched_and_pickles_only_where_needed(tiny_model_dir, tmp_path, monkeypatch):
    asked = []

    def fetch(repo_id, *, revision, cache_dir, allow_patterns):
        asked.append(allow_patterns)
        target = tmp_path / "fetched"
        shutil.copytree(tiny_model_dir, target, dirs_exist_ok=True)
        if not any(pattern.endswith(".bin") for pattern in allow_patterns):
            (target / "unet/diffusion_pytorch_model.safetensors").unlink()
        return str(target)

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(huggingface_hub, "get_session", Reachable)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", fetch)

    assert resolve_model("sd-v2-1").path == tmp_path / "fetched"
    assert "unet/diffusion_pytorch_model.safetensors" in asked[0]
    assert not any("safety_checker" in pattern or pattern.endswith(".bin") for pattern in asked[0])
    assert "unet/diffusion_pytorch_model.bin" in asked[-1]


def test_any_pipeline_directory_is_a_model(tiny_model_dir):
    model = load_model(str(tiny_model_dir), dtype="bf16")

    assert (model.name, model.preset, model.dtype) == (tiny_model_dir.name, None, torch.bfloat16)
    assert model.digest == weights_digest(tiny_model_dir)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("microwrld", "did you mean microworld"),
        ("./no/such/place", "no such directory"),
        ("/no/such/place", "no such directory"),
    ],
)
def test_unknown_models_are_one_line(spec, message):
    with pytest.raises(BenchError, match=message):
        resolve_model(spec)


def test_a_directory_that_is_no_pipeline_says_what_it_lacks(tmp_path):
    with pytest.raises(BenchError, match=r"not a complete .* directory: missing model_index\.json"):
        resolve_model(str(tmp_path))


def test_unknown_dtypes_and_absent_devices_are_refused(tiny_model_dir, monkeypatch):
    with pytest.raises(UnknownName, match="--dtype"):
        load_model(str(tiny_model_dir), dtype="float31")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(BenchError, match="use --device cpu"):
        load_model(str(tiny_model_dir), device="cuda")


def test_the_table_of_models_needs_no_torch():
    code = (
        "import sys, erasure_bench.models.zoo; sys.exit('torch' in sys.modules or 'diffusers' in sys.modules)"
    )

    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_microworld_is_in_the_zoo_with_its_preset(microworld):
    assert (microworld.name, microworld.preset, microworld.resolution) == ("microworld", "microworld", 64)
    assert zoo.local_copy("microworld") == zoo.BUILT_IN
