"""The class-conditional bases: what is shipped is what the table says, and what is damaged is refused."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from erasure_bench.errors import BenchError
from erasure_bench.models.conditional.description import Description, read_description
from erasure_bench.models.conditional.folder import (
    check_class_model,
    class_model_shapes,
    load_class_model,
    save_class_model,
)
from erasure_bench.models.conditional.origin import training_data
from erasure_bench.models.conditional.recipes import BASES
from erasure_bench.models.conditional.tiny import tiny_class_model
from erasure_bench.models.datasets.registry import dataset_card
from erasure_bench.models.layouts import layout_of
from erasure_bench.models.sampling import ImageRequest, sample
from erasure_bench.models.zoo import SHIPPED, ZOO, resolve_model

SHIPPED_BASES = sorted(path.name for path in SHIPPED.iterdir())
MOST_BYTES = 3_000_000


def test_every_base_fits_its_data() -> None:
    for name, base in BASES.items():
        card = dataset_card(base.data)
        assert base.side == card.side and name in ZOO
        Description(classes=card.classes, side=card.side, channels=card.channels, sizes=base.sizes)


def test_what_is_shipped_is_small_and_made_by_its_recipe() -> None:
    assert SHIPPED_BASES == ["digits-ddpm", "digits-vae"]
    assert sum(path.stat().st_size for path in SHIPPED.rglob("*")) < MOST_BYTES
    for name in SHIPPED_BASES:
        description, base = read_description(SHIPPED / name), BASES[name]
        assert description.recipe == base.training.model_dump(mode="json")
        assert description.sizes == base.sizes and description.preset == name
        assert resolve_model(name).path == SHIPPED / name


@pytest.mark.parametrize(("name", "steps", "multipliers"), [
    ("cifar10-ddpm", 800_000, (1, 2, 2, 2)), ("stl10-ddpm", 250_000, (1, 2, 2, 2, 4))
])  # fmt: skip
def test_official_recipes_are_those_of_the_codes_configs(
    name: str, steps: int, multipliers: tuple[int, ...]
) -> None:
    """Written out once more from the official cifar10_train.yml and stl10_train.yml (b736571)."""
    base = BASES[name]
    assert base.training.model_dump() == {
        "steps": steps, "batch_size": 128, "learning_rate": 2e-4, "ema_decay": 0.9999, "clip_norm": 1.0,
        "label_dropout": 0.1, "mirrored": 0.5, "antithetic": True, "seed": 0,
        "everything": name == "stl10-ddpm",
    }  # fmt: skip
    assert base.sizes.model_dump() == {
        "kind": "ddpm", "channels": 128, "multipliers": multipliers, "blocks": 2, "attention": (16,),
        "dropout": 0.1, "norm_groups": 32, "timesteps": 1000, "beta_start": 1e-4, "beta_end": 0.02,
    }  # fmt: skip


@pytest.mark.parametrize("name", SHIPPED_BASES)
def test_it_was_trained_on_the_pictures_that_are_here(name: str) -> None:
    assert len(training_data(SHIPPED / name).train.labels) == read_description(SHIPPED / name).origin.pictures


@pytest.mark.parametrize("name", SHIPPED_BASES)
def test_its_digits_look_like_those_of_the_data(name: str) -> None:
    """By the nearest of the pictures that it was not trained on, in which another digit would be nearer."""
    model = load_class_model(SHIPPED / name, name=name)
    held_out = training_data(SHIPPED / name).held_out
    requests = [ImageRequest(digit, seed, 2.0, 8, 8) for digit in model.classes for seed in range(4)]
    drawn = sample(model, requests, scheduler="ddim", steps=20, batch_size=40)
    pictures = torch.stack([torch.from_numpy(pixels[..., 0].copy()).float().flatten() for pixels in drawn])
    known = torch.from_numpy(held_out.pixels).float().flatten(1)
    nearest = held_out.labels[torch.cdist(pictures, known).argmin(1).numpy()]
    right = [model.classes[label] == request.prompt for label, request in zip(nearest, requests, strict=True)]
    assert sum(right) > 0.8 * len(right)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    model = tiny_class_model("ddpm")
    save_class_model(tmp_path / "base", model.description, model.parts["unet"].state_dict())
    return tmp_path / "base"


def test_a_folder_gives_back_what_was_saved(folder: Path) -> None:
    layout, saved = layout_of(folder), tiny_class_model("ddpm")
    model = layout.load(folder, name="x", device="cpu", dtype=torch.float32, preset=None)
    assert all(
        torch.equal(tensor, saved.named_tensors()[name]) for name, tensor in model.named_tensors().items()
    )
    assert (model.family, model.classes, model.resolution) == ("class-ddpm", saved.classes, 8)
    assert layout.sizes(folder) == (8, 8) and model.digest == layout.digest(folder)
    assert {name: tensor.shape for name, tensor in class_model_shapes(folder).items()} == {
        name: tensor.shape for name, tensor in saved.named_tensors().items()
    }


def test_other_weights_are_another_digest(folder: Path, tmp_path: Path) -> None:
    before = layout_of(folder).digest(folder)
    shutil.copytree(folder, tmp_path / "copy")
    assert layout_of(tmp_path / "copy").digest(tmp_path / "copy") == before
    tensors = load_file(folder / "weights.safetensors")
    tensors["label.first.bias"][0] += 1e-3
    save_file(tensors, folder / "weights.safetensors")
    assert layout_of(folder).digest(folder) != before


def test_what_is_damaged_is_refused_in_one_line(folder: Path) -> None:
    def refused(match: str) -> None:
        with pytest.raises(BenchError, match=match) as caught:
            check_class_model(folder)
        assert "\n" not in str(caught.value)

    whole = (folder / "weights.safetensors").read_bytes()
    (folder / "weights.safetensors").write_bytes(whole[:1000])
    refused("cannot be read")
    tensors = load_file(_written(folder, whole))
    del tensors["label.first.bias"]
    save_file(tensors, folder / "weights.safetensors")
    refused("label.first.bias")
    (folder / "weights.safetensors").unlink()
    refused("missing weights.safetensors")
    _written(folder, whole)
    description = json.loads((folder / "class_model.json").read_text())
    for change, match in (
        ({"classes": ["a", "a"]}, "names that differ"),
        ({"side": 9}, "cannot be halved"),
        ({"colour": 1}, "colour"),
        ({"sizes": {**description["sizes"], "norm_groups": 3}}, "3 groups"),
    ):
        (folder / "class_model.json").write_text(json.dumps({**description, **change}))
        refused(match)


def _written(folder: Path, content: bytes) -> Path:
    path = folder / "weights.safetensors"
    path.write_bytes(content)
    return path


def test_other_pictures_are_not_taken_for_the_bases_own(folder: Path) -> None:
    with pytest.raises(BenchError, match="which pictures"):
        training_data(folder)
    description = json.loads((folder / "class_model.json").read_text())
    description["origin"] = {"data": "digits", "digest": "0" * 64, "pictures": 1}
    (folder / "class_model.json").write_text(json.dumps(description))
    with pytest.raises(BenchError, match="are not those that base was trained on"):
        training_data(folder)
