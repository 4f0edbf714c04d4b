"""A run's folder that somebody changed, cut short or forged is refused in one line that says why."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd
import pytest

from erasure_bench.bench.cli.app import run_command
from erasure_bench.bench.planning.config import RunConfig
from erasure_bench.bench.reporting.merging import foreign_code, merged, read_part
from erasure_bench.bench.reporting.record import cost_of, failure_of, read_record, write_record
from erasure_bench.bench.reporting.results import write_results
from erasure_bench.bench.reporting.run_file import RUN
from erasure_bench.bench.reporting.scores import CellCost
from erasure_bench.bench.running.failures import Failure
from erasure_bench.bench.storage.store import Store
from erasure_bench.errors import BenchError

RESULTS = ("leaderboard.json", "leaderboard.csv", "leaderboard.md")


@pytest.fixture(scope="module")
def made(fake: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run's folder; never changed."""
    place = tmp_path_factory.mktemp("run")
    fake.run(fake.tiny_plan(), place / "store", place / "run")
    return place / "run"


@pytest.fixture
def run(made: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    return Path(shutil.copytree(made, tmp_path / "run"))


def merge(fake: ModuleType, folder: Path) -> Any:
    return merged(fake.tiny_plan(), [read_part(folder)])


def with_scores(folder: Path, change: Callable[[pd.DataFrame], pd.DataFrame]) -> None:
    """A forger's work: other scores, and a run.json that fits them."""
    path = folder / "scores.parquet"
    change(pd.read_parquet(path)).to_parquet(path, index=False)
    write_record(folder, read_record(folder))


def test_every_result_is_bound(made: Path) -> None:
    record = json.loads((made / RUN).read_text())
    assert set(record["files"]) == {*RESULTS, "scores.parquet", "images.png", "prompts.parquet"}


def test_changed_scores_are_refused(fake: ModuleType, run: Path) -> None:
    assert len(merge(fake, run).scores)
    path = run / "scores.parquet"
    frame = pd.read_parquet(path)
    frame.loc[0, "value"] += 1e-12
    frame.to_parquet(path, index=False)
    with pytest.raises(BenchError, match=r"scores.parquet is not what the run wrote"):
        merge(fake, run)
    path.unlink()
    with pytest.raises(BenchError, match=r"scores.parquet cannot be read"):
        merge(fake, run)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda frame: frame.drop(index=5), "1 scores are missing, the first: none · red ball · seed 0"),
        (lambda frame: frame[frame["role"] != "anchor"], "scores are missing"),
        (lambda frame: pd.concat([frame, frame.iloc[:1]]), "1 scores are there twice"),
        (lambda frame: frame.assign(metric=frame["metric"].replace("raw", "rum")), "none that the plan asks"),
        (lambda frame: frame.assign(prompt_id=frame["prompt_id"] + "x"), "none that the plan asks"),
        (lambda frame: frame.assign(evaluator_protocol="0" * 12), "none that the plan asks"),
        (lambda frame: frame.assign(value=frame["value"] + 300.0), "out of their metric's bounds"),
        (lambda frame: frame.assign(value=np.inf), "out of their metric's bounds"),
        (lambda frame: frame.assign(value=np.nan), "out of their metric's bounds"),
        (lambda frame: frame.assign(status="missing"), "no known status"),
        (lambda frame: frame.assign(status="fine"), "no known status"),
        (lambda frame: frame.drop(columns="value"), "these are no scores of a run"),
        (lambda frame: frame.assign(value="many"), "these are no scores of a run"),
        (lambda frame: frame.assign(seed="zero"), "these are no scores of a run"),
    ],
)
def test_scores_are_held_against_the_plan_even_where_their_digest_fits(
    fake: ModuleType, run: Path, change: Callable[[pd.DataFrame], pd.DataFrame], message: str
) -> None:
    with_scores(run, change)
    with pytest.raises(BenchError) as caught:
        merge(fake, run)
    assert message in str(caught.value) and str(run / "scores.parquet") in str(caught.value)


def test_a_failure_explains_its_own_missing_scores_and_no_others(fake: ModuleType, tmp_path: Path) -> None:
    worker = fake.FakeWorker(Store(tmp_path / "store"))
    worker.break_on = lambda task: (
        task.kind == "generate" and ((task.erase.method, task.images.role) == ("dim", "target"))
    )
    fake.run(fake.tiny_plan(), tmp_path / "store", tmp_path / "run", worker)
    assert {failure.role for failure in merge(fake, tmp_path / "run").failures} == {"target"}

    with_scores(tmp_path / "run", lambda frame: frame[frame["role"] != "anchor"])
    with pytest.raises(BenchError, match="96 scores are missing, the first: .* of anchor"):
        merge(fake, tmp_path / "run")


def test_any_character_of_the_record_is_bound(run: Path) -> None:
    path = run / RUN
    whole = path.read_bytes()
    meaning = json.loads(whole)
    places = np.random.default_rng(0).integers(0, len(whole), 400)
    for place in map(int, places):
        changed = bytearray(whole)
        changed[place] ^= 0x02
        path.write_bytes(changed)
        try:
            assert read_record(run) == meaning
        except BenchError as error:
            assert str(run) in str(error)


def test_what_more_stands_in_a_record_is_for_people(run: Path) -> None:
    cell = {
        "cost": {
            "erase_seconds": 1.0,
            "peak_memory_bytes": 2,
            "generate_seconds": 3.0,
            "images": 4,
            "more": 5,
        }
    }
    assert cost_of(cell) == CellCost(1.0, 2, 3.0, 4)
    failure = Failure(method="m", concept="c", seed=0, stage="erase", reason="why", losses=(0.5,))
    assert failure_of({**vars(failure), "more": 1}) == failure


def _without(key: str) -> Callable[[dict[str, Any]], None]:
    return lambda record: record.pop(key)


def _set(value: Any, *where: Any) -> Callable[[dict[str, Any]], None]:
    def change(record: dict[str, Any]) -> None:
        place: Any = record
        for key in where[:-1]:
            place = place[key]
        place[where[-1]] = value

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_without("cells"), "cells: Field required"),
        (_without("failures"), "failures: Field required"),
        (_set(7, "cells"), "cells: "),
        (_set("0", "cells", 0, "seed"), "cells.0.seed: "),
        (_set(-1.0, "cells", 0, "cost", "generate_seconds"), "cells.0.cost.generate_seconds: "),
        (_set({}, "cells", 1, "cost"), "cells.1.cost.erase_seconds: Field required"),
        (_set("../../etc", "cells", 0, "edit"), "cells.0.edit: "),
        (_set("no", "config", "limit"), "config.limit: "),
        (_set(1, "config", "later"), "config.later: "),
        (_set("dark", "cells", 1, "method"), "methods without cells, or cells without a method"),
        (_set([{"method": "none"}], "failures"), "failures.0.concept: Field required"),
        (_set("\ud800", "store"), "store: "),
        (_set("a" * 300, "store"), "store: "),
        (_set("a/" * 2000, "store"), "store: "),
        (_set(None, "method_settings", 0, "settings"), "method_settings.0.settings: "),
        (
            _set({"a cat": {"concept": {}}}, "concept_definitions"),
            "concept_definitions.a cat.erased: Field req",
        ),
        (
            _set([{}], "concept_definitions", "red ball", "erased"),
            "concept_definitions.red ball.erased.0.kind: ",
        ),
    ],
)
def test_a_record_that_fits_its_digest_but_holds_something_else_is_one_line(
    run: Path, change: Callable[[dict[str, Any]], None], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    record = read_record(run)
    change(record)
    write_record(run, record)
    for words in (["merge", str(run), "--out", "m"], ["export", str(run), "dim", "--out", "x"]):
        assert run_command(words) == 3
        said = capsys.readouterr()
        assert said.out == "" and said.err.count("\n") == 1
        assert f"{RUN}: {message}" in said.err or message in said.err


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "7", '"x"', "[" * 5_000, '{"format": "erasure-bench run 9"}']
)
def test_no_text_in_place_of_a_file_is_a_traceback(
    run: Path, text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (run / RUN).write_text(text)
    for words in (["merge", str(run), "--out", "m"], ["export", str(run), "dim", "--out", "x"]):
        assert run_command(words) == 3
        assert capsys.readouterr().err.count("\n") == 1
    (run / RUN).unlink()
    (run / "leaderboard.json").write_text(text)
    assert run_command(["table", str(run)]) == 3
    said = capsys.readouterr()
    assert said.out == "" and said.err.count("\n") == 1 and str(run) in said.err


def test_a_table_is_that_of_the_run_or_none(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for form in ("json", "csv", "md"):
        path = run / f"leaderboard.{form}"
        whole = path.read_bytes()
        assert run_command(["table", str(run), "--format", form]) == 0
        assert capsys.readouterr().out.encode() == whole
        path.write_bytes(whole.replace(b"0.5", b"0.4", 1))
        for words in ([], ["--format", form])[form != "json" :]:
            assert run_command(["table", str(run), *words]) == 3
            assert f"leaderboard.{form} is not what the run wrote" in capsys.readouterr().err
        path.write_bytes(whole)


def test_a_leaderboard_alone_or_beside_another_versions_record_can_be_printed(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command(["table", str(run)]) == 0
    printed = capsys.readouterr()
    (run / RUN).write_text("{}")
    assert run_command(["table", str(run)]) == 0
    old = capsys.readouterr()
    assert old.out == printed.out and "its numbers cannot be checked" in old.err
    (run / RUN).unlink()
    assert run_command(["table", str(run)]) == 0
    assert capsys.readouterr() == printed


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_without("rows"), "rows: Field required"),
        (_set("three", "rows", 0, "value"), "rows.0.value: "),
        (_set([1], "rows"), "rows.0: "),
        (_set("later", "rows", 0, "status"), "rows.0.status: "),
        (_set(None, "title"), "title: "),
    ],
)
def test_a_leaderboard_edited_by_hand_is_one_line(
    run: Path, change: Callable[[dict[str, Any]], None], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (run / RUN).unlink()
    path = run / "leaderboard.json"
    document = json.loads(path.read_text())
    change(document)
    path.write_text(json.dumps(document))
    assert run_command(["table", str(run)]) == 3
    said = capsys.readouterr()
    assert said.out == "" and message in said.err and said.err.count("\n") == 1


def test_code_that_a_received_run_names_is_not_run_unless_asked_for(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trap = tmp_path / "trap.py"
    trap.write_text(f"open({str(tmp_path / 'sprung')!r}, 'w')\nclass Mine: ...\n")
    record = read_record(run)
    record["config"] |= {"suite": "microworld-instances", "methods": [f"{trap}:Mine"]}
    write_record(run, record)

    assert foreign_code([read_part(run)]) == {f"{trap}:Mine": run}
    words = ["merge", str(run), "--out", str(tmp_path / "m"), "--store", str(tmp_path / "s")]
    assert run_command(words) == 3
    said = capsys.readouterr().err
    assert f"{trap}:Mine" in said and "--trust-code" in said and said.count("\n") == 1
    assert not (tmp_path / "sprung").exists()

    assert run_command([*words, "--trust-code"]) == 3, "the class is no method"
    assert (tmp_path / "sprung").exists()


def test_an_evaluators_code_counts_too(run: Path) -> None:
    record = read_record(run)
    record["config"]["evaluators"] = ["./mine.py:Mine"]
    write_record(run, record)
    assert foreign_code([read_part(run)]) == {"./mine.py:Mine": run}


@pytest.mark.parametrize("out", ["run", "run/", "run/inside", "."])
def test_results_are_never_written_into_a_run_that_they_are_made_from(
    run: Path, out: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(run.parent)
    before = {path.name: path.read_bytes() for path in run.iterdir()}
    assert run_command(["merge", "run", "--out", out]) == 3
    assert "a run to merge" in capsys.readouterr().err
    assert {path.name: path.read_bytes() for path in run.iterdir()} == before


def test_a_second_run_into_the_same_folder_leaves_nothing_stale_and_nothing_foreign_goes(
    fake: ModuleType, run: Path, tmp_path: Path
) -> None:
    (run / "notes.txt").write_text("mine")
    (run / "plot.png").write_text("mine")
    left = run / ".scores.0123456789ab.parquet"
    left.write_text("what a killed process left")
    plan = fake.tiny_plan(RunConfig(suite="tiny", methods=("dim",), concepts=("red ball",)))
    _, results = fake.completed(plan, tmp_path / "store")
    write_results(run, plan, results._replace(sheet=None), {"merged": ["a", "b"]})

    names = {path.name for path in run.iterdir()}
    assert names == {*RESULTS, "scores.parquet", "prompts.parquet", RUN, "notes.txt", "plot.png"}
    record = read_record(run)
    assert record["merged"] == ["a", "b"] and "execution" not in record and len(record["cells"]) == 2
    assert set(pd.read_parquet(run / "scores.parquet")["concept"]) == {"red ball"}


def test_a_picture_of_the_users_in_a_folder_without_a_run_stays(fake: ModuleType, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "images.png").write_text("mine")
    plan = fake.tiny_plan()
    _, results = fake.completed(plan, tmp_path / "store")
    write_results(out, plan, results._replace(sheet=None), {})
    assert (out / "images.png").read_text() == "mine"
    assert "images.png" not in read_record(out)["files"], "what the run did not write is no result of it"
