"""What else a prompt names: by the suite's tags, else by a plain rule that is written down."""

from dataclasses import replace

import pytest

from erasure_bench.evaluators.other_things import other_things, things_in
from erasure_bench.prompt_suites.concepts import Concept
from erasure_bench.prompt_suites.suite import Prompt

CAT = Concept(name="grumpy cat", kind="instance", targets=("grumpy cat", "a grumpy cat"), anchor="cat")
PROMPT = Prompt(id="p", text="A grumpy cat in a red boat, near the sea", role="target", subject="grumpy cat")


@pytest.mark.parametrize(
    ("text", "without", "things"),
    [
        ("A grumpy cat in a red boat, near the sea", ["grumpy cat"], ("red boat", "sea")),
        ("a photo of two Grumpy Cats and one cat", ["grumpy cat"], ()),
        ("the dog and the dog's bowl", ["cat"], ("dog", "dog's bowl")),
        ("trees; 3 trees, a house-boat", ["cat"], ("trees", "house-boat")),
        ("a cat on a sofa, 4k, 3d render, 35mm photo, 1990s, mp3", ["cat"], ("sofa",)),
        ("two churches by a lake", ["church"], ("lake",)),
        ("puppies, buses and classes; cares", ["puppy", "bus", "class", "car"], ("cares",)),
        ("a church", ["churches"], ()),
        ("a cat", ["cat"], ()),
        ("", ["cat"], ()),
    ],
)
def test_things_are_the_words_between_function_words(
    text: str, without: list[str], things: tuple[str, ...]
) -> None:
    assert things_in(text, without) == things


def test_tags_go_before_the_rule_and_hold_for_every_role() -> None:
    tagged = replace(PROMPT, tags=("hard", "shows:red boat", "shows:sea gull"))
    assert other_things(CAT, tagged, 4) == ("red boat", "sea gull")
    assert other_things(CAT, replace(tagged, role="attack"), 1) == ("red boat",)


def test_the_subject_is_the_concept_where_it_should_be_gone_and_the_prompts_own_elsewhere() -> None:
    assert other_things(CAT, PROMPT, 4) == ("red boat", "sea")
    kept = replace(PROMPT, role="retention", subject="red boat")
    assert other_things(CAT, kept, 4) == ("grumpy cat", "sea")
    assert other_things(CAT, kept, 1) == ("grumpy cat",)


@pytest.mark.parametrize("role", ["misspelt", "attack", "implicit"])
def test_a_text_that_does_not_say_plainly_what_it_shows_is_not_read(role: str) -> None:
    reason = other_things(CAT, replace(PROMPT, role=role), 4)  # type: ignore[arg-type]
    assert isinstance(reason, str) and role in reason and "shows:" in reason


def test_a_prompt_of_its_subject_alone_names_nothing_else() -> None:
    assert other_things(CAT, replace(PROMPT, text="a grumpy cat"), 4) == "the prompt names nothing else"
