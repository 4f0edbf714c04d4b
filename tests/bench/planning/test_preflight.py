"""Weights that cannot be read or do not fit are known before anything is drawn, and --dry-run says it."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from erasure_bench.bench.cli.app import run_command
from erasure_bench.bench.planning import preflight
from erasure_bench.bench.planning.config import RunConfig, parse_config
from erasure_bench.bench.planning.prepare import prepare
from erasure_bench.errors import BenchError
from erasure_bench.methods.edit import new_edit
from erasure_bench.methods.machinery.user_weights import ReadingOptions
from erasure_bench.models.zoo import BUILT_IN
from erasure_bench.prompt_suites.concepts import Concept

UNET = "unet/diffusion_pytorch_model.safetensors"
SMALL = [
    "--suite",
    "microworld-instances",
    "--concepts",
    "grumpy-cat",
    "--limit",
    "1",
    "--evaluators",
    "classifier",
]
POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 3438000000\n"
LAYER = "down_blocks.0.attentions.0.transformer_blocks.0.attn2.to_k"

CAT = Concept(name="cat", kind="object", targets=("cat",), anchor="animal")

pytestmark = pytest.mark.usefixtures("microworld")


def dry_run(place: Path, *options: str) -> int:
    return run_command(["run", *SMALL, *options, "--store", str(place / "store"), "--dry-run"])


def refused(place: Path, capsys: pytest.CaptureFixture[str], *options: str) -> str:
    """The one line of a refused dry run; nothing was drawn by the real one either."""
    assert dry_run(place, *options) == 3
    said = capsys.readouterr().err
    assert said.startswith("bench: ") and said.count("\n") == 1
    assert (
        run_command(["run", *SMALL, *options, "--store", str(place / "store"), "--out", str(place / "out")])
        == 3
    )
    assert not (place / "store" / "generate").exists()
    capsys.readouterr()
    return said


def cut_short(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def pointer(path: Path) -> None:
    path.write_text(POINTER)


def another_shape(path: Path) -> None:
    save_file({f"{LAYER}.weight": torch.zeros(96, 768)}, path)


def lora_of_another_base(path: Path) -> None:
    save_file(
        {f"{LAYER}.lora_A.weight": torch.zeros(4, 768), f"{LAYER}.lora_B.weight": torch.zeros(96, 4)}, path
    )


def loha(path: Path) -> None:
    save_file({f"{LAYER}.hada_w1_a": torch.zeros(4, 4)}, path)


def unknown(path: Path) -> None:
    save_file({"fc1.weight": torch.zeros(4)}, path)


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (cut_short, "is damaged"),
        (pointer, "a Git LFS pointer"),
        (another_shape, "(96, 768), the base model's has (96, 128)"),
        (lora_of_another_base, "belongs to another base model"),
        (loha, "a LoHa adapter"),
        (unknown, "not a known format"),
    ],
)
def test_an_edit_that_cannot_be_read(tmp_path, capsys, spoil, words):
    shutil.copy(BUILT_IN / UNET, path := tmp_path / "theirs.safetensors")
    spoil(path)
    said = refused(tmp_path, capsys, "--methods", "none", "--edit", f"theirs={path}")
    assert "--edit theirs: " in said and words in said


def test_an_edits_folder_of_another_base(tmp_path, capsys, tiny_model):
    edit = new_edit("user-weights", ReadingOptions(), tiny_model, [CAT])
    edit.save(folder := tmp_path / "edit")
    said = refused(tmp_path, capsys, "--methods", "none", "--edit", f"theirs={folder}")
    assert "made from a base model with digest" in said and "microworld has" in said


def test_what_an_edit_will_be_read_as_is_said_and_remembered(tmp_path, capsys, monkeypatch):
    path = tmp_path / "mine.safetensors"
    save_file({f"{LAYER}.weight": load_file(BUILT_IN / UNET)[f"{LAYER}.weight"] + 1}, path)
    assert dry_run(tmp_path, "--methods", "none", "--edit", f"mine={path}") == 0
    assert "mine will be read as state dict in diffusers names: 1 of" in " ".join(
        capsys.readouterr().out.split()
    )

    def twice(*anything: object, **more: object) -> None:
        raise AssertionError("the headers were read again")

    monkeypatch.setattr("erasure_bench.methods.machinery.user_weights.check_user_edit", twice)
    monkeypatch.setattr("erasure_bench.models.headers.check_weights", twice)
    assert dry_run(tmp_path, "--methods", "none", "--edit", f"mine={path}") == 0


@pytest.mark.parametrize("option", ["--model", "--reference"])
@pytest.mark.parametrize(
    ("file", "spoil", "words"),
    [
        (UNET, cut_short, "is damaged"),
        (UNET, pointer, "a Git LFS pointer"),
        (UNET, unknown, "the weights lack"),
        ("vae/config.json", pointer, "a Git LFS pointer"),
        ("tokenizer/tokenizer.json", pointer, "a Git LFS pointer"),
    ],
)
def test_a_base_model_that_cannot_be_loaded(tmp_path, capsys, option, file, spoil, words):
    folder = shutil.copytree(BUILT_IN, tmp_path / "model")
    spoil(folder / file)
    assert words in refused(tmp_path, capsys, "--methods", "none", option, str(folder))


def test_an_evaluators_weights_that_are_damaged(tmp_path, capsys):
    (tmp_path / "labels.txt").write_text("cat\ndog\n")
    (tmp_path / "network.onnx").write_bytes(b"not a network")
    options = ["--evaluator-option", f"model={tmp_path / 'network.onnx'}"]
    options += ["--evaluator-option", f"labels={tmp_path / 'labels.txt'}"]
    assert "network.onnx cannot be opened as an ONNX network" in refused(
        tmp_path, capsys, "--methods", "none", *options
    )


def test_evaluators_of_sets_are_tried_as_well(tmp_path, capsys):
    """A run would refuse what its dry run had found good."""
    (tmp_path / "inception.pth").write_bytes(b"not weights")
    options = ["--evaluators", "fidelity@official"]
    options += ["--evaluator-option", f"fidelity@official.weights={tmp_path / 'inception.pth'}"]
    assert "inception.pth" in refused(tmp_path, capsys, "--methods", "none", *options)


def test_evaluators_with_nothing_left_to_do_are_not_tried(tmp_path, monkeypatch):
    """Nor does the run load them: their weights need no longer be here."""
    tried = []
    store = ["--store", str(tmp_path / "store"), "--out", str(tmp_path / "out")]
    assert run_command(["run", *SMALL[:-1], "coherence", "--methods", "none", *store]) == 0
    monkeypatch.setattr(
        preflight, "check_evaluators", lambda those: tried.extend(each.name for each in those)
    )
    assert dry_run(tmp_path, "--methods", "none", "--evaluators", "coherence,diversity") == 0
    assert tried == ["diversity"]


def test_pictures_of_each_prompt_are_as_many_as_asked_for(tmp_path):
    """Also of prompts that have a number of their own, and with their own seeds."""
    suite = tmp_path / "own.yaml"
    suite.write_text(
        "name: own\nversion: '1'\ntitle: Own\ndescription: d\nsource: here\nlicence: MIT\n"
        "model: microworld\nevaluators: [coherence]\n"
        "protocol: {scheduler: ddim, steps: 5, guidance_scale: 4.0, images_per_prompt: 2}\n"
        "concepts:\n  - {name: cat, kind: instance, targets: cat, anchor: dog}\n"
        "prompts:\n  - {concept: cat, role: target, texts: [a cat]}\n"
        "  - {concept: cat, role: anchor, texts: [a dog], images_per_prompt: 3}\n"
    )
    config = RunConfig(suite=str(suite), methods=("none",))
    usual, four = (
        prepare(config.model_copy(update={"images": images}), tmp_path / "store").plan for images in (None, 4)
    )
    assert (usual.images, four.images) == (5, 8)
    with pytest.raises(BenchError, match="--images: "):
        parse_config({"suite": "s", "methods": ("m",), "images": 0})


def test_scheduler_and_steps_of_a_whole_table_may_be_others_than_the_suites(tmp_path):
    config = RunConfig(suite="microworld-instances", methods=("none",), limit=1, concepts=("grumpy-cat",))
    usual, other = (
        prepare(config.model_copy(update=said), tmp_path / "store").plan
        for said in ({}, {"scheduler": "lms", "steps": 9})
    )
    assert {(task.scheduler, task.steps) for task in usual.tasks if task.kind == "generate"} == {("ddim", 20)}
    assert {(task.scheduler, task.steps) for task in other.tasks if task.kind == "generate"} == {("lms", 9)}
    assert (other.suite.protocol.scheduler, other.suite.protocol.steps) == ("lms", 9)
    with pytest.raises(BenchError, match="^--scheduler lms --steps 1 with suite .*: 1 steps .* 2 or more"):
        prepare(config.model_copy(update={"scheduler": "lms", "steps": 1}), tmp_path / "store")
    for said in ({"scheduler": "euler"}, {"steps": 0}, {"steps": 1001}):
        with pytest.raises(BenchError, match=f"--{next(iter(said))}: "):
            parse_config({"suite": "s", "methods": ("m",), **said})


def test_a_copy_of_the_built_in_model_has_its_presets_by_one_option(tmp_path, capsys):
    folder = shutil.copytree(BUILT_IN, tmp_path / "finetuned")
    weights = load_file(folder / UNET)
    save_file(weights | {"conv_in.bias": weights["conv_in.bias"] + 1e-3}, folder / UNET)

    code = dry_run(
        tmp_path, "--methods", "esd-x", "--model", str(folder), "--model-like", "microworld", "--json"
    )

    plan = json.loads(capsys.readouterr().out)
    assert code == 0 and plan["model"]["name"] == "finetuned"
    assert plan["base_models"]["finetuned"]["prompts_cut"]["tokens"] == 40
    out = tmp_path / "out"
    store = ["--store", str(tmp_path / "store"), "--out", str(out)]
    like = ["--model", str(folder), "--model-like", "microworld"]
    assert run_command(["run", *SMALL, "--methods", "none", *like, *store]) == 0
    record = json.loads((out / "run.json").read_text())
    assert record["config"]["model_like"] == "microworld"
    assert {row["preset"] for row in record["method_settings"]} <= {"official", "microworld"}


def test_a_model_to_be_like_that_is_none(tmp_path, capsys):
    assert dry_run(tmp_path, "--methods", "none", "--model-like", "microwrld") == 3
    assert "did you mean microworld" in capsys.readouterr().err


def test_the_module_names_what_it_rests_on():
    """What is remembered is forgotten when the code that found it changes."""
    from erasure_bench.foreign.sources import code_digest

    assert code_digest(preflight.HEADERS) and code_digest(preflight.USER_WEIGHTS)
