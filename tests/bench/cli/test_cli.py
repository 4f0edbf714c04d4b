"""The command line: exit codes, one-line mistakes, results on stdout only."""

import json
import math
import os
import signal
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from erasure_bench.bench.cli.app import run_command
from erasure_bench.bench.cli.paths import run_folder
from erasure_bench.bench.planning.config import CHANGES_NO_RESULT, RunConfig, named_options, parse_config
from erasure_bench.bench.planning.tasks import GenerateTask
from erasure_bench.bench.running.watcher import Watcher
from erasure_bench.bench.running.worker import Worker
from erasure_bench.bench.storage.store import Store
from erasure_bench.errors import BenchError
from erasure_bench.methods.registry import METHODS, method_card

ROOT = Path(__file__).resolve().parents[3]
SUITE = "microworld-instances"
Captured = pytest.CaptureFixture[str]
FIELDS = list(RunConfig.model_fields)
"""Only what stands above `device` can change a result."""


@pytest.fixture(autouse=True)
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs and the store go below the current folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("BENCH_STORE", raising=False)
    monkeypatch.delenv("COLUMNS", raising=False)


def bench(*words: str, **options: object) -> "subprocess.CompletedProcess[str]":
    """`python -m bench` in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "erasure_bench", *words],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=600,
        **options,  # type: ignore[call-overload]
    )


def tiny_run(tiny_model_dir: Path, *more: str) -> list[str]:
    """A run on a random model, measured with weights that a package ships."""
    words = (
        f"run --suite {SUITE} --concepts grumpy-cat --methods negative-prompt --evaluators nudity --limit 1"
    )
    return [*words.split(), "--model", str(tiny_model_dir), "--out", "out", "--store", "store", *more]


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys, erasure_bench.bench.cli.app as app\n"
        "assert app.run_command(['--help']) == 0\n"
        "heavy = {'torch', 'pandas', 'numpy', 'diffusers', 'scipy', 'pydantic'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert all(
        command in done.stdout
        for command in ("run", "list", "show", "table", "merge", "export", "check", "doctor")
    )


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["run", "--suite", SUITE], "give --methods"),
        (["run", "--suite", SUITE, "--edit", "a=x", "--edit", "a=y"], "a is given twice"),
        (["run", "--suite", SUITE, "--methods", "none", "--limit", "many"], "'--limit'"),
        (["run", "--suite", SUITE, "--methods", "none", "--limit", "0"], "--limit: "),
        (["run", "--suite", SUITE, "--methods", ","], "--methods is empty"),
        (["run", "--suite", SUITE, "--methods", "none", "--seeds", "a"], "--seeds 'a'"),
        (["run", "--suite", SUITE, "--methods", "none", "--dtype", "int8"], "--dtype: "),
        (["run", "--suite", SUITE, "--methods", "none", "--method-option", "eta"], "KEY=VALUE"),
        (["run", "--suite", "microworld-instance", "--methods", "none"], f"did you mean {SUITE}"),
        (
            ["run", "--suite", SUITE, "--methods", "none", "--model", "./nowhere"],
            "./nowhere: no such directory",
        ),
        (["show", "esdx"], "did you mean esd-x"),
        (["list", "method"], "'method' is not one of"),
        (["table", "nothing"], "no run 'nothing'"),
        (["frobnicate"], "No such command"),
        (["run", "--frob"], "No such option"),
    ],
)
def test_a_mistake_is_one_line_on_stderr_and_exit_code_3(
    words: list[str], message: str, capsys: Captured
) -> None:
    assert run_command(words) == 3
    said = capsys.readouterr()
    assert said.out == ""
    assert message in said.err and said.err.startswith("bench: ") and said.err.count("\n") == 1


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--methods", "esdx"], "did you mean esd-x"),
        (["--concepts", "grumpy"], "grumpy cat"),
        (["--evaluators", "nudty"], "did you mean nudity"),
        (["--preset", "offical"], "did you mean official"),
        (["--methods", "esd-x", "--method-option", "etta=2"], "did you mean eta"),
        (["--methods", "esd-x", "--method-option", "eta=much"], "--method-option"),
        (["--methods", "esd-x", "--method-option", "eta=nan"], "eta=nan: not a finite number"),
        (["--methods", "esd-x", "--method-option", "eta=1", "--method-option", "eta=2"], "given twice"),
        (["--methods", "none", "--method-option", "eta=1"], "no method is there to take it"),
        (["--methods", "esd-x", "--method-option", "esd-u.eta=1"], "esd-u"),
        (["--evaluator-option", "threshold=2"], "--evaluator-option"),
        (["--evaluator-option", "nudty.threshold=2"], "unknown name before the dot 'nudty'"),
        (["--suite-option", "mode=native"], "no option 'mode'"),
    ],
)
def test_a_wrong_name_in_a_plan_suggests_the_right_one(
    more: list[str], message: str, tiny_model_dir: Path, capsys: Captured
) -> None:
    assert run_command([*tiny_run(tiny_model_dir), "--dry-run", *more]) == 3
    said = capsys.readouterr()
    assert said.out == "" and message in said.err and said.err.count("\n") == 1


def test_a_results_folder_that_cannot_be_made_is_known_before_anything_is_drawn(
    tiny_model_dir: Path, tmp_path: Path, capsys: Captured
) -> None:
    (tmp_path / "taken").write_text("")
    assert run_command([*tiny_run(tiny_model_dir), "--out", "taken/out"]) == 3
    assert "bench: --out taken/out: cannot be made" in capsys.readouterr().err
    assert not list(Path("store").glob("erase/*/*"))


def test_a_missing_weight_says_which_file_and_where(tmp_path: Path, capsys: Captured) -> None:
    (tmp_path / "model").mkdir()
    assert run_command(tiny_run(tmp_path / "model")) == 3
    said = capsys.readouterr().err
    assert "unet/diffusion_pytorch_model.safetensors" in said and str(tmp_path / "model") in said


def test_a_dry_run_prints_the_plan_and_draws_nothing(tiny_model_dir: Path, capsys: Captured) -> None:
    assert run_command([*tiny_run(tiny_model_dir), "--dry-run", "--json"]) == 0
    plan = json.loads(capsys.readouterr().out)
    assert [cell["method"] for cell in plan["cells"]] == ["none", "negative-prompt"]
    assert plan["images"] == plan["images_to_draw"] == 10
    assert plan["tasks_to_do"] == plan["tasks"] == {"erase": 2, "generate": 10, "features": 0, "score": 10}
    assert not Path("out").exists()
    assert run_command([*tiny_run(tiny_model_dir), "--dry-run"]) == 0
    assert "10 to draw" in capsys.readouterr().out


def test_a_dry_run_says_what_methods_make_and_how_long_it_takes(
    tiny_model_dir: Path, capsys: Captured
) -> None:
    options = {"images": 4, "denoise_steps": 2, "eta": 0, "steps": 2}
    words = tiny_run(tiny_model_dir)
    words[words.index("negative-prompt")] = "loss-max"
    for key, value in options.items():
        words += ["--method-option", f"loss-max.{key}={value}"]

    assert run_command([*words, "--dry-run", "--json"]) == 0
    plan = json.loads(capsys.readouterr().out)
    assert plan["methods_make_for_themselves"] == {"pictures": 4}
    assert "loss-max" in plan["estimate"]["not_known_of"], "nothing was measured on this machine yet"

    assert run_command(words) == 0
    capsys.readouterr()
    assert run_command([*words, "--seeds", "1", "--dry-run", "--json"]) == 0
    plan = json.loads(capsys.readouterr().out)
    assert plan["estimate"]["not_known_of"] == []
    assert plan["estimate"]["seconds"] > 0 and plan["estimate"]["by_kind"]["erase"] > 0
    assert run_command([*words, "--seeds", "1", "--dry-run"]) == 0
    said = capsys.readouterr().out
    assert "pictures that methods make for themselves: 4" in said
    assert "  time      about " in said

    assert run_command([*words, "--dry-run"]) == 0
    assert "none: nothing is to do" in capsys.readouterr().out


@pytest.mark.parametrize("kind", ["methods", "evaluators", "attacks", "suites", "models", "transformations"])
def test_everything_listed_has_a_card(kind: str, capsys: Captured) -> None:
    assert run_command(["list", kind, "--json"]) == 0
    names = [item["name"] for item in json.loads(capsys.readouterr().out)]
    assert names
    for name in names:
        assert run_command(["show", name]) == 0
        assert f"({kind})" in " ".join(capsys.readouterr().out.split())
        assert run_command(["show", name, "--json"]) == 0
        cards = json.loads(capsys.readouterr().out)
        kinds = [card["kind"] for card in (cards if isinstance(cards, list) else [cards])]
        assert kind in kinds and len(set(kinds)) == len(kinds)


def test_a_name_of_several_kinds_shows_the_card_of_each(capsys: Captured) -> None:
    assert run_command(["show", "digits-vae"]) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "(suites)" in text and "(models)" in text


@pytest.mark.parametrize("kind", ["methods", "evaluators"])
def test_a_package_that_cannot_be_loaded_does_not_break_the_list(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    info = tmp_path / "their_failing-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: their-failing\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[erasure_bench.{kind}]\ntheirs = their_failing:CARD\n")
    (tmp_path / "their_failing.py").write_text("raise RuntimeError('no\\nGPU')\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert run_command(["list", kind, "--json"]) == 0
    found = {item["name"]: item for item in json.loads(capsys.readouterr().out)}
    assert len(found) > 1
    assert found["theirs"]["title"] == "cannot be loaded"
    assert "RuntimeError: no GPU" in found["theirs"]["more"]
    assert sum(item["title"] == "cannot be loaded" for item in found.values()) == 1


def test_the_card_of_a_method_in_a_file_is_shown(tmp_path: Path, capsys: Captured) -> None:
    file = tmp_path / "own.py"
    file.write_text(
        "from dataclasses import dataclass\n"
        "@dataclass(frozen=True, kw_only=True)\n"
        "class Own:\n"
        '    """Turns it off."""\n'
        "    strength: float = 2.5\n"
        "    def erase(self, model, concepts, context): ...\n"
    )
    assert run_command(["show", f"{file}:Own", "--json"]) == 0
    card = json.loads(capsys.readouterr().out)
    assert (card["kind"], card["name"], card["title"]) == ("methods", "Own", "Turns it off")
    assert card["settings"]["strength"]["default"] == "2.5"
    assert run_command(["show", f"{file}:Other"]) == 3
    assert "unknown name" in capsys.readouterr().err


def test_a_finished_run_is_printed_in_every_format(
    fake: ModuleType, tmp_path: Path, capsys: Captured
) -> None:
    fake.run(
        fake.tiny_plan(), tmp_path / "s", tmp_path / "runs" / "one", fake.FakeWorker(Store(tmp_path / "s"))
    )
    assert run_command(["table", "one"]) == 0
    text = capsys.readouterr().out
    assert "brightness" in text and max(map(len, text.splitlines())) <= 100
    assert run_command(["table", "runs/one", "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["methods"] == ["none", "dim"]
    assert run_command(["table", "one", "--format", "csv"]) == 0
    assert capsys.readouterr().out.startswith("method,scope,concept,role")
    assert run_command(["table", "one", "--format", "md"]) == 0
    assert capsys.readouterr().out.startswith("# Tiny")
    assert run_command(["table", "one", "--concepts", "all"]) == 0
    assert "Blue Cube" in capsys.readouterr().out
    assert run_command(["table", "one", "--concepts", "Red Cube"]) == 3
    assert "did you mean Blue Cube" in capsys.readouterr().err


def test_options_with_and_without_a_name() -> None:
    assert named_options(["eta=1", "esd-x.steps=5", "esd-x.eta=2"], "--method-option") == {
        "": {"eta": "1"},
        "esd-x": {"steps": "5", "eta": "2"},
    }
    with pytest.raises(BenchError, match="NAME.KEY=VALUE"):
        named_options([".eta=1"], "--method-option")


def test_the_same_command_has_the_same_folder_whatever_the_device() -> None:
    config = parse_config({"suite": "s", "methods": ("m",), "device": "cpu", "batch_size": 4})
    other = parse_config({"suite": "s", "methods": ("m",), "device": "cuda", "batch_size": 8})
    assert run_folder(None, config, "org/model") == run_folder(None, other, "org/model")
    for more in ({"limit": 3}, {"images": 2}, {"images": 3}, {"scheduler": "lms"}, {"steps": 9}):
        changed = parse_config({"suite": "s", "methods": ("m",), **more})
        assert run_folder(None, config, "org/model") != run_folder(None, changed, "org/model")
    assert run_folder(Path("x"), config, "m") == Path("x")


@pytest.mark.parametrize("field", FIELDS[FIELDS.index("device") :])
def test_what_changes_no_result_changes_no_folder(field: str) -> None:
    """So a run that was killed goes on in its folder with more time for a task, or more checkpoints."""
    config = RunConfig(suite="tiny", methods=("dim",))
    another: dict[str, object] = {
        "device": "cuda",
        "batch_size": 7,
        "compile": "off",
        "task_timeout": 60.0,
        "checkpoint_minutes": 1.0,
        "data_dir": Path("data"),
    }
    assert field in CHANGES_NO_RESULT
    other = config.model_copy(update={field: another[field]})
    assert run_folder(None, other, "m") == run_folder(None, config, "m")


def test_a_run_measures_and_a_second_one_finds_everything(tiny_model_dir: Path) -> None:
    first = bench(*tiny_run(tiny_model_dir, "--json"))
    assert first.returncode == 0, first.stderr
    document = json.loads(first.stdout)
    assert document["methods"] == ["none", "negative-prompt"]
    assert "added the baseline 'none'" in first.stderr
    files = {path.name for path in Path("out").iterdir()}
    assert files == {
        "leaderboard.json",
        "leaderboard.csv",
        "leaderboard.md",
        "scores.parquet",
        "prompts.parquet",
        "images.png",
        "run.json",
    }
    before = {path: path.read_bytes() for path in Path("out").iterdir() if path.stem == "leaderboard"}

    second = bench(*tiny_run(tiny_model_dir))
    assert second.returncode == 0, second.stderr
    assert "22 in the store, 0 to do, 0 images to draw" in " ".join(second.stderr.split())
    assert all(path.read_bytes() == content for path, content in before.items())


def test_an_interrupt_is_one_line_with_a_hint_and_exit_code_130(
    tiny_model_dir: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C in the middle of the third drawing; the same command then goes on."""
    drawn: list[str] = []
    generate = Worker.generate

    def interrupted(self: Worker, task: GenerateTask, watcher: Watcher) -> None:
        if len(drawn) == 2:
            signal.raise_signal(signal.SIGINT)
        generate(self, task, watcher)
        drawn.append(task.id)

    # A shell's background jobs, CI's among them, start with SIGINT ignored.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with monkeypatch.context() as patch:
            patch.setattr(Worker, "generate", interrupted)
            assert run_command(tiny_run(tiny_model_dir)) == 130
    finally:
        signal.signal(signal.SIGINT, before)
    said = capsys.readouterr()
    assert said.out == "" and "Traceback" not in said.err
    last = said.err.strip().splitlines()[-1]
    assert last == "bench: stopped; what is finished is kept: the same command goes on from here"

    assert run_command([*tiny_run(tiny_model_dir), "--dry-run", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["tasks_to_do"]["generate"] == 10 - 2


def test_a_failed_cell_is_shown_and_the_exit_code_is_1(
    tiny_model_dir: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    from erasure_bench.methods import negative_prompt

    def broken(*anything: object) -> None:
        raise RuntimeError("no such luck")

    method = negative_prompt.NEGATIVE_PROMPT.build
    monkeypatch.setattr(method, "erase", broken)
    assert run_command(tiny_run(tiny_model_dir)) == 1
    said = capsys.readouterr()
    assert "no such luck" in said.out and "failed" in said.out
    assert json.loads(Path("out/run.json").read_text())["failures"][0]["method"] == "negative-prompt"


def test_the_curve_of_a_training_that_was_stopped_is_in_the_record(
    tiny_model_dir: Path, capsys: Captured
) -> None:
    options = ["steps=20", "learning_rate=1e30", "trajectories=1"]
    words = tiny_run(tiny_model_dir, *(word for option in options for word in ("--method-option", option)))
    words[words.index("negative-prompt")] = "esd-u"
    assert run_command(words) == 1
    assert "esd-u" in capsys.readouterr().out
    (failure,) = json.loads(Path("out/run.json").read_text())["failures"]
    assert (failure["method"], failure["stage"]) == ("esd-u", "erase")
    assert "learning_rate" in failure["reason"]
    losses = [float(loss) for loss in failure["losses"]]
    assert 1 < len(losses) < 20 and math.isfinite(losses[0]) and not losses[-1] <= losses[0]


@pytest.mark.usefixtures("microworld")
def test_all_is_every_method_that_is_for_such_models(capsys: Captured) -> None:
    words = ["run", "--suite", SUITE, "--concepts", "grumpy-cat", "--limit", "1", "--dry-run", "--json"]
    assert run_command([*words, "--methods", "all"]) == 0
    planned = json.loads(capsys.readouterr().out)
    fitting = [name for name in METHODS if "text-to-image" in method_card(name).families]
    assert [cell["method"] for cell in planned["cells"]] == fitting and "retrain" not in fitting


def test_a_file_for_a_run_is_one_with_its_flags_and_the_command_line_wins(
    tiny_model_dir: Path, tmp_path: Path, capsys: Captured
) -> None:
    Path("run.yaml").write_text(
        f"suite: {SUITE}\nmethods: [negative-prompt]\nconcepts: [grumpy-cat]\nevaluators: [nudity]\n"
        f"limit: 2\nmodel: {tiny_model_dir}\nstore: store\n"
    )
    assert (
        run_command(
            ["run", "-c", "run.yaml", "--limit", "1", "--save-config", "s.yaml", "--dry-run", "--json"]
        )
        == 0
    )
    of_file = json.loads(capsys.readouterr().out)
    assert run_command([*tiny_run(tiny_model_dir), "--dry-run", "--json"]) == 0
    assert of_file == json.loads(capsys.readouterr().out)
    assert run_command(["run", "-c", "s.yaml", "--dry-run", "--json"]) == 0
    assert of_file == json.loads(capsys.readouterr().out)

    Path("run.yaml").write_text(f"suite: {SUITE}\nmethods:\n- negative-promt\n")
    assert run_command(["run", "-c", "run.yaml", "--dry-run"]) == 3
    said = capsys.readouterr().err
    assert said.startswith(
        "bench: run.yaml:2: methods: unknown method 'negative-promt' (--methods): did you mean "
    )
    assert said.count("\n") == 1


def test_a_run_is_told_to_a_tracker_and_its_status_is_known_after_it(
    tiny_model_dir: Path, capsys: Captured
) -> None:
    assert run_command(tiny_run(tiny_model_dir, "--track", "tensorboard")) == 0
    assert {folder.name for folder in Path("out/tensorboard").iterdir()} == {"run", "none", "negative-prompt"}
    assert not Path("out/.running").exists()
    capsys.readouterr()
    assert run_command(["status", "out", "--json"]) == 0
    status = json.loads(capsys.readouterr().out)
    assert status["state"] == "finished"
    assert [(row["method"], row["done"], row["images_done"]) for row in status["methods"]] == [
        ("none", 1, 5),
        ("negative-prompt", 1, 5),
    ]
