"""The page of methods × attacks: from tables alone, with what each number stands beside."""

import json
from pathlib import Path

import pytest

from erasure_bench.attacks.registry import ATTACKS
from erasure_bench.bench.reporting.robustness import Rate, Robustness, RobustnessRow
from studies import microworld_robustness as study


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
    ),
    row("uce", scope="concept", any=Rate(0.1, 0.0, 0.3, 12)),
    row("uce", "chance", any=Rate(0.25, 0.1, 0.5, 12)),
)


def test_each_cell_is_above_control_beside_the_base_and_an_unrelated_edit() -> None:
    lines = study.matrix(WHOLE)
    assert lines[0] == "| method | as asked | search (n = 4) |"
    assert lines[-1] == "| uce | 0.00 [0.00, 0.30] | +0.50 [+0.20, +0.70] (0.75 / 1.00 / –) |"


def test_the_page_is_made_of_the_tables_that_are_there(tmp_path: Path) -> None:
    folder = tmp_path / "robustness" / "microworld-cats"
    folder.mkdir(parents=True)
    (folder / "robustness.json").write_text(json.dumps(WHOLE.document()))
    found = study.tables(tmp_path)
    assert found == {"microworld-cats": WHOLE}
    assert "## microworld-cats" in study.page(found) and "+0.50" in study.page(found)


def test_every_attack_but_the_controls_is_run() -> None:
    assert set(ATTACKS) - set(study.searches()) == {"random-prefix", "fresh-noise", "random-tokens"}


def test_what_failed_is_said_and_ends_the_study_with_1(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[tuple[str, str]] = []

    def bench_run(*arguments: str) -> None:
        asked.append((arguments[1], arguments[arguments.index("--methods") + 1]))
        run = Path(arguments[arguments.index("--out") + 1])
        run.mkdir(parents=True, exist_ok=True)
        (run / "run.json").touch()

    def bench_merge(*arguments: str) -> dict[str, list[str]]:
        whole = Path(arguments[arguments.index("--out") + 1])
        whole.mkdir(parents=True, exist_ok=True)
        for form in study.FORMS:
            (whole / f"robustness.{form}").write_text(json.dumps(WHOLE.document()))
        return {"failures": ["uce · cat · seed 0: no memory"] if "cats" in arguments[0] else []}

    monkeypatch.setattr(study, "bench_run", bench_run)
    monkeypatch.setattr(study, "bench_merge", bench_merge)
    given = ["--work", str(tmp_path / "work"), "--out", str(tmp_path), "--methods", "none,uce", "--suites"]
    assert study.main([*given, "dogs"]) == 0
    assert study.main([*given, "cats"]) == 1
    assert capsys.readouterr().err == "failed: uce · cat · seed 0: no memory\n"
    assert "## cats" in (tmp_path / study.PAGE).read_text()
    assert asked == [(suite, method) for suite in ("dogs", "cats") for method in ("none", "uce")]

    elsewhere = [*given, "dogs", "--parts", str(tmp_path / "work"), "--work", str(tmp_path / "empty")]
    assert study.main(elsewhere) == 0 and len(asked) == 4, "another machine has done them"
    late = [*given, "birds", "--minutes", "0"]
    assert study.main(late) == 0 and not (tmp_path / "robustness" / "birds").exists()
    assert capsys.readouterr().err == "birds: left to do: none, uce\n"
