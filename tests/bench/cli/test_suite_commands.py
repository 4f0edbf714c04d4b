"""`bench suite new` and `check`, `bench fetch`, and a user's own suite in `bench run`, `show` and `merge`."""

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from erasure_bench.bench.cli.app import run_command
from erasure_bench.bench.planning.config import RunConfig
from erasure_bench.bench.planning.prepare import prepare

Captured = pytest.CaptureFixture[str]


@pytest.fixture
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("BENCH_STORE", raising=False)
    assert run_command(["suite", "new", "mine"]) == 0
    assert "bench run --suite ./mine.yaml" in capsys.readouterr().out
    return tmp_path / "mine.yaml"


def out(capsys: Captured) -> Any:
    return json.loads(capsys.readouterr().out)


def change(file: Path, old: str, new: str) -> None:
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))


def test_check_says_what_the_suite_holds(mine: Path, capsys: Captured) -> None:
    assert run_command(["suite", "check", "./mine.yaml", "--json"]) == 0
    found = out(capsys)
    assert found["concepts"] == {"grumpy cat": {"target": 4, "anchor": 2, "neighbour": 2, "retention": 4}}
    assert (found["prompts"], found["pictures"]) == (12, 24)
    assert found["cut"]["ids"] == found["left_out"]["ids"] == []
    assert run_command(["suite", "check", "./mine.yaml"]) == 0
    assert "none of 12 prompts is longer" in capsys.readouterr().out


def test_check_names_what_is_cut_and_what_is_left_out(mine: Path, capsys: Captured) -> None:
    rows = f"target,{'cat ' * 90},long,long\ntarget,a naked child,x,never\n"
    mine.with_suffix(".csv").write_text(f"role,prompt,subject,id\ntarget,a cat,cat,short\n{rows}")
    assert run_command(["suite", "check", "./mine.yaml", "--json"]) == 0
    found = out(capsys)
    assert (found["cut"]["ids"], found["left_out"]["ids"]) == (["long"], ["never"])
    change(mine, "model: microworld", "model: sd-v1-4")
    assert run_command(["suite", "check", "./mine.yaml", "--json", "--offline"]) == 0
    found = out(capsys)
    assert found["cut"] == {"tokens": 77, "ids": ["long"]}
    assert "sd-v1-4 is not here" in found["notes"][0]


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("kind: instance", "kind: instant", "./mine.yaml:15: concepts[0].kind: should be 'instance'"),
        ("[clip,", "[clipp,", "unknown evaluator 'clipp' (evaluators, ./mine.yaml): did you mean clip"),
        (
            "evaluators:",
            "further_evaluators: [nudity@v4]\nevaluators:",
            "unknown preset of nudity 'v4' (further_evaluators, ./mine.yaml): did you mean v2",
        ),
        (
            "evaluators:",
            "further_evaluators: [cmmd]\nevaluator_options: {cmmd: {nope: 3}}\nevaluators:",
            "./mine.yaml: evaluator_options: unknown option of evaluator 'cmmd' 'nope'",
        ),
        ("model: microworld", "model: microwrld", "unknown model 'microwrld'"),
        ("evaluators:", "attacks: [p4]\nevaluators:", "unknown attack 'p4' (attacks, ./mine.yaml)"),
        (
            "evaluators:",
            "evaluator_options: {clip: {backbne: x}}\nevaluators:",
            "./mine.yaml: evaluator_options: unknown option of evaluator 'clip' 'backbne'",
        ),
        (
            "evaluators: [clip,",
            "evaluator_options: {clip@official: {batch_size: 4}}\nevaluators: [clip@official,",
            "./mine.yaml:11: evaluator_options.clip@official: valid, for all of its instances: clip,",
        ),
        (
            "evaluators:",
            "attacks: p4d\nattack_options: {p4d: {stps: 3}}\nevaluators:",
            "./mine.yaml: attacks: unknown option of attack 'p4d' 'stps'",
        ),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_3(
    mine: Path, capsys: Captured, old: str, new: str, said: str
) -> None:
    change(mine, old, new)
    assert run_command(["suite", "check", "./mine.yaml"]) == 3
    captured = capsys.readouterr()
    assert captured.out == "" and captured.err.count("\n") == 1 and said in captured.err


def test_check_says_what_is_seldom_meant(mine: Path, capsys: Captured) -> None:
    assert run_command(["suite", "check", "./mine.yaml", "--json"]) == 0
    assert out(capsys)["notes"] == []
    mine.with_suffix(".csv").write_text("role,prompt,id\nretention,a {concept} by day,x\nanchor,a {},y\n")
    assert run_command(["suite", "check", "./mine.yaml", "--json"]) == 0
    assert out(capsys)["notes"] == [
        "grumpy cat: no prompt has the role target: nothing will say whether it is erased",
        "{concept} stands for nothing in x: {} is the concept, names are those of fill",
    ]


def test_no_suite_is_begun_under_a_name_of_the_projects(mine: Path, capsys: Captured) -> None:
    assert run_command(["suite", "new", "i2p"]) == 3
    assert "'i2p' is a suite of the project: take another name" in capsys.readouterr().err
    assert not mine.with_name("i2p.yaml").exists()
    assert run_command(["suite", "new", "other", "--out", "a folder"]) == 0
    assert "bench suite check './a folder/other.yaml'" in capsys.readouterr().out


def test_an_own_suite_is_shown_by_its_path(mine: Path, capsys: Captured) -> None:
    assert run_command(["show", "./mine.yaml", "--json"]) == 0
    card = out(capsys)
    assert (card["kind"], card["name"], card["facts"]["licence"]) == ("suites", "mine", "CC0-1.0")


def test_a_suites_own_attacks_are_shown_and_made_unless_none_are_asked_for(
    mine: Path, tiny_model_dir: Path, capsys: Captured
) -> None:
    own = "attacks: ['random-prefix:2']\nattack_options: {random-prefix: {tokens: 4}}\nevaluators:"
    change(mine, "evaluators:", own)
    assert run_command(["suite", "check", "./mine.yaml", "--json"]) == 0
    assert out(capsys)["attacks"] == "random-prefix:2 (tokens=4)"
    assert run_command(["show", "./mine.yaml", "--json"]) == 0
    assert out(capsys)["facts"]["attacks"] == "random-prefix:2 (tokens=4)"

    def attacks(*asked: str) -> dict[str, Any]:
        config = RunConfig(
            suite=str(mine),
            methods=("none",),
            model=str(tiny_model_dir),
            evaluators=("coherence",),
            attacks=asked,
        )
        prepared = prepare(config, Path("store"))
        assert any("--attacks none leaves them out" in note for note in prepared.notes) == (not asked)
        return {attack.name: attack.settings for attack in prepared.plan.attacks}

    assert attacks() == {"random-prefix:2": {"tries": 2, "tokens": 4}}
    assert attacks("none") == {}
    assert attacks("fresh-noise:3") == {"fresh-noise:3": {"tries": 3}}


def test_an_own_suite_runs_and_its_ids_follow_from_its_content(
    mine: Path, tiny_model_dir: Path, capsys: Captured
) -> None:
    words = ["run", "--suite", "./mine.yaml", "--methods", "negative-prompt", "--model", str(tiny_model_dir)]
    words += ["--evaluators", "coherence", "--store", "store", "--json", "--limit", "2"]
    assert run_command(words) == 0
    document = out(capsys)
    assert document["suite"] == "mine" and document["suite_version"].startswith("1+")
    (folder,) = Path("runs").iterdir()
    assert folder.name.startswith("mine-") and (folder / "leaderboard.md").is_file()
    assert "mine.csv sha256" in (folder / "run.json").read_text()

    def plan() -> str:
        config = RunConfig(
            suite=str(mine), methods=("none",), model=str(tiny_model_dir), evaluators=("coherence",)
        )
        return prepare(config, Path("store")).plan.id

    first = plan()
    change(mine, "description: ", "description: Other words. ")
    assert plan() == first
    change(mine.with_suffix(".csv"), "a photo of a house", "a photo of a barn")
    assert plan() != first


def test_fetch_says_where_each_pinned_file_lies(
    tmp_path: Path, upstream_data: Path, capsys: Captured
) -> None:
    if not (upstream_data / "i2p").is_dir():
        pytest.skip("I2P's files are not at hand (BENCH_DATA)")
    assert run_command(["fetch", "i2p", "--data-dir", str(upstream_data), "--json"]) == 0
    files = out(capsys)["files"]
    assert [Path(file["at"]).name for file in files] == ["unsafe-prompts4703.csv.gz", "nudity.csv"]
    content = gzip.decompress(Path(files[0]["at"]).read_bytes())
    assert len(content) == 1_376_625


def test_fetch_without_the_data_says_how_to_get_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    monkeypatch.setenv("BENCH_OFFLINE", "1")
    assert run_command(["fetch", "i2p", "--data-dir", str(tmp_path)]) == 3
    said = capsys.readouterr().err
    assert "Ways to get it: --data-dir FOLDER" in said and said.count("\n") == 1
    assert run_command(["fetch", "microworld-styles"]) == 0
    assert "nothing to fetch" in capsys.readouterr().out
