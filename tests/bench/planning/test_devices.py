"""A device that is not here, or cannot do the arithmetic, is known before anything else."""

import json
from pathlib import Path

import pytest
import torch

from erasure_bench.bench.cli.app import run_command
from erasure_bench.bench.planning.config import parse_config
from erasure_bench.bench.planning.devices import available_devices, check_devices, check_dtype, pick_device
from erasure_bench.errors import BenchError

GPU = torch.accelerator.is_available()


def config(**words: object) -> dict[str, object]:
    return {"suite": "s", "methods": ("m",), **words}


def test_devices() -> None:
    assert pick_device("cpu") == "cpu"
    assert pick_device("auto") in ("cpu", "cuda")
    assert available_devices()[0] == "cpu"
    for wrong in ("gpu", "cuda:99", "meta", "", "CPU", "cpu:1"):
        with pytest.raises(BenchError, match="--device.*valid: auto, cpu"):
            pick_device(wrong)


def test_each_gpu_is_offered_with_and_without_its_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: True)
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda: torch.device("cuda"))
    monkeypatch.setattr(torch.accelerator, "device_count", lambda: 2)
    assert available_devices() == ("cpu", "cuda", "cuda:0", "cuda:1")
    assert pick_device("cuda:1") == "cuda:1"
    with pytest.raises(BenchError, match="cuda:7.*valid: auto, cpu, cuda, cuda:0, cuda:1"):
        pick_device("cuda:7")


@pytest.mark.skipif(GPU, reason="needs a machine without a GPU")
@pytest.mark.parametrize("dry", [[], ["--dry-run"]], ids=["run", "dry run"])
@pytest.mark.parametrize(
    ("words", "flag"),
    [
        (["--device", "cuda"], "--device 'cuda'"),
        (["--device", "mps"], "--device 'mps'"),
        (["--device", "xyz"], "--device 'xyz'"),
        (["--devices", "cpu,cuda:9"], "--devices 'cuda:9'"),
        (["--evaluator-option", "clip.device=cuda:7"], "--evaluator-option clip.device='cuda:7'"),
        (["--evaluator-option", "device=mps"], "--evaluator-option device='mps'"),
    ],
)
def test_a_device_that_is_not_here_is_one_line_before_anything_is_made(
    words: list[str],
    flag: str,
    dry: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    asked = ["run", "--suite", "microworld-instances", "--methods", "sld-weak", "--evaluators", "clip"]
    assert run_command([*asked, *words, *dry]) == 3
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and flag in said and "valid: " in said and "cpu" in said
    assert not list(tmp_path.iterdir())


def test_a_precision_that_the_device_cannot_do_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    check_dtype("cpu", "bfloat16")

    def lacking(*anything: object, **more: object) -> None:
        raise RuntimeError("\"slow_conv2d_cpu\" not implemented for\n'Half'")

    monkeypatch.setattr(torch.nn.functional, "conv2d", lacking)
    with pytest.raises(BenchError, match="--dtype float16: cpu cannot do it .convolution.*--dtype float32"):
        check_devices(parse_config(config(dtype="float16")))
    check_devices(parse_config(config()))


@pytest.mark.parametrize("seed", [2**63, 2**64, 10**30])
def test_a_seed_past_63_bits_is_refused_at_once(seed: int, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["run", "--suite", "microworld-instances", "--methods", "none", "--seeds", f"0,{seed}"]
    assert run_command(words) == 3
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert f"--seeds: {seed} is too large: seeds go from 0 to {2**63 - 1}" in said


def test_the_largest_seed_goes_through_a_whole_run(
    tmp_path: Path, tiny_model_dir: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    words = (
        f"run --suite microworld-instances --concepts grumpy-cat --methods none --limit 1 --seeds {2**63 - 1}"
    )
    more = f"--evaluators nudity --model {tiny_model_dir} --store s --out o --json"
    assert run_command([*words.split(), *more.split()]) == 0
    assert json.loads(capsys.readouterr().out)
    assert str(2**63 - 1) in Path("o/run.json").read_text()
