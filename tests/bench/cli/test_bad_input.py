"""Whatever is typed wrongly is one line on stderr that says where, exit code 3; nothing is made or drawn."""

import os
import shutil
from pathlib import Path

import pytest
import torch

from erasure_bench.bench.cli.app import run_command
from erasure_bench.errors import BenchError
from erasure_bench.user_paths import user_path

Captured = pytest.CaptureFixture[str]
RUN = ["run", "--suite", "microworld-instances", "--concepts", "grumpy-cat"]
NONE = [*RUN, "--methods", "none", "--evaluators", "clip"]
DRY = [*NONE, "--dry-run"]
ESD = [*RUN, "--methods", "esd-x", "--evaluators", "clip", "--dry-run", "--method-option"]
CLIP = [*DRY, "--evaluator-option"]
CLASSIFIER = [*RUN, "--methods", "none", "--evaluators", "classifier", "--dry-run", "--evaluator-option"]
NUDITY = [*RUN, "--methods", "none", "--evaluators", "nudity", "--dry-run", "--evaluator-option"]
I2P = ["run", "--suite", "i2p", "--model", "microworld", "--methods", "none", "--dry-run"]

MISTAKES: dict[str, tuple[list[str], str]] = {
    # nothing where something is expected
    "an empty command": ([""], "the argument after bench is empty"),
    "an empty suite": (["run", "--suite", "", "--methods", "none"], "after --suite is empty"),
    "an empty list": ([*RUN, "--methods", " , "], "--methods is empty"),
    "an empty model": ([*DRY, "--model", ""], "after --model is empty"),
    "an empty model after =": ([*DRY, "--model="], "--model= has no value"),
    "an empty folder": ([*NONE, "--out", ""], "after --out is empty"),
    "an empty run": (["table", ""], "after table is empty"),
    "an empty edit": ([*DRY, "--edit", "a="], "--edit 'a=': write it as NAME=PATH"),
    "an edit without a name": ([*DRY, "--edit", "=x"], "write it as NAME=PATH"),
    "an empty key": ([*ESD, "=1"], "write it as KEY=VALUE"),
    "nothing but a dot": ([*ESD, ".=1"], "NAME.KEY=VALUE"),
    # names
    "a suite that is a path": (["run", "--suite", "/etc/passwd", "--methods", "none"], "unknown suite"),
    "a suite of two lines": (["run", "--suite", "日本\n二", "--methods", "none"], "unknown suite"),
    "a null in a method": ([*RUN, "--methods", "a\0b"], "unknown method"),
    "a method that is a folder": ([*RUN, "--methods", "./folder"], "unknown method"),
    "a method that looks like a flag": ([*RUN, "--methods", "-x"], "unknown method '-x'"),
    "a very long method": ([*RUN, "--methods", "a" * 5000], "unknown method"),
    "a name that is missing from a file": ([*RUN, "--methods", "own.py:X"], "own.py"),
    "a file without a name": ([*RUN, "--methods", "own.py"], "own.py:NAME"),
    "a file that is no Python": ([*RUN, "--methods", "broken.py:X"], "broken.py, line 1"),
    "a file of nulls": ([*RUN, "--methods", "nulls.py:X"], "nulls.py"),
    "a file that is not there": ([*RUN, "--methods", "no/such.py:X"], "no such file"),
    "a link to itself": ([*RUN, "--methods", "loop.py:X"], "loop.py"),
    "wide letters": ([*DRY, "--concepts", "ＧＲＵＭＰＹ"], "unknown concept"),
    "a plus alone": ([*DRY, "--concepts", "+"], "NAME+NAME"),
    "an open parenthesis": ([*DRY, "--concepts", "a(b"], "unknown concept"),
    "an unknown evaluator": ([*DRY, "--evaluators", "clipp"], "did you mean clip"),
    "an unknown preset": ([*ESD[:-1], "--preset", "papr"], "did you mean paper"),
    "an unknown run": (["table", "no\nsuch"], "no run"),
    "an unknown card": (["show", "/etc/passwd"], "unknown name"),
    "the base model as its own reference": ([*DRY, "--reference", "microworld"], "--reference microworld"),
    # numbers
    "a seed that is a word": ([*DRY, "--seeds", "zero"], "--seeds 'zero'"),
    "a seed below nought": ([*DRY, "--seeds", "-1"], "--seeds: needs"),
    "no workers": ([*DRY, "--workers", "0"], "'--workers'"),
    "workers below nought": ([*DRY, "--executor", "ray", "--workers", "-1"], "'--workers'"),
    "half a seed": ([*DRY, "--seeds", "1.5"], "--seeds '1.5'"),
    "a range of seeds": ([*DRY, "--seeds", "0-3"], "such as 0,1,2"),
    "a seed of 5,000 digits": ([*DRY, "--seeds", "9" * 5000], "--seeds"),
    "no prompts": ([*DRY, "--limit", "0"], "--limit"),
    "fewer than no prompts": ([*DRY, "--limit", "-3"], "--limit"),
    "no batch": ([*DRY, "--batch-size", "0"], "--batch-size"),
    "a batch of any size": ([*DRY, "--batch-size", "9" * 5000], "--batch-size"),
    "half a step": ([*ESD, "steps=0.5"], "--method-option steps=0.5"),
    "steps below nought": ([*ESD, "steps=-1"], "steps=-1"),
    "steps of 5,000 digits": ([*ESD, f"steps={'9' * 5000}"], "steps"),
    "infinity": ([*ESD, "eta=inf"], "not a finite number"),
    # options
    "a hidden attribute": ([*ESD, "__class__=1"], "unknown setting"),
    "dots in a name": ([*ESD, "a.b.c=1"], "unknown name before the dot"),
    "a list for a word": ([*ESD, "parameters=[]"], "parameters=[]"),
    "a list that nests too deep": (
        [*RUN, "--methods", "uce", "--method-option", f"retain={'[' * 99_999}"],
        "uce",
    ),
    "half a list": ([*RUN, "--methods", "sa", "--method-option", "surrogate=[1"], "surrogate=[1"),
    "a template without a place": ([*CLIP, "template=x"], "exactly one {}"),
    "a template with a name": ([*CLIP, "template={} {x}"], "exactly one {}"),
    "a template that is not closed": ([*CLIP, "template={} {"], "exactly one {}"),
    "a precision that is none": ([*CLIP, "precision=int4"], "'fp32', 'fp16' or 'bf16'"),
    "a backbone that is a folder of nothing": ([*CLIP, "backbone=folder"], "open_clip_config.json"),
    "a backbone with a null": ([*CLIP, "backbone=a\0b"], "unknown CLIP backbone"),
    "two numbers for three": ([*CLASSIFIER, "mean=1,2"], "needs 3 numbers"),
    "a deviation of nought": ([*CLASSIFIER, "std=0,0,0"], "std must be positive"),
    "a classifier that is a folder of nothing": ([*CLASSIFIER, "model=folder"], "oracle.json missing"),
    "a classifier that is not there": ([*CLASSIFIER, "model=no.onnx"], "is not a file"),
    "a threshold that is no number": ([*NUDITY, "threshold=nan"], "threshold must lie in"),
    "weights that are a folder": ([*NUDITY, "weights=folder"], "are not a file"),
    "an option of no suite": ([*DRY, "--suite-option", "mode=native"], "no option 'mode'"),
    # places
    "a model that is a file": ([*DRY, "--model", "./file"], "bench: file: neither a safetensors file"),
    "a model that is a folder of nothing": ([*DRY, "--model", "folder"], "folder is not a complete"),
    "a model in nobody's home": ([*DRY, "--model", "~no-such-user/x"], "~no-such-user is nobody's home"),
    "weights in nobody's home": ([*NUDITY, "weights=~no-such-user/x"], "~no-such-user is nobody's home"),
    "an edit in nobody's home": ([*DRY, "--edit", "a=~no-such-user/x"], "~no-such-user is nobody's home"),
    "an edit that is not there": ([*DRY, "--edit", "a=no.safetensors"], "no.safetensors"),
    "an edit that is a folder of nothing": ([*DRY, "--edit", "a=folder"], "folder"),
    "an edit that is a device": ([*DRY, "--edit", "a=/dev/null"], "/dev/null"),
    "an edit called like the baseline": ([*DRY, "--edit", "none=file"], "'none'"),
    "data in a file": ([*I2P, "--data-dir", "file"], "--data-dir file: no such folder"),
    "data for a suite that needs none": ([*DRY, "--data-dir", "nowhere"], "--data-dir nowhere"),
    "results in a file": ([*NONE, "--out", "file"], "--out file: cannot be made: there is a file"),
    "results below a file": ([*NONE, "--out", "file/x"], "--out file/x: cannot be made"),
    "results in a link to itself": ([*NONE, "--out", "loop"], "--out loop: cannot be made"),
    "results with a null": ([*NONE, "--out", "a\0b"], "'--out'"),
    "a store in a file": ([*NONE, "--store", "file"], "--store file: cannot be made"),
    "a store below a file": ([*DRY, "--store", "file/x"], "--store file/x: cannot be made"),
    "a store in a link to itself": ([*DRY, "--store", "loop"], "--store loop: cannot be made"),
    "a store that the system keeps": ([*NONE, "--store", "/proc/no/such"], "--store /proc/no/such"),
    "results for a store": ([*NONE, "--store", "s", "--out", "s"], "--out s lies in the store s"),
    "results in the store": ([*NONE, "--store", "s", "--out", "s/x"], "--out s/x lies in the store"),
    "a plan's results below a file": ([*DRY, "--out", "file/x"], "--out file/x: cannot be made"),
    "a plan's results in a link to itself": ([*DRY, "--out", "loop"], "--out loop: cannot be made"),
    "a plan's results in the store": ([*DRY, "--store", "s", "--out", "s/x"], "--out s/x lies in the store"),
    # flags that do not fit together, or name nothing that is there
    "a cluster of nobody knows how many": ([*DRY, "--executor", "slurm"], "--executor slurm: say how many"),
    "a cluster's option without a cluster": ([*DRY, "--slurm", "partition=x"], "goes with --executor slurm"),
    "an address without a cluster": ([*DRY, "--ray-address", "auto"], "goes with --executor ray"),
    "a device and devices": ([*DRY, "--device", "cpu", "--devices", "cpu"], "--devices cpu: give one"),
    "devices that are not here": ([*DRY, "--devices", "cuda:99"], "no such device"),
    "an unknown tracker": ([*DRY, "--track", "mlflo"], "did you mean mlflow"),
    "a bucket that is none": ([*DRY, "--remote", "bucket"], "--remote bucket: no bucket's address"),
    "a merge of nothing": (["merge", "folder", "--out", "m"], "no run 'folder'"),
    "an export of nothing": (["export", "folder", "none", "--out", "e"], "no run 'folder'"),
    "an export below a file": (["export", "folder", "none", "--out", "file/x"], "--out file: cannot be made"),
    "a check on no model": (["check", "none", "--model", "./no"], "./no"),
    "more than was asked": (["doctor", "now"], "unexpected extra argument"),
}


@pytest.fixture(autouse=True)
def strange_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The current folder, with things in it that are not what their names are used for."""
    monkeypatch.chdir(tmp_path)
    for variable in ("BENCH_STORE", "BENCH_DATA"):
        monkeypatch.delenv(variable, raising=False)
    Path("folder").mkdir()
    Path("file").write_text("x")
    Path("own.py").write_text("x = 1\n")
    Path("broken.py").write_text("def (:\n")
    Path("nulls.py").write_bytes(b"\0\0")
    for name in ("loop", "loop.py"):
        Path(name).symlink_to(name)


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_one_line_and_nothing_is_made(mistake: str, capsys: Captured) -> None:
    words, said = MISTAKES[mistake]
    before = set(Path().rglob("*"))
    assert run_command(words) == 3
    out, err = capsys.readouterr()
    assert out == "" and err.startswith("bench: ") and err.count("\n") == 1
    assert said in err
    made = {path.parts[0] for path in set(Path().rglob("*")) - before}
    assert made <= {".bench", "s"}, "only a store's folder may be there"
    assert not list(Path().rglob("manifest.json"))


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_a_clusters_device_need_not_be_here(capsys: Captured) -> None:
    """It is the workers': the command may be given where there is no GPU."""
    cluster = ["--executor", "slurm", "--workers", "2", "--device", "cuda"]
    assert run_command([*NUDITY[:-1], *cluster]) == 0
    assert "cells on microworld" in capsys.readouterr().out
    assert run_command([*NUDITY[:-1], "--device", "cuda"]) == 3


@pytest.mark.parametrize("words", [[], ["run"], ["show"]], ids=["bench", "bench run", "bench show"])
def test_whoever_asks_for_nothing_gets_the_help_alone(words: list[str], capsys: Captured) -> None:
    assert run_command(words) == 3
    out, err = capsys.readouterr()
    assert "Usage: bench" in out and err == ""


def test_a_path_means_what_a_shell_would_make_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("WORK", "w")
    assert user_path("~/a") == tmp_path / "a"
    assert user_path("$WORK/a") == user_path("${WORK}/a") == Path("w/a")
    assert user_path("$NO_SUCH_VARIABLE/a") == Path("$NO_SUCH_VARIABLE/a")
    with pytest.raises(BenchError, match="~no-such-user"):
        user_path("~no-such-user/a")


def test_a_tilde_and_a_variable_are_replaced_wherever_a_folder_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured, tiny_model_dir: Path
) -> None:
    """`--out=~/x` and a job's YAML reach us as they are: no shell has seen them."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("BENCH_STORE", "~/store")
    shutil.copytree(tiny_model_dir, tmp_path / "home" / "model")
    words = [*RUN, "--methods", "none", "--limit", "1", "--evaluators", "nudity", "--model", "~/model"]
    assert run_command([*words, "--out=$HOME/out"]) == 0
    assert {path.name for path in (tmp_path / "home").iterdir()} == {"model", "store", "out"}
    assert not [name for name in os.listdir() if name.startswith(("~", "$"))]


def test_all_methods_and_one_more(tmp_path: Path, capsys: Captured) -> None:
    Path("mine.py").write_text(
        "from dataclasses import dataclass\n"
        "@dataclass(frozen=True)\n"
        "class Mine:\n"
        "    def erase(self, model, concepts, context): ...\n"
    )
    assert run_command([*RUN, "--methods", "all,mine.py:Mine,none", "--evaluators", "clip", "--dry-run"]) == 0
    said = capsys.readouterr().out
    assert "Mine" in said and "uce" in said
