"""What the tests of this room need: a CUDA device (`pytest -m gpu`), and the tiny model on it."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from erasure_bench.bench.running.libraries import full_precision
from erasure_bench.methods.registry import method_card
from erasure_bench.models.conditional.tiny import tiny_class_model
from erasure_bench.models.diffusion_model import DiffusionModel
from erasure_bench.models.image_model import ImageModel
from tests.attacks.conftest import context, targets, victim_of

__all__ = ["context", "targets", "victim_of"]


@pytest.fixture
def device() -> str:
    """The GPU; skips where there is none."""
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    full_precision()
    return "cuda"


@pytest.fixture
def tiny_model(tiny_model_dir: Path, device: str) -> DiffusionModel:
    """A fresh fp32 model on the GPU; a test may change it."""
    return DiffusionModel.from_directory(tiny_model_dir, name="tiny", device=device)


@pytest.fixture
def model_for(tiny_model: DiffusionModel) -> Callable[[str], ImageModel]:
    """A tiny model of a kind that the method knows; those of classes stay on the CPU."""
    return lambda name: (
        tiny_model if tiny_model.family in method_card(name).families else tiny_class_model("ddpm")
    )
