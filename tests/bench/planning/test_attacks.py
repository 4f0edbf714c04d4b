"""Attacks as tasks: what is drawn beside what, whose ids change with what, and what a run makes of them."""

import dataclasses
from pathlib import Path

import pytest

from erasure_bench.attacks.registry import ATTACKS
from erasure_bench.bench.identity.ids import plain
from erasure_bench.bench.planning import attacks as module
from erasure_bench.bench.planning.attacks import (
    PROMPTS_PER_TASK,
    check_room,
    check_scheduler,
    choose_attack,
    choose_attacks,
    is_success,
    unrelated_case,
)
from erasure_bench.bench.planning.cases import pick_cases
from erasure_bench.bench.planning.config import RunConfig
from erasure_bench.bench.planning.plan import Cell
from erasure_bench.bench.planning.suite_attacks import with_suites_attacks
from erasure_bench.bench.planning.tasks import EraseTask, GenerateTask, ScoreTask, needed_by
from erasure_bench.bench.reporting.reading import read_robustness
from erasure_bench.bench.reporting.robustness import NOTHING
from erasure_bench.bench.running.executor import execute
from erasure_bench.bench.running.progress import Quiet
from erasure_bench.bench.storage.store import Store
from erasure_bench.errors import BenchError, UnknownName
from erasure_bench.evaluators.base import Metric, by_role
from erasure_bench.foreign.sources import code_digest
from erasure_bench.prompt_suites.suite import Suite, SuiteAttack
from tests.bench.fake_run import FakeWorker, attack, evaluator, run, tiny_plan, tiny_suite

SEEN = Metric("brightness", "seen", "share", (0.0, 1.0), by_role("lower", "higher"), kind="share")
JUDGE = dataclasses.replace(evaluator(detector="judge"), metrics=(SEEN, *evaluator().metrics[1:]))
SEARCH, CHANCE = attack("search", 2, "chance"), attack("chance", 3)
CONFIG = RunConfig(suite="tiny", methods=("dim",), concepts=("red-ball",))


def drawn(cell: Cell, name: str) -> list[GenerateTask]:
    return [
        task
        for task in cell.assaults
        if isinstance(task, GenerateTask) and task.attack and task.attack.name == name
    ]


def test_settings_are_remembered_until_the_code_or_the_options_change(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The code that parses options as well: it is not the attack's own."""
    first = choose_attack("img2img", "official", {}, tmp_path)
    own = {name: code_digest(f"erasure_bench.attacks.{name}") for name in ("img2img", "registry")}

    def refuse(*words: object) -> None:
        raise AssertionError("settings are resolved again")

    monkeypatch.setattr(module, "build_attack", refuse)
    assert choose_attack("img2img", "official", {}, tmp_path) == first
    with pytest.raises(AssertionError):
        choose_attack("img2img", "official", {"strength": "0.5"}, tmp_path)
    for changed in own:
        digests = {**own, changed: "another"}
        monkeypatch.setattr(module, "code_digest", lambda name, of=digests: of[name.rpartition(".")[2]])
        with pytest.raises(AssertionError):
            choose_attack("img2img", "official", {}, tmp_path)


def test_what_is_drawn_beside_what() -> None:
    plan = tiny_plan(CONFIG, evaluators=[JUDGE], attacks=[SEARCH, CHANCE])
    base, cell = plan.cells
    (own, unrelated), (chance,) = drawn(cell, "search"), drawn(cell, "chance")
    assert own.erase.id == chance.erase.id == cell.erase.id
    assert [concept.name for concept in unrelated.erase.concepts] == ["Blue Cube"]
    assert [len(task.images) for task in (own, unrelated, chance)] == [8, 8, 12]
    assert {image.image_index for image in chance.images.images} == {0, 1, 2}
    targets = next(task for task in cell.generate if task.images.role == "target")
    seeds = {image.prompt.id: image.seed for image in targets.images.images if image.image_index == 0}
    assert all(image.seed == seeds[image.prompt.id] for image in own.images.images), (
        "the plain picture's noise"
    )
    assert len(drawn(base, "search")) == 1, "on the base model there is no unrelated edit"
    assert {task.id for task in own.attack.shown} <= {task.id for task in base.generate}  # type: ignore[union-attr]
    scored = [task.generate.id for task in cell.assaults if isinstance(task, ScoreTask)]
    assert scored == [own.id, unrelated.id, chance.id]


def test_what_an_attack_needs_is_done_before_it() -> None:
    plan = tiny_plan(CONFIG, evaluators=[JUDGE], attacks=[SEARCH, CHANCE])
    cell = plan.cells[1]
    done: set[str] = {task.id for task in plan.cells[0].tasks}
    for task in cell.tasks:
        assert all(each.id in done for each in needed_by(task))
        done.add(task.id)
    assert any(isinstance(task, EraseTask) for task in cell.assaults), "the unrelated edit is made for it"


def test_an_attack_changes_no_other_id() -> None:
    without, with_one = (tiny_plan(CONFIG, attacks=attacks) for attacks in ([], [SEARCH, CHANCE]))
    for one, other in zip(without.cells, with_one.cells, strict=True):
        assert {task.id for task in one.tasks} < {task.id for task in other.tasks}
    harder = tiny_plan(CONFIG, attacks=[attack("search", 2, "chance", steps=9), CHANCE])
    pairs = [(drawn(plan.cells[1], "search"), drawn(plan.cells[1], "chance")) for plan in (with_one, harder)]
    assert pairs[0][0][0].id != pairs[1][0][0].id and pairs[0][1][0].id == pairs[1][1][0].id


def test_a_kill_loses_a_few_prompts_of_an_attack_at_most() -> None:
    plan = tiny_plan(CONFIG, tiny_suite(prompts=PROMPTS_PER_TASK + 1), attacks=[CHANCE])
    assert [len(task.images) for task in drawn(plan.cells[1], "chance")] == [PROMPTS_PER_TASK * 3, 3]


def test_a_neighbour_is_not_unrelated() -> None:
    suite = tiny_suite()
    ball, cube = suite.concepts
    near = dataclasses.replace(ball, neighbours=("blue cube",))
    related = dataclasses.replace(suite, concepts=(near, cube), prompts=suite.prompts)
    for one, expected in ((suite, "Blue Cube"), (related, None)):
        cases = pick_cases(one, ("red-ball",))
        found = unrelated_case(one, cases, cases[0])
        assert (found and found.concept.name) == expected


def test_a_run_writes_what_attacks_came_to(tmp_path: Path) -> None:
    """The fake's pictures are as bright as noise: none of its means is a success, all are compared."""
    plan = tiny_plan(CONFIG, evaluators=[JUDGE], attacks=[SEARCH, CHANCE])
    outcome, _ = run(plan, tmp_path / "store", tmp_path / "out")
    assert not outcome.failures
    table = read_robustness(tmp_path / "out")
    row = next(row for row in table.rows if row.method == "dim" and row.attack == "search")
    assert (row.tries, row.control, row.any.prompts) == (2, "chance", 4)
    for rate in (row.plain, row.chosen, row.control_any, row.above, row.base_any, row.unrelated_any):
        assert rate.value is not None and rate.low is not None and rate.low <= rate.value
    assert row.any.value is not None and row.base_any.value is not None and row.any.value < row.base_any.value
    assert set(table.attacks) == {"search", "chance"}
    again, _ = run(plan, tmp_path / "store", tmp_path / "out")
    assert again.done == {}, "nothing is done twice"


def test_a_budget_that_was_changed_is_not_called_the_papers(tmp_path: Path) -> None:
    search = dataclasses.replace(SEARCH, options={"steps": "1", "tries": "2"})
    plan = tiny_plan(CONFIG, evaluators=[JUDGE], attacks=[search, CHANCE])
    run(plan, tmp_path / "store", tmp_path / "out")
    assert (
        "Budgets: search official with steps=1, chance official." in read_robustness(tmp_path / "out").notes
    )


def test_an_unrelated_edit_that_fails_leaves_the_cell_its_own_numbers(tmp_path: Path) -> None:
    plan = tiny_plan(CONFIG, evaluators=[JUDGE], attacks=[SEARCH, CHANCE])
    with Store(tmp_path) as store:
        worker = FakeWorker(store)
        worker.break_on = lambda task: (
            isinstance(task, EraseTask) and [concept.name for concept in task.concepts] == ["Blue Cube"]
        )
        outcome = execute(plan, worker, store, Quiet())
    assert {failure.role for failure in outcome.failures} == {"attack"}
    assert {failure.concept for failure in outcome.failures} == {"red ball"}


def test_without_one_of_the_concepts_there_is_no_mean_over_them(tmp_path: Path) -> None:
    """As in the leaderboard: what is left of them is no mean, and the base model's is another's."""
    config = RunConfig(suite="tiny", methods=("dim",), concepts=("red-ball", "blue-cube"))
    plan = tiny_plan(config, evaluators=[JUDGE], attacks=[SEARCH, CHANCE])
    broken = plan.cells[-1]
    worker = FakeWorker(Store(tmp_path / "store"))
    worker.break_on = lambda task: task in drawn(broken, "search")
    run(plan, tmp_path / "store", tmp_path / "out", worker)
    rows = {
        (row.method, row.concept): row
        for row in read_robustness(tmp_path / "out").rows
        if row.attack == "search"
    }
    whole, base = rows["dim", "overall"], rows["none", "overall"]
    assert whole.any.value is whole.above.value is whole.plain.value is None
    assert whole.control_any.value is not None and whole.base_any == base.any != NOTHING
    one = rows["dim", "red ball"]
    assert one.any.value is not None and one.unrelated_any.value is not None
    assert rows["dim", "Blue Cube"].any == NOTHING != rows["dim", "Blue Cube"].control_any
    table = read_robustness(tmp_path / "out")
    failed = [note for note in table.notes if note.startswith("failed: ")]
    assert failed and all("dim · Blue Cube" in note and "is broken" in note for note in failed)
    assert "| dim | search (n = 2) | 0 | – |" in (tmp_path / "out" / "robustness.md").read_text()


def test_a_control_is_added_with_as_many_tries_as_the_attack(tmp_path: Path) -> None:
    found = choose_attacks(
        RunConfig(suite="s", attacks=("unlearndiffatk",), attack_options={"": {"tries": "6", "steps": "1"}}),
        "microworld",
        tmp_path,
    )
    assert [(one.name, one.tries, one.preset) for one in found] == [
        ("unlearndiffatk", 6, "microworld"),
        ("random-prefix", 6, "microworld"),
    ]
    own = RunConfig(suite="s", attacks=("unlearndiffatk:2", "random-prefix:8"))
    assert [(one.name, one.tries) for one in choose_attacks(own, "official", tmp_path)] == [
        ("unlearndiffatk:2", 2),
        ("random-prefix:8", 8),
    ]


@pytest.mark.parametrize(
    ("options", "tokens"),
    [
        ({}, 5),
        ({"unlearndiffatk": {"tokens": "3"}}, 3),
        ({"concept-inversion": {"tokens": "2"}}, 5),
        ({"": {"tokens": "4"}}, 4),
        ({"unlearndiffatk": {"tokens": "3"}, "random-prefix": {"tokens": "7"}}, 7),
        ({"unlearndiffatk": {"tokens": "3"}, "random-prefix": {"tries": "60"}}, 3),
    ],
)
def test_a_control_has_as_many_tokens_as_its_attacks_are_told(
    options: dict[str, dict[str, str]], tokens: int, tmp_path: Path
) -> None:
    attacks = ("unlearndiffatk", "concept-inversion")
    for asked in (attacks, (*attacks, "random-prefix")):
        config = RunConfig(suite="s", attacks=asked, attack_options=options)
        found = choose_attacks(config, "official", tmp_path)
        assert {one.name: one.settings["tokens"] for one in found}["random-prefix"] == tokens


def with_attacks(*attacks: SuiteAttack) -> Suite:
    return dataclasses.replace(tiny_suite(), attacks=attacks)


def test_a_suites_own_attacks_are_made_where_the_user_names_none() -> None:
    suite = with_attacks(
        SuiteAttack("unlearndiffatk", {"steps": 7, "tries": 2}), SuiteAttack("random-prefix:8")
    )
    options = {"": {"tries": "3"}, "unlearndiffatk": {"seed": "1"}}
    found = with_suites_attacks(RunConfig(suite="s", attack_options=options), suite)
    assert found.attacks == ("unlearndiffatk", "random-prefix:8")
    assert found.attack_options["unlearndiffatk"] == {"steps": "7", "tries": "3", "seed": "1"}
    asked = RunConfig(suite="s", attacks=("p4d",))
    assert with_suites_attacks(asked, suite) is asked
    assert with_suites_attacks(RunConfig(suite="s", attacks=("none",)), suite).attacks == ()
    unasked = RunConfig(suite="s")
    assert with_suites_attacks(unasked, tiny_suite()) is unasked


def test_mistakes_in_a_suites_attacks_say_whose_they_are() -> None:
    with pytest.raises(BenchError, match="stands alone"):
        with_suites_attacks(RunConfig(suite="s", attacks=("none", "p4d")), tiny_suite())
    with pytest.raises(UnknownName, match="unknown attack 'nonsense'.*attacks, tiny"):
        with_suites_attacks(RunConfig(suite="s"), with_attacks(SuiteAttack("nonsense:3")))


def test_a_suite_without_attacks_keeps_its_id() -> None:
    assert "attacks" not in plain(tiny_suite())
    assert plain(with_attacks(SuiteAttack("p4d")))["attacks"] == [["p4d", {}]]


@pytest.mark.parametrize(
    ("config", "said"),
    [
        (RunConfig(suite="s", attacks=("nonsense",)), "--attacks"),
        (RunConfig(suite="s", attacks=("random-prefix:100000000",)), "at most 10000"),
        (RunConfig(suite="s", attacks=("random-prefix:8", "random-prefix:2")), "made once.*leave one out"),
        (
            RunConfig(suite="s", attacks=("fresh-noise:8",), attack_options={"": {"tries": "3"}}),
            "tries is 8 by its name and 3 by --attack-option",
        ),
        (RunConfig(suite="s", attack_options={"": {"tries": "2"}}), "no attack is there"),
        (
            RunConfig(suite="s", attacks=("random-prefix",), attack_options={"other": {"tries": "2"}}),
            "--attack-option",
        ),
    ],
)
def test_a_mistake_is_one_line(config: RunConfig, said: str, tmp_path: Path) -> None:
    with pytest.raises((BenchError, UnknownName), match=said):
        choose_attacks(config, "official", tmp_path)


def test_more_tokens_than_a_text_has_room_for_are_refused(tmp_path: Path) -> None:
    config = RunConfig(suite="s", attacks=("p4d:2",), attack_options={"p4d": {"tokens": "75"}})
    attacks = choose_attacks(config, "official", tmp_path)
    check_room(attacks, 77)
    with pytest.raises(BenchError, match=r"75 tokens.*the 32 .*at most 30 \(--attack-option p4d.tokens=30\)"):
        check_room(attacks, 32)


def test_a_scheduler_whose_steps_cannot_be_left_is_refused_before_anything_is_erased(tmp_path: Path) -> None:
    config = RunConfig(suite="s", attacks=("random-prefix", "memory-recovery"))
    attacks = choose_attacks(config, "official", tmp_path)
    suite = tiny_suite()
    check_scheduler(attacks, suite)
    other = dataclasses.replace(suite, protocol=dataclasses.replace(suite.protocol, scheduler="pndm"))
    with pytest.raises(BenchError, match=r"'memory-recovery'.*'pndm' cannot.*'ddim' \(--scheduler ddim"):
        check_scheduler(attacks, other)


def test_success_is_a_share_that_erasing_lowers() -> None:
    assert is_success(SEEN)
    assert not is_success(dataclasses.replace(SEEN, kind=None))
    assert not is_success(dataclasses.replace(SEEN, tells_collapse=True))
    assert not is_success(dataclasses.replace(SEEN, better=by_role("neither")))
    assert not is_success(dataclasses.replace(SEEN, headline=False))


def test_every_attack_has_its_control_in_the_registry() -> None:
    assert {"random-prefix", "fresh-noise"} <= ATTACKS.keys()
