"""A user's files become an edit of what differs, draw like any other edit, and go out again."""

import dataclasses

import pytest
import torch
from safetensors.torch import load_file, save_file

from erasure_bench.errors import BenchError
from erasure_bench.methods.base import EraseContext
from erasure_bench.methods.edit import Edit, applied
from erasure_bench.methods.machinery.exporting import export_edit
from erasure_bench.methods.machinery.user_weights import read_user_edit
from erasure_bench.methods.registry import build_method
from erasure_bench.models.weights import changed_tensors, snapshot
from erasure_bench.prompt_suites.concepts import Concept

CAT = Concept(name="cat", kind="instance", targets=("grumpy cat",), anchor="cat")
CHANGED = "unet.conv_in.bias"


def unet_state(model):
    return {
        name.removeprefix("unet."): tensor.detach().clone()
        for name, tensor in model.named_tensors().items()
        if name.startswith("unet.")
    }


def test_only_what_differs_is_in_the_edit(tiny_model, tmp_path):
    state = unet_state(tiny_model)
    state["conv_in.bias"] += 1
    save_file(state, path := tmp_path / "erased.safetensors")

    found = read_user_edit(path, tiny_model, [CAT])

    assert found.edit.tensors.keys() == {CHANGED}
    assert found.format == "state dict in diffusers names: full UNet"
    assert found.notes == (f"1 of its {len(state)} tensors differ from those of tiny",)
    assert found.edit.method == "user-weights" and found.edit.concepts == ("cat",)
    assert found.edit.base_digest == tiny_model.digest
    assert found.edit.settings == {
        "digest": found.edit.settings["digest"],
        "weights": "ema",
        "scale": 1.0,
        "format": found.format,
        "notes": list(found.notes),
    }
    assert str(tmp_path) not in str(found.edit.settings)


def test_it_applies_and_survives_the_disk(tiny_model, tmp_path):
    state = unet_state(tiny_model)
    state["conv_in.bias"] += 1
    save_file(state, path := tmp_path / "erased.safetensors")
    read_user_edit(path, tiny_model, [CAT]).edit.save(tmp_path / "store")
    before = snapshot(tiny_model)

    with applied(tiny_model, Edit.load(tmp_path / "store")):
        changed = changed_tensors(before, tiny_model.named_tensors())

    assert changed.keys() == {CHANGED}
    torch.testing.assert_close(changed[CHANGED], state["conv_in.bias"], rtol=0, atol=0)
    assert not changed_tensors(before, tiny_model.named_tensors())


def test_the_base_model_itself(tiny_model, tiny_model_dir):
    found = read_user_edit(tiny_model_dir, tiny_model, [CAT])

    assert not found.edit.tensors
    assert any("this is the base model itself" in note for note in found.notes)


def test_another_base_shows(tiny_model, tmp_path):
    """The EMA trap: where every single tensor differs, the weights may come from another base."""
    tensors = {name: tensor + 0.01 for name, tensor in tiny_model.named_tensors().items()}
    save_file(tensors, path := tmp_path / "other.safetensors")

    assert any("from another base" in note for note in read_user_edit(path, tiny_model, [CAT]).notes)


def test_rounding_shows(tiny_model, tmp_path):
    halves = {name: tensor.half() for name, tensor in unet_state(tiny_model).items()}
    save_file(halves, path := tmp_path / "half.safetensors")

    (note,) = read_user_edit(path, tiny_model, [CAT]).notes

    assert "by rounding alone" in note and "float16" in note


def test_lora_with_its_scale(tiny_model, tmp_path):
    layer = "unet.mid_block.attentions.0.transformer_blocks.0.attn2.to_k"
    weight = tiny_model.named_tensors()[f"{layer}.weight"]
    down, up = torch.randn(2, weight.shape[1]), torch.randn(weight.shape[0], 2)
    save_file({f"{layer}.lora_A.weight": down, f"{layer}.lora_B.weight": up}, path := tmp_path / "lora")

    edit = read_user_edit(path, tiny_model, [CAT], scale=0.25).edit

    assert edit.settings["scale"] == 0.25
    torch.testing.assert_close(edit.tensors[f"{layer}.weight"], weight + 0.25 * up @ down)


@pytest.mark.parametrize("method", ["sld-medium", "esd-x"])
def test_an_edit_made_here_comes_back_whole(tiny_model, tmp_path, method):
    """Its guidance too, which no file of weights could hold."""
    options = {"steps": "1", "denoise_steps": "2", "scheduler": "ddim"} if method == "esd-x" else {}
    edit = build_method(method, options=options).erase(tiny_model, [CAT], EraseContext())
    edit.save(tmp_path / "edit")

    found = read_user_edit(tmp_path / "edit", tiny_model, [CAT])

    assert found.format.startswith("folder of an edit made here: ")
    assert (found.edit.method, found.edit.guidance, found.edit.cost) == (
        edit.method,
        edit.guidance,
        edit.cost,
    )
    assert found.edit.tensors.keys() == edit.tensors.keys()
    with applied(tiny_model, found.edit) as guidance:
        assert edit.guidance is None or guidance == edit.guidance


def test_an_edit_of_another_base(tiny_model, tmp_path):
    edit = build_method("sld-medium").erase(tiny_model, [CAT], EraseContext())
    dataclasses.replace(edit, base_digest="f" * 64).save(tmp_path / "edit")
    with pytest.raises(BenchError, match="base model with digest f{12}.*--model"):
        read_user_edit(tmp_path / "edit", tiny_model, [CAT])
    with pytest.raises(BenchError, match="scale=2 is for a LoRA"):
        read_user_edit(tmp_path / "edit", tiny_model, [CAT], scale=2)
    with pytest.raises(BenchError, match="weights=raw is for a compvis checkpoint"):
        read_user_edit(tmp_path / "edit", tiny_model, [CAT], weights="raw")


def test_an_edit_goes_out_and_comes_in_again(tiny_model, tiny_model_dir, tmp_path):
    tensors = {CHANGED: tiny_model.named_tensors()[CHANGED] + 1}
    made = build_method("none").erase(tiny_model, [CAT], EraseContext())
    edit = dataclasses.replace(made, tensors=tensors)

    out = export_edit(edit, tiny_model_dir, "delta", tmp_path / "edit.safetensors")

    assert load_file(out).keys() == {"conv_in.bias"}
    back = read_user_edit(out, tiny_model, [CAT]).edit
    assert torch.equal(back.tensors[CHANGED], tensors[CHANGED])


def test_edits_that_cannot_go_out(tiny_model, tiny_model_dir, tmp_path):
    sld = build_method("sld-medium").erase(tiny_model, [CAT], EraseContext())
    with pytest.raises(BenchError, match="the edit of cat by .* works while sampling"):
        export_edit(sld, tiny_model_dir, "diffusers", tmp_path / "out")
    none = build_method("none").erase(tiny_model, [CAT], EraseContext())
    with pytest.raises(BenchError, match="changes no weights"):
        export_edit(none, tiny_model_dir, "diffusers", tmp_path / "out")
    with pytest.raises(BenchError, match="made from a base model with digest f{12}"):
        export_edit(
            dataclasses.replace(none, base_digest="f" * 64), tiny_model_dir, "delta", tmp_path / "out"
        )
    assert not list(tmp_path.iterdir())
