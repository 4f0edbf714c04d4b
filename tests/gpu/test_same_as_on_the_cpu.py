"""A GPU draws and learns what the CPU does, to rounding."""

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

from erasure_bench.methods.base import EraseContext
from erasure_bench.methods.registry import METHODS, build_method, method_card
from erasure_bench.models.diffusion_model import DiffusionModel
from erasure_bench.models.sampling import sample_images
from erasure_bench.models.zoo import load_model
from studies.running import bench_run
from tests.methods.machinery.test_contract import CAT, GENERAL, TINY

pytestmark = pytest.mark.gpu

THINGS = ("grumpy cat", "pirate dog", "rusty robot", "kite", "house", "tree", "boat", "fish")
LEARNING = [name for name in METHODS if method_card(name).families == ("text-to-image",)]


def change(before: dict[str, torch.Tensor], after: dict[str, torch.Tensor]) -> torch.Tensor:
    """All that an edit changes, in one vector."""
    parts = [after[name].float().cpu() - before.get(name, torch.zeros(())).float().cpu() for name in after]
    return torch.cat([part.flatten() for part in parts]) if parts else torch.zeros(1)


@pytest.mark.parametrize("name", LEARNING)
def test_the_same_is_learnt(name: str, tiny_model: DiffusionModel, tiny_model_dir: Path) -> None:
    changes = []
    for model in (DiffusionModel.from_directory(tiny_model_dir, name="tiny"), tiny_model):
        before = {key: tensor.clone() for key, tensor in model.named_tensors().items()}
        edit = build_method(name, options=TINY[name]).erase(
            model, [CAT], EraseContext(general_prompts=GENERAL)
        )
        changes.append(change(before, edit.all_tensors))
    on_cpu, on_gpu = changes
    away = float((on_gpu - on_cpu).norm() / on_cpu.norm().clamp_min(1e-12))
    assert away < 0.2, f"the GPU's change is {away:.2g} of its length away from the CPU's"


def test_the_same_pictures_are_drawn(device: str) -> None:
    on_cpu, on_gpu = (
        sample_images(
            load_model("microworld", device=where),
            [f"a photo of a {thing}" for thing in THINGS],
            range(len(THINGS)),
            scheduler="ddim",
            steps=20,
            guidance_scale=4.0,
        ).cpu()
        for where in ("cpu", device)
    )
    apart = 255 * (on_cpu - on_gpu).abs()
    assert apart.mean() < 0.1 and (apart > 2).float().mean() < 0.01, f"{apart.mean()=}, {apart.max()=}"


@pytest.mark.parametrize("more", [(), ("--workers", "2"), ("--compile", "on")], ids=" ".join)
def test_a_run_gives_the_same_scores(device: str, tmp_path: Path, more: tuple[str, ...]) -> None:
    on_cpu = scores(tmp_path / "cpu", "--device", "cpu")
    on_gpu = scores(tmp_path / "gpu", "--device", device, *more)
    assert list(on_cpu.index) == list(on_gpu.index) and on_cpu.notna().equals(on_gpu.notna())
    apart = (on_cpu - on_gpu).abs().dropna()
    assert apart.median() < 1e-3 and (apart > 0.05).mean() < 0.05, apart.sort_values().tail(10).to_string()


def test_a_run_in_half_precision(device: str, tmp_path: Path) -> None:
    half = scores(tmp_path / "half", "--device", device, "--dtype", "bfloat16")
    assert half.notna().any()


def scores(folder: Path, *options: str) -> "pd.Series[Any]":
    """Every score of a small run, in an order that does not hang on the device."""
    done = bench_run(
        *("--suite", "microworld-memorized", "--concepts", "The Silver Harbour at Dusk", "--limit", "1"),
        *("--methods", "esd-x,adavd,sld-medium", "--method-option", "esd-x.steps=10"),
        *("--evaluators", "classifier,clip,distance,coherence,diversity,memorization,fidelity@microworld"),
        *("--out", str(folder / "run"), "--store", str(folder / "store"), *options),
    )
    assert not done["failures"]
    table = pd.read_parquet(folder / "run" / "scores.parquet")
    keys = ["method", "concept", "role", "evaluator", "metric", "prompt_id", "image_index"]
    return table.set_index(keys)["value"].sort_index()
