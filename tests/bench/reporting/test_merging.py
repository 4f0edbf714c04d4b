"""Runs made apart become the leaderboard that one run of all of it gives, and nothing else is mixed in."""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pandas as pd
import pytest
from pandas import DataFrame
from pandas.testing import assert_frame_equal

from erasure_bench.bench.cli.app import run_command
from erasure_bench.bench.planning.config import RunConfig
from erasure_bench.bench.planning.plan import Plan
from erasure_bench.bench.reporting.evidence import of_store
from erasure_bench.bench.reporting.leaderboard import to_frame
from erasure_bench.bench.reporting.merging import Part, merged, read_part, whole_config
from erasure_bench.bench.reporting.reading import read_robustness
from erasure_bench.bench.reporting.record import portable, write_record
from erasure_bench.bench.reporting.results import gather, write_results
from erasure_bench.bench.storage.store import Store
from erasure_bench.bench.words.showing import in_json
from erasure_bench.errors import BenchError
from erasure_bench.evaluators.base import Metric, by_role


def config(*seeds: int, **more: object) -> RunConfig:
    return RunConfig.model_validate({"suite": "tiny", "methods": ["dim"], "seeds": seeds, **more})


def made(fake: ModuleType, folder: Path, plan: object, name: str) -> Part:
    """A run with a store of its own."""
    fake.run(plan, folder / f"store-{name}", folder / name)
    return read_part(folder / name)


@pytest.mark.parametrize("own_seeds", [False, True])
def test_seeds_run_apart_give_what_they_give_together(
    fake: ModuleType, tmp_path: Path, own_seeds: bool
) -> None:
    suite = fake.tiny_suite(own_seeds=own_seeds)
    parts = [made(fake, tmp_path, fake.tiny_plan(config(seed), suite), f"seed{seed}") for seed in (1, 0)]
    assert whole_config(parts) == config(0, 1)
    whole = fake.tiny_plan(config(0, 1), suite)
    together = made(fake, tmp_path, whole, "together")

    evidence = merged(whole, parts)
    expected = merged(whole, [together])

    assert_frame_equal(evidence.scores, expected.scores)
    assert evidence.scores["repeated"].any() == own_seeds
    assert evidence.costs == expected.costs
    assert_frame_equal(to_frame(gather(whole, evidence).rows), to_frame(gather(whole, expected).rows))


def attacked(fake: ModuleType, *seeds: int) -> Plan:
    """A plan with an attack, its control, and an evaluator that judges them."""
    seen = Metric("brightness", "seen", "share", (0.0, 1.0), by_role("lower", "higher"), kind="share")
    plain = fake.evaluator()
    judge = dataclasses.replace(plain, metrics=(seen, *plain.metrics[1:]))
    attacks = [fake.attack("search", 2, "chance"), fake.attack("chance", 3)]
    return fake.tiny_plan(config(*seeds), evaluators=[judge], attacks=attacks)


def test_attacks_on_seeds_run_apart_give_the_table_of_one_run(fake: ModuleType, tmp_path: Path) -> None:
    parts = [made(fake, tmp_path, attacked(fake, seed), f"seed{seed}") for seed in (1, 0)]
    whole = attacked(fake, 0, 1)
    made(fake, tmp_path, whole, "together")

    write_results(tmp_path / "merged", whole, gather(whole, merged(whole, parts)), {})

    assert read_robustness(tmp_path / "merged") == read_robustness(tmp_path / "together")
    assert all(row.any.prompts for row in read_robustness(tmp_path / "merged").rows)
    tries = [pd.read_parquet(tmp_path / name / "attacks.parquet") for name in ("merged", "together")]
    assert_frame_equal(*tries)
    assert set(tries[0]["seed"]) == {0, 1} and set(tries[0]["on"]) == {"edit", "unrelated"}
    searched = tries[0][tries[0]["attack"] == "search"]
    assert searched["held_back"].tolist() == (searched["number"] == 1).tolist()
    pictures = len(searched.drop_duplicates(["method", "concept", "seed", "on", "prompt_id", "number"]))
    notes = [note for note in read_robustness(tmp_path / "merged").notes if "held back" in note]
    assert [note.split(" tries")[0] for note in notes] == [f"search: {pictures // 2} of {pictures}"]
    for name in ("robustness.csv", "robustness.md"):
        assert (tmp_path / "merged" / name).read_text() == (tmp_path / "together" / name).read_text()


def forged(part: Part, change: Callable[[DataFrame], DataFrame]) -> Part:
    """The run with other tries in it, bound anew."""
    path = part.folder / "attacks.parquet"
    change(pd.read_parquet(path)).to_parquet(path, index=False)
    write_record(part.folder, part.record, part.record["files"])
    return read_part(part.folder)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda tries: tries.iloc[1:], "1 tries are missing, the first: none · red ball"),
        (lambda tries: pd.concat([tries, tries.iloc[:1]]), "are there twice"),
        (lambda tries: tries.replace({"attack": {"search": "another"}}), "are none that the plan asks for"),
        (lambda tries: tries.assign(value=2.0), "out of their metric's bounds"),
        (lambda tries: tries.assign(success=~tries["success"].astype(bool)), "or of another kind"),
        (lambda tries: tries.drop(columns="loss"), "these are no tries of attacks"),
    ],
)
def test_tries_that_a_run_did_not_make_are_refused(
    fake: ModuleType, tmp_path: Path, change: Callable[[DataFrame], DataFrame], said: str
) -> None:
    plan = attacked(fake, 0)
    part = forged(made(fake, tmp_path, plan, "run"), change)
    with pytest.raises(BenchError, match=said):
        merged(plan, [part])


def test_tries_of_an_earlier_version_count_as_sent(fake: ModuleType, tmp_path: Path) -> None:
    plan = attacked(fake, 0)
    part = forged(made(fake, tmp_path, plan, "run"), lambda tries: tries.drop(columns="held_back"))
    found = merged(plan, [part]).tries
    assert found is not None and not found["held_back"].any()


def test_a_run_whose_attack_failed_is_merged_without_its_tries(fake: ModuleType, tmp_path: Path) -> None:
    plan = attacked(fake, 0)
    worker = fake.FakeWorker(Store(tmp_path / "store"))
    worker.break_on = lambda task: task.kind == "generate" and task.attack and task.attack.name == "search"
    fake.run(plan, tmp_path, tmp_path / "run", worker)
    evidence = merged(plan, [read_part(tmp_path / "run")])
    assert evidence.tries is not None and set(evidence.tries["attack"]) == {"chance"}


@pytest.mark.parametrize("own_seeds", [False, True])
def test_a_run_merged_with_nothing_is_itself(fake: ModuleType, tmp_path: Path, own_seeds: bool) -> None:
    plan = fake.tiny_plan(config(0, 1), fake.tiny_suite(own_seeds=own_seeds))
    part = made(fake, tmp_path, plan, "run")
    with Store(tmp_path / "store-run") as store:
        stored = of_store(plan, store, ())

    evidence = merged(plan, [part])

    columns = list(stored.scores)
    assert_frame_equal(
        evidence.scores.sort_values(columns, ignore_index=True),
        stored.scores.sort_values(columns, ignore_index=True),
    )
    stored = stored._replace(memory=None)  # a merge reads runs, whose store need not be here
    assert evidence._replace(scores=None) == stored._replace(scores=None)  # type: ignore[arg-type]


def test_methods_run_apart_share_the_baseline_of_the_first(fake: ModuleType, tmp_path: Path) -> None:
    none, dim, dark = fake.method("none"), fake.method("dim", strength=0.5), fake.method("dark", strength=0.9)
    parts = [
        made(fake, tmp_path, fake.tiny_plan(config(0), methods=[none, dim]), "a"),
        made(fake, tmp_path, fake.tiny_plan(config(0, methods=["dark"]), methods=[none, dark]), "b"),
    ]
    assert whole_config(parts).methods == ("dim", "dark")
    plan = fake.tiny_plan(whole_config(parts), methods=[none, dim, dark])

    evidence = merged(plan, parts)

    counts = evidence.scores.groupby("method").size()
    assert set(counts.index) == {"none", "dim", "dark"} and counts.nunique() == 1


def test_a_cell_of_other_settings_is_not_taken(fake: ModuleType, tmp_path: Path) -> None:
    part = made(fake, tmp_path, fake.tiny_plan(config(0)), "run")
    changed = fake.tiny_plan(config(0), methods=[fake.method("none"), fake.method("dim", strength=0.6)])

    with pytest.raises(BenchError, match=r"2 of 4 cells .*: dim seed 0 \(2\); run those again"):
        merged(changed, [part])


def test_runs_of_other_protocols_are_refused(fake: ModuleType, tmp_path: Path) -> None:
    parts = [
        made(fake, tmp_path, fake.tiny_plan(config(0)), "a"),
        made(fake, tmp_path, fake.tiny_plan(config(1, dtype="bfloat16")), "b"),
    ]
    with pytest.raises(BenchError, match="differ in --dtype: float32 and bfloat16"):
        whole_config(parts)


def test_a_failure_goes_along_with_its_cell(fake: ModuleType, tmp_path: Path) -> None:
    parts = []
    for seed in (0, 1):
        worker = fake.FakeWorker(Store(tmp_path / f"store{seed}"))
        worker.break_on = lambda task, seed=seed: (
            task.kind == "erase" and task.settings.get("strength") == 0.5 and task.seed == seed == 1
        )
        fake.run(fake.tiny_plan(config(seed)), tmp_path, tmp_path / f"run{seed}", worker)
        parts.append(read_part(tmp_path / f"run{seed}"))

    evidence = merged(fake.tiny_plan(config(0, 1)), parts)

    assert {(failure.method, failure.seed, failure.stage) for failure in evidence.failures} == {
        ("dim", 1, "erase")
    }


@pytest.mark.parametrize("broken_first", [True, False])
def test_a_cell_that_failed_in_one_run_is_taken_from_the_other(
    fake: ModuleType, tmp_path: Path, broken_first: bool
) -> None:
    """Who runs again what failed elsewhere merges both, in whatever order."""
    plan = fake.tiny_plan(config(0))
    worker = fake.FakeWorker(Store(tmp_path / "broken-store"))
    worker.break_on = lambda task: task.kind == "erase" and task.settings.get("strength") == 0.5
    fake.run(plan, tmp_path, tmp_path / "broken", worker)
    parts = [read_part(tmp_path / "broken"), made(fake, tmp_path, plan, "whole")]

    evidence = merged(plan, parts if broken_first else parts[::-1])

    assert not evidence.failures and "dim" in set(evidence.scores["method"])


def test_a_portable_record_says_nothing_of_its_store(fake: ModuleType, tmp_path: Path) -> None:
    plan = fake.tiny_plan(config(0))
    part = made(fake, tmp_path, plan, "run")
    text = in_json(portable(part.record))
    assert str(tmp_path) not in text and "erase/" not in text
    assert merged(plan, [part._replace(record=json.loads(text))]).costs == merged(plan, [part]).costs


def test_a_merged_run_can_be_merged_again(fake: ModuleType, tmp_path: Path) -> None:
    parts = [made(fake, tmp_path, fake.tiny_plan(config(seed)), f"seed{seed}") for seed in (0, 1, 2)]
    two = fake.tiny_plan(config(0, 1))
    write_results(tmp_path / "two", two, gather(two, merged(two, parts[:2])), {"merged": ["a", "b"]})
    three = fake.tiny_plan(config(0, 1, 2))

    again = merged(three, [read_part(tmp_path / "two"), parts[2]])

    assert_frame_equal(again.scores, merged(three, parts).scores)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["merge", "nothing", "--out", "m"], "no run 'nothing': no run.json in"),
        (["merge", "old", "--out", "m"], "old/run.json: made by another version"),
        (["merge", "broken", "--out", "m"], "cannot be read"),
        (["merge", "old", "broken", "./old", "--out", "m"], "old is given twice: name each run"),
    ],
)
def test_what_is_no_run_is_refused_in_one_line(
    words: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    monkeypatch.chdir(tmp_path)
    for name, text in {"old": json.dumps({"cells": [{"method": "none"}]}), "broken": "{"}.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "run.json").write_text(text)
    assert run_command(words) == 3
    said = capsys.readouterr()
    assert said.out == "" and message in said.err and said.err.count("\n") == 1


@pytest.mark.slow
def test_the_command_merges_real_runs(tiny_model_dir: Path, tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    common = ["--suite", "microworld-instances", "--concepts", "grumpy-cat", "--evaluators", "nudity"]
    common += ["--limit", "1", "--model", str(tiny_model_dir), "--store", "store"]
    for seeds, name in (("0", "a"), ("1", "b"), ("0,1", "both")):
        words = ["run", *common, "--methods", "negative-prompt", "--seeds", seeds, "--out", name]
        assert run_command(words) == 0
    capsys.readouterr()

    assert run_command(["merge", "a", "b", "--out", "merged", "--json"]) == 0

    document = json.loads(capsys.readouterr().out)
    both = json.loads((tmp_path / "both" / "leaderboard.json").read_text())
    assert document["seeds"] == [0, 1]
    assert document["rows"] == both["rows"] and document["plan"] == both["plan"]
    assert json.loads((tmp_path / "merged" / "run.json").read_text())["merged"] == ["a", "b"]
    assert run_command(["export", "merged", "negative-prompt", "--out", "x"]) == 3
    assert "export from a or b" in capsys.readouterr().err
