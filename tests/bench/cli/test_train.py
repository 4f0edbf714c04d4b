"""`bench train`: a base is trained once, goes on where it was stopped, and serves a run like any other."""

import json
from pathlib import Path

import pytest
import torch

from erasure_bench.bench.cli.app import run_command
from erasure_bench.bench.running.base_training import train_base
from erasure_bench.bench.storage.store import Store
from erasure_bench.methods.base import Progress
from erasure_bench.models.conditional.folder import load_class_model
from erasure_bench.models.conditional.recipes import BASES
from erasure_bench.models.datasets.registry import dataset_card, load_dataset
from erasure_bench.models.zoo import resolve_model

Captured = pytest.CaptureFixture[str]


def trained(tmp_path: Path, *more: str) -> int:
    where = ["--out", str(tmp_path / "base"), "--store", str(tmp_path / "store"), "--device", "cpu"]
    return run_command(["train", "digits-vae", "--json", *where, *more])


def test_a_base_is_trained_once(tmp_path: Path, capsys: Captured) -> None:
    assert trained(tmp_path, "--steps", "5") == 0
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
    """The same plan, store, sampler and leaderboard as text-to-image; a second run finds all of it done."""
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


def test_what_is_for_text_alone_says_so_of_classes(capsys: Captured) -> None:
    assert run_command(["check", "retrain"]) == 3
    assert "retrain knows class-ddpm, class-vae ones" in capsys.readouterr().err
    assert run_command(["check", "sa", "--model", "digits-vae"]) == 3
    assert "digits-vae is a class-vae one" in capsys.readouterr().err
