"""The page of methods × attacks: from tables alone, with what each number stands beside."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from erasure_bench.attacks.registry import ATTACKS
from erasure_bench.bench.planning.config import RunConfig
from erasure_bench.bench.reporting.robustness import Rate, Robustness, RobustnessRow
from studies import microworld_robustness as study
from studies.pieces import further


def row(method: str, attack: str = "search", *, scope: str = "overall", **rates: Rate) -> RobustnessRow:
    return RobustnessRow(
        method=method,
        scope=scope,
        concept="cat",
        attack=attack,
        tries=4,
        control="chance" if attack == "search" else None,
        evaluator="classifier",
        metric="class_accuracy",
        title="class accuracy",
        **rates,
    )


def table(*rows: RobustnessRow) -> Robustness:
    return Robustness(
        title="Cats on a model",
        methods=("none", "uce"),
        baseline="none",
        concepts=("cat",),
        attacks=("search", "chance"),
        chosen_by={"search": "its own loss"},
        rows=rows,
        notes=("a note",),
    )


WHOLE = table(
    row("none", plain=Rate(1.0, 0.7, 1.0, 12), any=Rate(1.0, 0.7, 1.0, 12), above=Rate(0.0, -0.2, 0.2, 12)),
    row(
        "uce",
        plain=Rate(0.0, 0.0, 0.3, 12),
        any=Rate(0.75, 0.4, 0.9, 12),
        above=Rate(0.5, 0.2, 0.7, 12),
        base_any=Rate(1.0, 0.7, 1.0, 12),
        coherent=Rate(0.5, 0.2, 0.8, 12),
    ),
    row("uce", scope="concept", any=Rate(0.1, 0.0, 0.3, 12)),
    row("uce", "chance", any=Rate(0.25, 0.1, 0.5, 12)),
)


def test_each_cell_is_above_control_beside_the_base_and_an_unrelated_edit() -> None:
    lines = study.matrix(WHOLE)
    assert lines[0] == "| method | as asked | search (n = 4) |"
    assert lines[-1] == "| uce | 0.00 [0.00, 0.30] | +0.50 [+0.20, +0.70] (0.75 / 1.00 / –; 0.50) |"


def test_the_page_is_made_of_the_tables_that_are_there(tmp_path: Path) -> None:
    folder = tmp_path / "robustness" / "microworld-cats"
    folder.mkdir(parents=True)
    (folder / "robustness.json").write_text(json.dumps(WHOLE.document()))
    found = study.tables(tmp_path)
    assert found == {"microworld-cats": WHOLE}
    assert "## microworld-cats" in study.page(found) and "+0.50" in study.page(found)


def test_every_attack_but_the_controls_is_run() -> None:
    assert set(ATTACKS) - set(study.searches()) == {
        "random-prefix",
        "random-prompt",
        "fresh-noise",
        "random-tokens",
    }


@pytest.mark.slow
@pytest.mark.usefixtures("microworld")
def test_methods_are_added_to_what_the_folder_holds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    given = ["--suites", "microworld-instances", "--concepts", "grumpy-cat", "--limit", "1", "--out", "out"]
    given += ["--attacks", "noise", "--methods"]
    assert study.main([*given, "negative-prompt", "--work", "first"]) == 0
    folder = tmp_path / "out" / "robustness" / "microworld-instances"
    before = study.tables(tmp_path / "out")["microworld-instances"]
    assert before.methods == ("none", "negative-prompt")
    capsys.readouterr()

    assert study.main([*given, "uce", "--work", "second"]) == 0, "the store of the first is not needed"
    assert "done: microworld-instances uce-0" in capsys.readouterr().err.splitlines()
    after = study.tables(tmp_path / "out")["microworld-instances"]
    assert after.methods == ("none", "negative-prompt", "uce")
    assert [row for row in after.rows if row.method != "uce"] == list(before.rows)
    assert str(tmp_path) not in (folder / "run.json").read_text()
    assert "| uce |" in (tmp_path / "out" / study.PAGE).read_text()

    assert study.main([*given, "uce,speed", "--work", "third", "--minutes", "0"]) == 0
    assert "microworld-instances: left to do: speed-0" in capsys.readouterr().err.splitlines()
    assert study.main([*given, "uce", "--work", "third", "--seeds", "0,1", "--minutes", "0"]) == 0
    assert study.tables(tmp_path / "out")["microworld-instances"] == after, "not all have the new seed"
    parts = ["--work", "third", "--minutes", "0", "--parts", "first", "second"]
    there = ["elsewhere" if argument == "out" else argument for argument in given]
    assert study.main([*there, "negative-prompt,uce", *parts]) == 0, "other machines have done them"
    assert study.tables(tmp_path / "elsewhere")["microworld-instances"].rows == after.rows
    late = ["late" if argument == "out" else argument for argument in given]
    assert study.main([*late, "uce", "--work", "third", "--minutes", "0"]) == 0
    assert not (tmp_path / "late").exists()
    other = [argument.replace("noise", "completion") for argument in given]
    assert study.main([*other, "speed", "--work", "third", "--minutes", "0"]) == 3
    assert "holds a run of --attacks noise: ask for the same" in capsys.readouterr().err


def test_what_failed_is_said_and_ends_the_study_with_1(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "robustness" / "cats"
    folder.mkdir(parents=True)
    (folder / "robustness.json").write_text(json.dumps(WHOLE.document()))
    asked: list[tuple[object, ...]] = []

    def complete(configs: list[RunConfig], *rest: Any) -> Iterator[dict[str, list[str]]]:
        for config in configs:
            words = [*further(config), *rest[-1]]
            asked.append((config.suite, config.methods, config.limit, config.attacks, words))
            yield {"failures": ["uce · cat · seed 0: no memory"] if config.suite == "cats" else []}

    monkeypatch.setattr(study, "complete", complete)
    given = ["--out", str(tmp_path), "--methods", "none,uce", "--attacks", "noise", "--suites"]
    assert study.main([*given, "dogs"]) == 0
    assert study.main([*given, "cats"]) == 1
    assert capsys.readouterr().err == "failed: uce · cat · seed 0: no memory\n"
    assert "## cats" in (tmp_path / study.PAGE).read_text()
    options = ["--attacks", "noise", "--evaluators", "classifier,coherence", "--offline"]
    assert asked[1] == ("cats", ("none", "uce"), 12, ("noise",), options)
