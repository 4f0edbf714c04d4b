"""Fixtures that several rooms use: tiny random models, and the built-in one where it is installed."""

import copy
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from hypothesis import settings

from erasure_bench.models.diffusion_model import DiffusionModel
from erasure_bench.models.pipeline_files import missing_files
from erasure_bench.models.tiny import save_tiny_pipeline
from erasure_bench.models.zoo import BUILT_IN, load_model
from tests.upstream import UPSTREAM

# A time limit for one example says how busy the machine is.
settings.register_profile("here", deadline=None)
settings.register_profile("ci", derandomize=True, deadline=None)
# A gate says the same of the same code each time; elsewhere the search goes on.
settings.load_profile("ci" if os.environ.get("CI") else "here")


@pytest.fixture(scope="session", autouse=True)
def no_power_cuts() -> Iterator[None]:
    """What is written reaches every other process at once: only the disk itself need not be waited for."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", os.fstat)
        yield


@pytest.fixture(scope="session")
def upstream_data() -> Path:
    """Where the upstream prompt files lie, if anywhere: $BENCH_DATA, else beside the checkout."""
    return UPSTREAM


@pytest.fixture(scope="session")
def tiny_model_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny random ε-prediction pipeline with an AutoencoderKL; treat as read-only."""
    return save_tiny_pipeline(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture(scope="session")
def tiny_v_model_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same with v-prediction."""
    return save_tiny_pipeline(tmp_path_factory.mktemp("models") / "tiny-v", prediction="v_prediction")


@pytest.fixture(scope="session")
def tiny_taesd_model_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same with an AutoencoderTiny."""
    return save_tiny_pipeline(tmp_path_factory.mktemp("models") / "tiny-taesd", autoencoder="tiny")


@pytest.fixture(scope="session")
def pristine_tiny_model(tiny_model_dir: Path) -> DiffusionModel:
    """What `tiny_model` is a copy of: reading it from its files takes four times as long."""
    return DiffusionModel.from_directory(tiny_model_dir, name="tiny")


@pytest.fixture
def tiny_model(pristine_tiny_model: DiffusionModel) -> DiffusionModel:
    """A fresh fp32 model, as `tiny_model_dir` has it; a test may change it."""
    return copy.deepcopy(pristine_tiny_model)


@pytest.fixture(scope="session")
def microworld() -> DiffusionModel:
    """The built-in model with its shipped weights; tests leave it as it was."""
    if missing := missing_files(BUILT_IN):
        pytest.skip(f"the built-in microworld weights are not installed ({len(missing)} files missing)")
    return load_model("microworld")


@pytest.fixture(autouse=True)
def online_again() -> Iterator[None]:
    """A command that a test runs with --offline says so to the whole process: the next test starts anew."""
    names = ("BENCH_OFFLINE", "HF_HUB_OFFLINE")
    before = {name: os.environ.get(name) for name in names}
    hub = sys.modules.get("huggingface_hub.constants")
    was_offline = getattr(hub, "HF_HUB_OFFLINE", False)
    yield
    for name, value in before.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value
    if hub := sys.modules.get("huggingface_hub.constants"):
        hub.HF_HUB_OFFLINE = was_offline  # type: ignore[attr-defined]


@pytest.fixture(autouse=True)
def as_many_threads() -> Iterator[None]:
    """What a test computes must not hang on how many threads an earlier one has set: sums round otherwise."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.fixture(autouse=True)
def own_user_folders(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keeps the tests out of the user's cache and upstream files; `upstream_data` gives a test the latter."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.getbasetemp() / "cache"))
    monkeypatch.delenv("BENCH_DATA", raising=False)
