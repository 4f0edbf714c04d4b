"""Content ids change with everything that can change a result, and with nothing else."""

from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from erasure_bench.bench.identity.ids import (
    canonical_json,
    content_id,
    each_spelt_once,
    once,
    plain_id,
    spelt_around,
)
from erasure_bench.bench.planning.config import RunConfig
from erasure_bench.bench.planning.tasks import EraseTask, GenerateTask, PlannedImage, PlannedImages, ScoreTask
from erasure_bench.prompt_suites.concepts import Concept
from erasure_bench.prompt_suites.suite import Prompt

CONCEPT = Concept(name="cat", kind="object", targets=("cat",), anchor="animal")
PROMPT = Prompt(id="p1", text="a cat", role="target", subject="cat")
ERASE = EraseTask(
    method="m",
    settings_class="x:M",
    settings={"eta": 1.0, "steps": 10},
    code="a",
    base="b",
    concepts=(CONCEPT,),
    seed=0,
    dtype="float32",
)
IMAGE = PlannedImage(prompt=PROMPT, image_index=0, seed=5, guidance_scale=7.5, height=64, width=64)
GENERATE = GenerateTask(
    erase=ERASE,
    images=PlannedImages(role="target", images=(IMAGE,)),
    scheduler="ddim",
    steps=20,
    eta=0.0,
    code="s",
)
SCORE = ScoreTask(generate=GENERATE, concept=CONCEPT, evaluator="e", protocol={"threshold": 0.6}, code="v")


def with_image(**changes: Any) -> GenerateTask:
    return replace(GENERATE, images=PlannedImages(role="target", images=(replace(IMAGE, **changes),)))


@pytest.mark.parametrize(
    "other",
    [
        replace(ERASE, settings_class="x:N"),
        replace(ERASE, settings={"eta": 2.0, "steps": 10}),
        replace(ERASE, code="z"),
        replace(ERASE, base="z"),
        replace(ERASE, concepts=(replace(CONCEPT, anchor="dog"),)),
        replace(ERASE, concepts=()),
        replace(ERASE, concepts=(CONCEPT, replace(CONCEPT, name="dog"))),
        replace(ERASE, general_prompts="z"),
        replace(ERASE, seed=1),
        replace(ERASE, dtype="float16"),
        replace(GENERATE, erase=replace(ERASE, seed=1)),
        replace(GENERATE, scheduler="pndm"),
        replace(GENERATE, steps=21),
        replace(GENERATE, eta=0.5),
        replace(GENERATE, code="z"),
        with_image(prompt=replace(PROMPT, text="a dog")),
        with_image(seed=6),
        with_image(guidance_scale=7.0),
        with_image(height=72),
        with_image(width=72),
        replace(SCORE, generate=with_image(seed=6)),
        replace(SCORE, generate=with_image(prompt=replace(PROMPT, subject="dog"))),
        replace(SCORE, generate=with_image(image_index=1)),
        replace(SCORE, concept=replace(CONCEPT, label="cat")),
        replace(SCORE, evaluator="f"),
        replace(SCORE, protocol={"threshold": 0.7}),
        replace(SCORE, code="z"),
    ],
)
def test_each_determinant_changes_the_id(other: EraseTask | GenerateTask | ScoreTask) -> None:
    original = {"erase": ERASE, "generate": GENERATE, "score": SCORE}[other.kind]
    assert other.id != original.id


@pytest.mark.parametrize(
    ("task", "known"),
    [
        (ERASE, "e418989c44e578aa70978e15c0a425690ca100a062f70fc8bd97929cadec1f4a"),
        (replace(ERASE, after=ERASE), "1f0157f98313601e36f8c382ee98a69d0ae2fd21a6d636ce6ddbc1047a948e8a"),
        (GENERATE, "04096fa2481602e00ac2a11a0deded29f651bc4749c9ae00b8e34ef6bada176f"),
        (SCORE, "e48ca352639693ea688bed6ac1f415ecf847a1e3f65a733c1333e7909efd5451"),
        (
            replace(SCORE, base=(GENERATE, GENERATE)),
            "1cb281bf4c1c2ed3f57208c33cd8cc95a6161e63d5a09cdaabe83053dbd52c2d",
        ),
    ],
)
def test_what_a_store_has_keeps_its_id(task: EraseTask | GenerateTask | ScoreTask, known: str) -> None:
    """Whatever makes ids quicker: one that moves has everything done again."""
    assert task.id == known


def test_what_only_names_things_does_not_change_the_id() -> None:
    assert replace(ERASE, method="other name").id == ERASE.id
    assert replace(ERASE, settings={"steps": 10, "eta": 1.0}).id == ERASE.id
    renamed = with_image(prompt=replace(PROMPT, id="p2", subject="dog"), image_index=3)
    assert renamed.id == GENERATE.id, "pictures depend on a prompt's text, not on its name"


def test_batch_size_device_and_data_folder_change_no_id(fake: ModuleType) -> None:
    slow = RunConfig(suite="tiny", methods=("dim",), batch_size=1, device="cpu")
    fast = RunConfig(suite="tiny", methods=("dim",), batch_size=64, device="cuda:1", data_dir=Path("/x"))
    assert fake.tiny_plan(slow).id == fake.tiny_plan(fast).id


@pytest.mark.parametrize("changes", [{"seeds": (1,)}, {"dtype": "bfloat16"}, {"limit": 1}])
def test_what_changes_the_run_changes_the_plan(fake: ModuleType, changes: dict[str, Any]) -> None:
    plain = RunConfig(suite="tiny", methods=("dim",))
    assert fake.tiny_plan(plain.model_copy(update=changes)).id != fake.tiny_plan(plain).id


def test_equal_values_have_one_spelling() -> None:
    @dataclass(frozen=True)
    class Settings:
        b: tuple[int, ...] = (1, 2)
        a: float = 0.1

    assert canonical_json(Settings()) == '{"a":0.1,"b":[1,2]}' == canonical_json({"b": [1, 2], "a": 0.1})
    assert content_id(Settings()) == content_id({"a": 0.1, "b": (1, 2)})


def test_a_field_that_came_later_changes_no_id_until_it_is_used() -> None:
    assert replace(CONCEPT, anchor_label=None) == CONCEPT and "anchor_label" not in canonical_json(CONCEPT)
    assert replace(ERASE, concepts=(replace(CONCEPT, anchor_label="dog"),)).id != ERASE.id


def test_an_object_without_a_value_cannot_enter_an_id() -> None:
    with pytest.raises(TypeError, match="cannot be part of a content id"):
        content_id({"model": object()})


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(max_size=3), inner, max_size=3)
        | st.tuples(inner)
    ),
    max_leaves=8,
)


@given(st.dictionaries(st.text(max_size=3), VALUES, max_size=4))
def test_spelling_parts_once_spells_the_same(value: dict[str, Any]) -> None:
    apart = canonical_json(value)
    with each_spelt_once():
        assert canonical_json(value) == apart
        assert canonical_json(value) == apart, "the second time too"
        assert canonical_json({"whole": value, "b": [value], "0": -0.0}) == canonical_json_apart(value)


@given(st.dictionaries(st.text(max_size=3), VALUES, max_size=4), st.text(max_size=3))
def test_what_stands_about_a_text_is_the_object_without_it(fixed: dict[str, Any], name: str) -> None:
    fixed.pop(name, None)
    whole = content_id({**fixed, name: "0f"})
    assert spelt_around(name, fixed).id_with("0f") == whole
    with each_spelt_once():
        assert spelt_around(name, fixed).id_with("0f") == whole


def canonical_json_apart(value: dict[str, Any]) -> str:
    return f'{{"0":-0.0,"b":[{canonical_json(value)}],"whole":{canonical_json(value)}}}'


@pytest.mark.parametrize("task", [ERASE, GENERATE, SCORE, replace(SCORE, base=(GENERATE, GENERATE))])
def test_a_task_has_the_same_id_where_parts_are_spelt_once(task: Any) -> None:
    with each_spelt_once():
        assert replace(task).id == replace(task).id == replace(task).id
        within = replace(task).id
    assert within == replace(task).id


def test_what_is_made_once_is_made_of_the_same_objects_and_forgotten_after() -> None:
    calls = []

    def make(value: list[int]) -> int:
        calls.append(value)
        return len(calls)

    one, equal = [1], [1]
    with each_spelt_once():
        assert (once(make, one), once(make, one), once(make, equal)) == (1, 1, 2)
    assert once(make, one) == 3
    one.append(2)
    with each_spelt_once():
        assert canonical_json({"a": one}) == '{"a":[1,2]}'


def test_the_digest_of_plain_json_is_its_content_id() -> None:
    value = {"b": [1, 2.5, None, True], "a": {"é": "\ud800"}}
    assert plain_id(value) == content_id(value)
