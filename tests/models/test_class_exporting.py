"""A class model with other weights in it comes back from what was written: as a base, and as an edit."""

import json

import pytest
import torch
from safetensors import safe_open

from erasure_bench.errors import BenchError
from erasure_bench.models.checkpoints.checkpoint import check_checkpoint, read_checkpoint
from erasure_bench.models.checkpoints.files import checkpoint_files
from erasure_bench.models.conditional.exporting import export_class_model
from erasure_bench.models.conditional.folder import load_class_model, save_class_model
from erasure_bench.models.conditional.tiny import tiny_class_model, tiny_description

KINDS = ("vae", "ddpm")


@pytest.fixture(params=KINDS)
def base(request, tmp_path):
    """A tiny class model in a folder."""
    model = tiny_class_model(request.param)
    (part,) = model.parts.values()
    save_class_model(tmp_path / "base", tiny_description(request.param), part.state_dict())
    return tmp_path / "base"


@pytest.fixture
def model(base):
    return load_class_model(base, name="base")


@pytest.fixture
def changed(model):
    """A few of its tensors, changed."""
    names = list(model.named_tensors())[1:4]
    return {name: model.named_tensors()[name].detach() + 1 for name in names}


def test_the_folder_is_a_base_model_of_its_own(base, model, changed, tmp_path):
    out = export_class_model(base, changed, tmp_path / "out", about={"method": "mine"})
    erased = load_class_model(out, name="erased")
    assert erased.classes == model.classes and erased.digest != model.digest
    for name, tensor in erased.named_tensors().items():
        assert torch.equal(tensor, changed.get(name, model.named_tensors()[name])), name
    assert json.loads((out / "erasure_bench.json").read_text()) == {"method": "mine"}


@pytest.mark.parametrize("format", ["class-model", "safetensors", "delta"])
def test_it_is_read_back_as_an_edit(base, model, changed, tmp_path, format):
    out = export_class_model(base, changed, tmp_path / "out", format=format)
    read = read_checkpoint(out, model.named_tensors())
    assert check_checkpoint(out, model.named_tensors()) == read.format
    whole = model.named_tensors() | changed
    expected = changed if format == "delta" else whole
    assert read.tensors.keys() == expected.keys()
    assert all(torch.equal(tensor, expected[name]) for name, tensor in read.tensors.items())
    assert f"{len(expected)} of {len(whole)} tensors" in read.format


def test_a_file_says_where_it_comes_from_and_loads_into_the_network(base, model, changed, tmp_path):
    out = export_class_model(base, changed, tmp_path / "out", format="safetensors", about={"seed": 3})
    with safe_open(out, "pt") as file:
        assert json.loads(file.metadata()["erasure_bench"]) == {"seed": 3}
        state = {name: file.get_tensor(name) for name in list(file.keys())}
    (network,) = model.parts.values()
    network.load_state_dict(state)


def test_names_with_the_network_before_them_are_read_too(base, model, changed, tmp_path):
    torch.save(changed, tmp_path / "mine.pt")
    read = read_checkpoint(tmp_path / "mine.pt", model.named_tensors())
    assert read.tensors.keys() == changed.keys()


def test_mistakes(base, model, changed, tmp_path, tiny_model):
    out = tmp_path / "out"
    with pytest.raises(BenchError, match=r"no pipeline.*valid here: class-model, safetensors, delta"):
        export_class_model(base, changed, out, format="diffusers")
    with pytest.raises(BenchError, match="changes no weights"):
        export_class_model(base, {}, out)
    with pytest.raises(BenchError, match="1 tensor that the base model does not have"):
        export_class_model(base, {"unet.conv_in.weight": torch.zeros(1)}, out)
    assert not out.exists()
    export_class_model(base, changed, out)
    with pytest.raises(BenchError, match="exists already"):
        export_class_model(base, changed, out)
    with pytest.raises(BenchError, match="scale=2 is for a LoRA"):
        read_checkpoint(out, model.named_tensors(), scale=2.0)
    with pytest.raises(BenchError, match="and the base model is none"):
        read_checkpoint(out, tiny_model.named_tensors())
    (out / "weights.safetensors").unlink()
    with pytest.raises(BenchError, match=r"missing weights\.safetensors"):
        checkpoint_files(out)


def test_the_other_kind_of_class_model_is_refused(tmp_path):
    vae, ddpm = map(tiny_class_model, KINDS)
    for kind, model in (("ddpm", vae), ("vae", ddpm)):
        (part,) = tiny_class_model(kind).parts.values()
        save_class_model(tmp_path / kind, tiny_description(kind), part.state_dict())
        with pytest.raises(BenchError, match="belong to another base model"):
            read_checkpoint(tmp_path / kind, model.named_tensors())
