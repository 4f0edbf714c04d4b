"""Edits survive the disk, apply and leave without a trace, and refuse what is damaged or foreign."""

import dataclasses
import json

import pytest
import torch

from erasure_bench.errors import BenchError
from erasure_bench.methods.base import EraseContext
from erasure_bench.methods.edit import Edit, applied
from erasure_bench.methods.registry import build_method
from erasure_bench.models.guidance import ClassifierFree, Guided
from erasure_bench.models.weights import changed_tensors, snapshot
from erasure_bench.prompt_suites.concepts import Concept

CAT = Concept(name="cat", kind="instance", targets=("grumpy cat",), anchor="cat")
FAST = {"steps": "2", "denoise_steps": "2", "scheduler": "ddim", "learning_rate": "1e-3"}


@pytest.fixture
def trained(tiny_model) -> Edit:
    return build_method("esd-x", options=FAST).erase(tiny_model, [CAT], EraseContext())


def test_applying_puts_the_weights_in_and_takes_them_out(tiny_model, trained):
    before = snapshot(tiny_model)
    with applied(tiny_model, trained) as guidance:
        inside = changed_tensors(before, tiny_model.named_tensors())
        assert guidance == ClassifierFree()

    assert inside.keys() == trained.tensors.keys()
    assert all(torch.equal(inside[name], trained.tensors[name]) for name in inside)
    assert not changed_tensors(before, tiny_model.named_tensors())


def test_applied_edit_takes_its_weights_out_after_an_error(tiny_model, trained):
    before = snapshot(tiny_model)
    with pytest.raises(ValueError, match="mine"), applied(tiny_model, trained):
        raise ValueError("mine")
    assert not changed_tensors(before, tiny_model.named_tensors())


def test_file_holds_only_what_changed(tiny_model, trained, tmp_path):
    from safetensors import safe_open

    trained.save(tmp_path)
    with safe_open(tmp_path / "weights.safetensors", "pt") as file:
        assert set(file.keys()) == trained.tensors.keys() < tiny_model.named_tensors().keys()
    written = json.loads((tmp_path / "edit.json").read_text())
    assert written["method"] == "esd"
    assert written["settings"]["learning_rate"] == 1e-3
    assert written["base_digest"] == tiny_model.digest
    assert len(written["losses"]) == 2
    assert written["cost"]["seconds"] > 0 and written["cost"]["peak_memory_bytes"] > 0
    assert "torch" in written["versions"]


def test_guidance_alone_needs_no_weights_file(tiny_model, tmp_path):
    edit = build_method("sld-medium").erase(tiny_model, [CAT], EraseContext())
    edit.save(tmp_path)

    assert [path.name for path in tmp_path.iterdir()] == ["edit.json"]
    assert Edit.load(tmp_path).guidance == edit.guidance


def test_other_base_is_refused(tiny_model, trained):
    other = dataclasses.replace(trained, base_digest="f" * 64)
    with (
        pytest.raises(BenchError, match="made from a base model with digest f{12}.*tiny"),
        applied(tiny_model, other),
    ):
        pass


def test_tensors_that_the_model_lacks_are_refused(tiny_model, trained):
    foreign = dataclasses.replace(trained, tensors={"unet.nothing": torch.ones(1)})
    with pytest.raises(BenchError, match="no tensor 'unet.nothing'"), applied(tiny_model, foreign):
        pass


def test_missing_edit(tmp_path):
    with pytest.raises(BenchError, match="no edit in"):
        Edit.load(tmp_path)


def test_missing_weights(trained, tmp_path):
    trained.save(tmp_path)
    (tmp_path / "weights.safetensors").unlink()
    with pytest.raises(BenchError, match="lacks its weights"):
        Edit.load(tmp_path)


@pytest.mark.parametrize("keep", [slice(0, 40), slice(0, -8)])
def test_cut_weights(trained, tmp_path, keep):
    trained.save(tmp_path)
    path = tmp_path / "weights.safetensors"
    path.write_bytes(path.read_bytes()[keep])
    with pytest.raises(BenchError, match=r"weights\.safetensors is damaged"):
        Edit.load(tmp_path)


def test_flipped_bit(trained, tmp_path):
    trained.save(tmp_path)
    path = tmp_path / "weights.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(BenchError, match="SHA-256"):
        Edit.load(tmp_path)


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("format",), "something else", "format"),
        (("losses",), "none", "losses"),
        (("surprise",), 1, "surprise"),
        (("guidance", "kind"), "os.system", "unknown guidance 'os.system'"),
        (("guidance", "settings", "text"), 5, "text"),
        (("guidance", "settings", "surprise"), 5, "settings"),
        (("guidance", "settings", "level", "warmup_steps"), -1, "warmup_steps"),
    ],
)
def test_damaged_json(tiny_model, tmp_path, path, value, message):
    build_method("sld-medium").erase(tiny_model, [CAT], EraseContext()).save(tmp_path)
    file = tmp_path / "edit.json"
    content = json.loads(file.read_text())
    inner = content
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    file.write_text(json.dumps(content))

    with pytest.raises(BenchError, match=message) as refused:
        Edit.load(tmp_path)
    assert "\n" not in str(refused.value)


def test_truncated_json(trained, tmp_path):
    trained.save(tmp_path)
    file = tmp_path / "edit.json"
    file.write_text(file.read_text()[:100])
    with pytest.raises(BenchError, match=r"edit\.json is damaged"):
        Edit.load(tmp_path)


def test_guidance_of_no_known_kind_cannot_be_saved(tiny_model, tmp_path):
    @dataclasses.dataclass(frozen=True)
    class Homemade:
        texts: tuple[str, ...] = ()
        unconditional_text: str = ""

        def combine(self, step, state):
            return Guided(step.conditional)

    edit = build_method("none").erase(tiny_model, [CAT], EraseContext())
    with pytest.raises(BenchError, match="not in the table"):
        dataclasses.replace(edit, guidance=Homemade()).save(tmp_path)
