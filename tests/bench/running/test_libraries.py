"""What other people's libraries would do on their own, and do not."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from erasure_bench.bench.running.base_models import BaseModels
from erasure_bench.bench.running.libraries import full_precision
from erasure_bench.bench.storage.store import Store

cudnn = torch.backends.cudnn


@pytest.fixture(autouse=True)
def as_torch_begins() -> Iterator[None]:
    before = cudnn.allow_tf32, cudnn.deterministic
    cudnn.allow_tf32, cudnn.deterministic = True, False
    yield
    cudnn.allow_tf32, cudnn.deterministic = before


def test_convolutions_keep_all_of_float32() -> None:
    """Torch lets cuDNN round them to TF32's 10 bits; matrix products it leaves alone by itself."""
    full_precision()
    assert (cudnn.allow_tf32, cudnn.deterministic) == (False, True)
    assert torch.get_float32_matmul_precision() == "highest"


def test_every_worker_sees_to_it_before_it_knows_its_device(tmp_path: Path) -> None:
    models = BaseModels([], Store(tmp_path), "cpu", "float32", lambda: None)
    assert cudnn.allow_tf32
    assert models.device == "cpu" and not cudnn.allow_tf32
