"""Prompts that others found: their control, an unrelated edit, and what a run makes of them."""

import dataclasses
from pathlib import Path

import pytest

from erasure_bench.bench.planning.attacks import PROMPTS_PER_TASK, choose_attacks
from erasure_bench.bench.planning.cases import pick_cases
from erasure_bench.bench.planning.config import RunConfig
from erasure_bench.bench.planning.prepare import prepare
from erasure_bench.bench.planning.stored_prompts import CONTROL, STORED, most_pictures, stored
from erasure_bench.bench.planning.tasks import GenerateTask, ScoreTask
from erasure_bench.bench.reporting.reading import read_robustness
from erasure_bench.bench.reporting.tries import EDIT, UNRELATED, attacked
from erasure_bench.errors import BenchError
from erasure_bench.prompt_suites.suite import Prompt, Suite
from tests.bench.fake_run import attack, evaluator, run, tiny_plan, tiny_suite
from tests.bench.planning.test_attacks import CONFIG, JUDGE

SUITE = """
name: found
version: "1"
title: Found
description: What others found.
source: made by hand
licence: CC0-1.0
model: microworld
protocol: {scheduler: ddim, steps: 2, guidance_scale: 4.0}
evaluators: [nudity]
concepts:
  - {name: grumpy cat, kind: instance, targets: [grumpy cat], anchor: cat}
  - {name: pirate dog, kind: instance, targets: [pirate dog], anchor: dog}
prompts:
  - {concept: grumpy cat, role: attack, texts: ["a cross cat", "a cat that scowls"], images_per_prompt: 3}
  - {concept: pirate dog, role: target, texts: ["a pirate dog"]}
"""


def with_stored(prompts: int, images: int = 2, one_of: int | None = None) -> Suite:
    """The tiny suite with stored prompts of each concept, the first with `one_of` pictures."""
    suite = tiny_suite(images_per_prompt=images)
    found = {
        name: (
            *those,
            *(
                Prompt(
                    id=f"{name}/x{number}",
                    text=f"found {number} for {name}",
                    role="attack",
                    subject=name,
                    images_per_prompt=one_of if number == 0 else None,
                )
                for number in range(prompts)
            ),
        )
        for name, those in suite.prompts.items()
    }
    return dataclasses.replace(suite, prompts=found)


def test_the_control_has_each_stored_pictures_noise_and_the_unrelated_edit_the_same_pictures() -> None:
    plan = tiny_plan(
        CONFIG, with_stored(PROMPTS_PER_TASK + 1), evaluators=[JUDGE], attacks=[attack(CONTROL, 2)]
    )
    base, cell = plan.cells
    own = [image for task in stored(cell.generate) for image in task.images.images]
    drawn = [task for task in cell.assaults if isinstance(task, GenerateTask)]
    chance = [task for task in drawn if task.attack is not None]
    assert [len(task.images) for task in chance] == [PROMPTS_PER_TASK * 2, 2]
    assert [image for task in chance for image in task.images.images] == own
    assert all(task.erase.id == cell.erase.id for task in chance)
    unrelated = [task for task in drawn if task.attack is None]
    assert [image for task in unrelated for image in task.images.images] == own
    assert {concept.name for task in unrelated for concept in task.erase.concepts} == {"Blue Cube"}
    assert {task.id for task in chance[0].attack.shown} <= {task.id for task in base.generate}  # type: ignore[union-attr]
    scored = {task.generate.id for task in cell.assaults if isinstance(task, ScoreTask)}
    assert scored == {task.id for task in drawn}
    assert {at for _, at in attacked(cell)} == {(CONTROL, EDIT), (STORED, UNRELATED)}
    assert {at for _, at in attacked(base)} == {(CONTROL, EDIT)}, "nothing is erased from the base model"


def test_a_run_sets_stored_prompts_beside_both(tmp_path: Path) -> None:
    plan = tiny_plan(CONFIG, with_stored(8), evaluators=[JUDGE], attacks=[attack(CONTROL, 2)])
    outcome, _ = run(plan, tmp_path / "store", tmp_path / "out")
    assert not outcome.failures
    table = read_robustness(tmp_path / "out")
    assert table.attacks == (STORED, CONTROL)
    row = next(row for row in table.rows if (row.method, row.attack) == ("dim", STORED))
    assert (row.tries, row.control, row.any.prompts) == (2, CONTROL, 8)
    for rate in (row.plain, row.chosen, row.control_any, row.above, row.base_any, row.unrelated_any):
        assert rate.value is not None and rate.low is not None and rate.low <= rate.value
    # the fake's pictures hang on their noise and the method alone: on an unrelated edit they are the same
    assert row.unrelated_any == row.any and row.above.value == 0
    assert "| dim | stored prompts (n = 2) | 8 |" in (tmp_path / "out" / "robustness.md").read_text()


def test_a_prompt_with_fewer_pictures_has_as_many_tries_of_the_control(tmp_path: Path) -> None:
    """Its others, drawn beside those of the rest, are left out: else chance would have more of them."""
    plan = tiny_plan(CONFIG, with_stored(6, 3, one_of=1), evaluators=[JUDGE], attacks=[attack(CONTROL, 3)])
    run(plan, tmp_path / "store", tmp_path / "out")
    row = next(
        row for row in read_robustness(tmp_path / "out").rows if (row.method, row.attack) == ("dim", STORED)
    )
    assert row.tries == 3 and row.any == row.control_any, "each with the noise of the picture beside it"
    assert row.above.value == 0


def test_where_no_attack_is_made_they_are_a_role_like_any_other(tmp_path: Path) -> None:
    plan = tiny_plan(CONFIG, with_stored(4), evaluators=[JUDGE])
    _, scores = run(plan, tmp_path / "store", tmp_path / "out")
    assert {"attack", "target"} <= set(scores["role"])
    with pytest.raises(BenchError, match="nothing was attacked"):
        read_robustness(tmp_path / "out")


def test_a_suite_with_stored_prompts_gets_the_control(tmp_path: Path, tiny_model_dir: Path) -> None:
    (tmp_path / "found.yaml").write_text(SUITE)

    def chosen(**fields: object) -> list[tuple[str, int]]:
        config = RunConfig(
            suite=str(tmp_path / "found.yaml"),
            methods=("negative-prompt",),
            model=str(tiny_model_dir),
            device="cpu",
            **fields,  # type: ignore[arg-type]
        )
        prepared = prepare(config, tmp_path / "store")
        assert not any("own: " in note for note in prepared.notes)
        return [(one.name, one.tries) for one in prepared.plan.attacks]

    assert chosen() == [(CONTROL, 3)]
    assert chosen(attacks=("random-prefix:2",)) == [("random-prefix:2", 2), (CONTROL, 3)]
    assert chosen(attacks=("none",)) == []
    assert chosen(concepts=("pirate-dog",)) == []
    with pytest.raises(BenchError, match="--attacks random-tokens: it is made by itself"):
        chosen(attacks=("random-tokens",))


def test_what_a_transformation_wrote_of_other_prompts_is_beside_these() -> None:
    suite = with_stored(2)
    written = {
        name: tuple(
            dataclasses.replace(each, rewrites=f"{name}/t0") if each.role == "attack" else each
            for each in those
        )
        for name, those in suite.prompts.items()
    }
    cases = pick_cases(suite, ())
    assert most_pictures(suite, cases) == 2
    assert most_pictures(dataclasses.replace(suite, prompts=written), cases) == 0


@pytest.mark.parametrize("pictures", [0, 3])
def test_its_tries_are_the_suites(pictures: int, tmp_path: Path) -> None:
    config = RunConfig(suite="s", attack_options={CONTROL: {"tries": "9"}})
    with pytest.raises(BenchError, match="--attack-option"):
        choose_attacks(config, "official", tmp_path, pictures)


def test_evaluators_that_judge_no_success_say_nothing_of_stored_prompts(tmp_path: Path) -> None:
    plan = tiny_plan(CONFIG, with_stored(4), evaluators=[evaluator()], attacks=[attack(CONTROL, 2)])
    run(plan, tmp_path / "store", tmp_path / "out")
    assert not [row for row in read_robustness(tmp_path / "out").rows if row.evaluator == "nonsense"]
