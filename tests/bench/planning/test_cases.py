"""Which concepts a run measures, and which are erased together."""

from types import ModuleType

import pytest

from erasure_bench.bench.planning.cases import pick_cases
from erasure_bench.bench.planning.config import RunConfig
from erasure_bench.errors import BenchError
from erasure_bench.prompt_suites.suite import Prompt, Suite


def test_concepts_are_found_with_hyphens_and_any_case(fake: ModuleType) -> None:
    suite = fake.tiny_suite()
    assert [case.name for case in pick_cases(suite, ["blue-cube"])] == ["Blue Cube"]
    assert [case.name for case in pick_cases(suite, [])] == ["red ball", "Blue Cube"]
    with pytest.raises(BenchError, match="did you mean red ball"):
        pick_cases(suite, ["red bell"])
    with pytest.raises(BenchError, match="--concepts"):
        pick_cases(suite, ["red-ball+"])


def test_a_plus_erases_both_in_one_edit_and_measures_each(fake: ModuleType) -> None:
    suite = fake.tiny_suite()
    both = pick_cases(suite, ["blue-cube+red-ball"])

    assert [case.name for case in both] == ["red ball (with Blue Cube)", "Blue Cube (with red ball)"]
    assert {case.erased for case in both} == {suite.concepts}
    apart_and_together = pick_cases(suite, ["red-ball", "red-ball+blue-cube"])
    assert [case.name for case in apart_and_together] == [
        "red ball",
        "red ball (with Blue Cube)",
        "Blue Cube (with red ball)",
    ]


def test_prompts_that_keep_what_is_erased_along_are_left_out(fake: ModuleType) -> None:
    plain = fake.tiny_suite()
    cube = Prompt(id="keep/cube", text="a Blue Cube at night", role="retention", subject="cube")
    own = Prompt(id="t/cube", text="a red ball on a blue cube", role="target", subject="red ball")
    prompts = {"red ball": (*plain.prompts["red ball"], cube, own), "Blue Cube": plain.prompts["Blue Cube"]}
    suite = Suite(**{**vars(plain), "prompts": prompts})

    (alone,) = pick_cases(suite, ["red-ball"])
    together = pick_cases(suite, ["red-ball+blue-cube"])[0]

    assert cube in alone.prompts(suite)
    assert cube not in together.prompts(suite)
    assert own in together.prompts(suite), "what should lose the concept is always asked for"


def test_cells_of_a_group_share_one_edit_of_all_its_concepts(fake: ModuleType) -> None:
    methods = [fake.method("none"), fake.method("dim", many_concepts=True)]
    plan = fake.tiny_plan(
        RunConfig(suite="tiny", methods=("dim",), concepts=("red-ball+blue-cube",)), methods=methods
    )

    (edit,) = {cell.erase.id: cell.erase for cell in plan.cells if not cell.method.is_baseline}.values()
    assert [concept.name for concept in edit.concepts] == ["red ball", "Blue Cube"]
    alone = fake.tiny_plan(methods=methods)
    assert edit.id not in {cell.erase.id for cell in alone.cells}


def test_a_method_for_one_concept_is_refused_for_several(fake: ModuleType) -> None:
    with pytest.raises(BenchError, match=r"dim: one concept at a time.*red ball\+Blue Cube.*--methods"):
        fake.tiny_plan(RunConfig(suite="tiny", methods=("dim",), concepts=("red-ball+blue-cube",)))
