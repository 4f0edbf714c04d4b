"""`bench train`: a base is trained once, goes on where it was stopped, and serves a run like any other."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from erasure_bench.bench.cli.app import run_command
from erasure_bench.bench.cli.check_ground import ground_for
from erasure_bench.bench.running.base_training import train_base
from erasure_bench.bench.storage.store import Store
from erasure_bench.methods.base import Progress
from erasure_bench.methods.registry import method_card
from erasure_bench.models.conditional.folder import load_class_model
from erasure_bench.models.conditional.recipes import BASES
from erasure_bench.models.datasets.registry import dataset_card, load_dataset
from erasure_bench.models.zoo import resolve_model

Captured = pytest.CaptureFixture[str]


def trained(tmp_path: Path, *more: str) -> int:
    where = ["--out", str(tmp_path / "base"), "--store", str(tmp_path / "store"), "--device", "cpu"]
    return run_command(["train", "digits-vae", "--json", *where, *more])


def test_a_base_is_trained_once(tmp_path: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", True)
    assert trained(tmp_path, "--steps", "5") == 0
    assert not torch.backends.cudnn.allow_tf32, "on a GPU float32 stays float32"
    first = json.loads(capsys.readouterr().out)
    assert first["recipe"]["steps"] == 5 and first["origin"]["data"] == "digits"
    weights = (tmp_path / "base" / "weights.safetensors").stat()
    assert trained(tmp_path, "--steps", "5") == 0
    assert json.loads(capsys.readouterr().out) == first
    assert (tmp_path / "base" / "weights.safetensors").stat().st_mtime_ns == weights.st_mtime_ns
    assert trained(tmp_path, "--steps", "6") == 3
    assert "another base lies there" in capsys.readouterr().err
    source = resolve_model(str(tmp_path / "base"))
    assert (source.digest, source.family, source.preset) == (first["digest"], "class-vae", "digits-vae")


def test_mistakes_are_one_line(tmp_path: Path, capsys: Captured) -> None:
    assert run_command(["train", "digits-vea"]) == 3
    assert "did you mean digits-vae" in capsys.readouterr().err
    assert run_command(["train", "cifar10-ddpm", "--data-dir", str(tmp_path), "--offline"]) == 3
    assert "cifar" in capsys.readouterr().err


@pytest.mark.parametrize("flag", ["--store", "--out"])
def test_a_place_that_cannot_be_is_said_before_the_training(
    tmp_path: Path, capsys: Captured, flag: str
) -> None:
    (tmp_path / "file").touch()
    assert trained(tmp_path, "--steps", "1", flag, str(tmp_path / "file" / "x")) == 3
    said = capsys.readouterr().err
    assert f"{flag} {tmp_path}/file/x: cannot be made" in said and said.count("\n") == 1


def test_a_training_leaves_nothing_half_written_in_its_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(train_base.__kwdefaults__, "checkpoint_seconds", 0.0)
    assert trained(tmp_path, "--steps", "3") == 0
    assert [path for path in (tmp_path / "store").rglob("*") if path.is_file()] == []
    assert list((tmp_path / "store" / "tmp").iterdir()) == []


def test_a_training_that_was_stopped_goes_on_to_the_same_bits(tmp_path: Path) -> None:
    base = BASES["digits-vae"]
    recipe = base.training.model_copy(update={"steps": 12})

    def run(name: str, stop: int | None) -> None:
        def report(progress: Progress) -> None:
            if progress.step == stop:
                raise KeyboardInterrupt

        train_base(
            base,
            recipe,
            load_dataset("digits"),
            dataset_card("digits").classes,
            tmp_path / name,
            Store(tmp_path / f"{name} store"),
            device="cpu",
            report=report,
            say=lambda line: said.append(line),
            checkpoint_seconds=0.0,
        )

    said: list[str] = []
    run("whole", None)
    with pytest.raises(KeyboardInterrupt):
        run("stopped", 7)
    assert not (tmp_path / "stopped").exists()
    run("stopped", None)
    assert any("goes on from a checkpoint" in line for line in said)
    one, other = (
        load_class_model(tmp_path / name, name="x").named_tensors() for name in ("whole", "stopped")
    )
    assert all(torch.equal(tensor, other[name]) for name, tensor in one.items())


def test_what_knows_only_text_is_refused_on_classes(capsys: Captured, tmp_path: Path) -> None:
    words = ["run", "--suite", "digits-vae", "--dry-run", "--store", str(tmp_path)]
    assert run_command([*words, "--methods", "uce"]) == 3
    said = capsys.readouterr().err
    assert "uce: knows text-to-image models, digits-vae is a class-vae one" in said and "retrain" in said
    assert run_command([*words, "--methods", "esd-x"]) == 3
    assert "valid: none, sa, retrain" in capsys.readouterr().err


def test_a_run_erases_a_class_and_retrains_without_it(tmp_path: Path, capsys: Captured) -> None:
    """The same plan, store, sampler and leaderboard as text-to-image; a second run finds all of it done.

    What is exported of it comes back as a row, and as a base, with the same numbers.
    """
    quick = ["sa.steps=3", "sa.general_images=20", "sa.fisher_images=4", "sa.surrogate_images=8"]
    options = [word for option in (*quick, "retrain.steps=20") for word in ("--method-option", option)]
    words = ["run", "--suite", "digits-vae", "--methods", "sa,retrain", "--limit", "3", "--json"]
    words += [
        "--evaluators",
        "classifier",
        "--store",
        str(tmp_path / "store"),
        "--out",
        str(tmp_path / "run"),
    ]
    assert run_command([*words, *options, "--offline"]) == 0
    rows = json.loads(capsys.readouterr().out)["rows"]
    assert {row["method"] for row in rows} == {"none", "sa", "retrain"}
    base = next(
        row["value"]
        for row in rows
        if (row["method"], row["role"], row["metric"], row["scope"])
        == ("none", "target", "class_probability", "overall")
    )
    assert base > 0.8
    done = sorted((tmp_path / "store").rglob("*"))
    assert run_command([*words, *options, "--offline"]) == 0
    assert json.loads(capsys.readouterr().out)["rows"] == rows
    assert [path for path in sorted((tmp_path / "store").rglob("*")) if path.is_file()] == [
        path for path in done if path.is_file()
    ]

    def numbers(rows: list[dict[str, Any]], method: str) -> dict[tuple[str, str], float]:
        own = [row for row in rows if row["method"] == method and row["scope"] == "overall"]
        return {(row["role"], row["metric"]): row["value"] for row in own}

    export = ["export", str(tmp_path / "run"), "sa", "--out"]
    assert run_command([*export, str(tmp_path / "pipeline"), "--format", "diffusers"]) == 3
    assert "valid here: class-model, safetensors, delta (--format)" in capsys.readouterr().err
    assert run_command([*export, str(tmp_path / "folder")]) == 0
    assert run_command([*export, str(tmp_path / "delta.safetensors"), "--format", "delta"]) == 0
    capsys.readouterr()
    edits = [f"folder={tmp_path / 'folder'}", f"file={tmp_path / 'delta.safetensors'}"]
    again = [word for edit in edits for word in ("--edit", edit)]
    rest = words[: words.index("--methods")] + words[words.index("--limit") : -1]
    assert run_command([*rest, str(tmp_path / "again"), *again]) == 0
    edited = json.loads(capsys.readouterr().out)["rows"]
    assert numbers(rows, "sa") == numbers(edited, "folder") == numbers(edited, "file")
    as_base = ["--methods", "none", "--model", str(tmp_path / "folder")]
    assert run_command([*rest, str(tmp_path / "as base"), *as_base]) == 0
    assert numbers(json.loads(capsys.readouterr().out)["rows"], "none") == numbers(rows, "sa")


MINE = """
from dataclasses import dataclass

from erasure_bench.methods.base import MethodCard
from erasure_bench.methods.edit import new_edit
from erasure_bench.methods.machinery.cost import Cost


@dataclass(frozen=True, kw_only=True)
class Fainter:
    factor: float = 0.9

    def erase(self, model, concepts, context):
        bias = model.named_tensors()["vae.decoder.0.bias"].detach()
        tensors = {"vae.decoder.0.bias": bias * self.factor}
        return new_edit("fainter", self, model, concepts, tensors=tensors, cost=Cost(1.0, 1, 0))


CARD = MethodCard(
    name="fainter",
    title="Fainter",
    paper="",
    formula="",
    build=Fainter,
    families=("class-vae",),
    many_concepts=True,
)
"""


def test_a_method_of_ones_own_is_checked_on_a_model_of_its_family(
    tmp_path: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text(MINE)
    assert run_command(["check", "./mine.py:CARD", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["model"]["name"] == "digits-vae" and found["concepts"] == ["0", "1"]
    verdicts = {check["name"]: (check["verdict"], check["why"]) for check in found["checks"]}
    assert verdicts["changes the picture of the concept"][0] == "ok"
    assert verdicts["erases several concepts"][0] == "ok"
    verdict, why = verdicts["draws pictures of the concept"]
    assert verdict == "skipped" and "forgotten into noise" in why


def test_check_tries_a_method_on_a_family_that_it_knows(capsys: Captured) -> None:
    for name, family in (("retrain", "class-ddpm"), ("sa", "text-to-image"), ("esd-x", "text-to-image")):
        assert ground_for(method_card(name), name, None).source.family == family
    ground = ground_for(method_card("sa"), "sa", "digits-vae")
    assert ground.prompt == "0" and [concept.target for concept in ground.concepts] == ["0", "1"]
    assert run_command(["check", "uce", "--model", "digits-vae"]) == 3
    assert "uce knows text-to-image models, digits-vae is a class-vae one" in capsys.readouterr().err
    assert run_command(["check", "retrain", "--model", "microworld"]) == 3
    assert "such as digits-ddpm (--model)" in capsys.readouterr().err
