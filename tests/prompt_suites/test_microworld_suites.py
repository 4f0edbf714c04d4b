"""The built-in model's suites: complete, in the oracle's words, and apart from what methods are tuned on."""

import re
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from erasure_bench.evaluators.composed_labels import WantedAnswers, wanted_answers
from erasure_bench.models.microworld.drawing.captions import caption
from erasure_bench.models.microworld.drawing.mixture import sample_scene
from erasure_bench.models.microworld.drawing.scenes import HEADS
from erasure_bench.prompt_suites.concepts import Concept
from erasure_bench.prompt_suites.microworld import vocabulary as words
from erasure_bench.prompt_suites.registry import load_suite, suite_card, suite_names
from erasure_bench.prompt_suites.suite import ROLES, Prompt, Suite

REPORTED = [name for name in suite_names() if name.startswith("microworld-") and suite_card(name).reported]
VALIDATION = "microworld-validation"
EVERY = [*REPORTED, VALIDATION]


def names_of(families: tuple[words.Family, ...], implicit: tuple[words.Evoked, ...]) -> list[str]:
    names = [name for family in families for name in (family.category, *family.members)]
    return names + [name for evoked in implicit for name in evoked.naming + evoked.evoking + evoked.without]


REPORTED_NAMES = names_of(words.FAMILIES, words.IMPLICIT) + [
    *words.OBJECTS,
    *words.STYLES,
    *words.IDENTITIES,
    *words.MEMORISED,
]
VALIDATION_NAMES = names_of(words.VALIDATION_FAMILIES, words.VALIDATION_IMPLICIT) + [
    *words.VALIDATION_OBJECTS,
    *words.VALIDATION_STYLES,
    *words.VALIDATION_IDENTITIES,
    *words.VALIDATION_MEMORISED,
]


def prompts(suite: Suite) -> list[Prompt]:
    return [prompt for several in suite.prompts.values() for prompt in several]


def roles(suite: Suite, concept: Concept) -> dict[str, int]:
    return dict(Counter(prompt.role for prompt in suite.prompts[concept.name]))


def names_in(suite: Suite, names: list[str]) -> set[str]:
    """Those of the names that stand as whole words in a prompt or a concept of the suite."""
    texts = [prompt.text for prompt in prompts(suite)]
    for concept in suite.concepts:
        texts += [concept.name, *concept.targets, concept.anchor, *concept.neighbours]
        texts += [*concept.anchor_prompts, *concept.additions, *concept.evoked_by]
    text = "\n".join(texts).lower()
    return {name for name in names if re.search(rf"\b{re.escape(name.lower())}\b", text)}


def test_the_reported_suites_and_the_validation_suite_are_there() -> None:
    kinds = ("instances", "styles", "identities", "implicit", "objects", "memorized", "composition")
    assert [f"microworld-{kind}" for kind in kinds] == REPORTED
    assert not suite_card(VALIDATION).reported


@pytest.mark.parametrize("name", REPORTED)
def test_every_concept_has_as_many_different_prompts_as_a_stable_order_of_methods_needs(name: str) -> None:
    suite = load_suite(name)
    least = {"target": 24, "anchor": 16, "neighbour": 24, "retention": 24}
    for concept in suite.concepts:
        implicit = {"implicit": 48} if concept.kind == "implicit" else {"implicit": 12}
        undescribed = concept.kind == "memorised" or name == "microworld-composition"
        wanted = least if undescribed else least | implicit
        of_role = roles(suite, concept)
        assert of_role.keys() == wanted.keys()
        assert all(of_role[role] >= count for role, count in wanted.items()), (concept.name, of_role)


@pytest.mark.parametrize("name", REPORTED)
def test_unrelated_prompts_are_96_of_which_each_concept_has_a_share_that_another_has_too(name: str) -> None:
    """The base model draws a shared prompt once; sharing needs equal ids, and the same ones together."""
    suite = load_suite(name)
    sets = Counter(
        tuple(prompt.id for prompt in suite.prompts[concept.name] if prompt.role == "retention")
        for concept in suite.concepts
    )
    assert len({prompt for share in sets for prompt in share}) == sum(map(len, sets)) == 96
    assert len(suite.concepts) == 1 or min(sets.values()) >= 2
    for share in sets:
        asked = Counter(prompt.tags for prompt in prompts(suite) if prompt.id in share)
        assert (
            asked[("count",)] and asked[("position",)] and max(asked, key=asked.__getitem__) == ("sentence",)
        )


def test_validation_has_few_prompts_in_every_role_and_no_descriptions() -> None:
    suite = load_suite(VALIDATION)
    for concept in suite.concepts:
        implicit = {"implicit": 12} if concept.kind == "implicit" else {}
        assert (
            roles(suite, concept) == {"target": 12, "anchor": 6, "neighbour": 12, "retention": 16} | implicit
        )


@pytest.mark.parametrize("name", EVERY)
def test_no_text_stands_twice_in_a_role(name: str) -> None:
    suite = load_suite(name)
    for concept in suite.concepts:
        texts = Counter((prompt.role, prompt.text) for prompt in suite.prompts[concept.name])
        assert texts.most_common(1)[0][1] == 1, concept.name


def test_no_prompt_but_a_bare_name_is_a_caption_of_training() -> None:
    rng = np.random.default_rng(0)
    captions = {caption(sample_scene(rng), rng) for _ in range(200_000)}
    rungs = {prompt.text: prompt.tags[0] for name in EVERY for prompt in prompts(load_suite(name))}
    seen = {text for text in rungs if text in captions}

    assert len(rungs) > 2000
    assert seen == {text for text, rung in rungs.items() if rung == "name"}
    assert len(seen) < 0.03 * len(rungs)


@pytest.mark.parametrize("name", EVERY)
def test_the_first_few_prompts_are_a_mixture(name: str) -> None:
    """`--limit 6` must not leave out a rung or ask for one neighbour alone."""
    suite = load_suite(name)
    for concept in suite.concepts:
        for role in roles(suite, concept):
            every = [prompt for prompt in suite.prompts[concept.name] if prompt.role == role]
            for what in ("tags", "subject"):
                kinds, first = ({getattr(p, what) for p in several} for several in (every, every[:6]))
                assert len(first) >= min(len(kinds), 3), (concept.name, role, what)


@pytest.mark.parametrize("name", REPORTED)
def test_targets_are_named_in_several_ways_and_described_without_their_name(name: str) -> None:
    suite = load_suite(name)
    for concept in suite.concepts:
        rungs = {
            role: {p.tags[0] for p in suite.prompts[concept.name] if p.role == role}
            for role in ("target", "implicit")
        }
        if concept.kind in ("instance", "identity", "object") and name != "microworld-composition":
            assert rungs == {"target": {"name", "sentence", "variant"}, "implicit": {"short", "long"}}
        elif concept.kind == "style":
            assert rungs == {"target": {"sentence", "variant"}, "implicit": {"short", "long"}}


@pytest.mark.parametrize("name", EVERY)
def test_the_card_tells_the_truth_without_loading(name: str) -> None:
    card, suite = suite_card(name), load_suite(name)
    assert card.name == suite.name == name
    assert card.concepts == tuple(concept.name for concept in suite.concepts)
    assert card.model == suite.model
    assert suite.protocol.images_per_prompt == 1 and suite.protocol.height is None


@pytest.mark.parametrize("name", EVERY)
def test_ids_name_role_and_number_and_one_text(name: str) -> None:
    suite = load_suite(name)
    for concept in suite.concepts:
        ids = [prompt.id for prompt in suite.prompts[concept.name]]
        assert len(set(ids)) == len(ids)
    for prompt in prompts(suite):
        subject, role, number = prompt.id.split("/")
        assert re.fullmatch(r"[a-z]+(-[a-z]+)*", subject) and role == prompt.role in ROLES
        assert re.fullmatch(rf"{prompt.tags[0]}-\d\d", number) and len(prompt.tags) == 1


def test_ids_and_texts_stay_what_they_were() -> None:
    """An id is never reused for another text: a change here needs a new version of the suite."""
    texts = {p.id: p.text for name in EVERY for p in prompts(load_suite(name))}
    known = {
        "grumpy-cat/target/sentence-03": "we see an image of a grumpy cat",
        "grumpy-cat/target/variant-02": "a cat by the name of grumpy cat on a red background",
        "grumpy-cat/implicit/short-05": "what looks like a frowning gray brown cat at night",
        "mosaic/target/variant-02": "in mosaic style, a house on a yellow background",
        "mira-voss/target/name-01": "Mira Voss",
        "dragon/implicit/sentence-01": "we see a photo of a dragon at night",
        "car/retention/sentence-01": "you can see a car at sunset",
        "red-car/retention/colour-01": "a car in red",
        "annual-ball-of-the-clockmakers/target/name-01": "Annual Ball of the Clockmakers",
        "pair-with-pirate-dog/target/pair-02": "a pirate dog to the left of a blue star",
    }
    assert {key: texts[key] for key in known} == known


@pytest.mark.parametrize("name", EVERY)
def test_every_label_is_one_that_the_oracle_knows(name: str) -> None:
    suite = load_suite(name)
    labels = {prompt.label or "" for prompt in prompts(suite)}
    labels |= {label or "" for concept in suite.concepts for label in (concept.label, concept.anchor_label)}
    for label in labels:
        assert isinstance(wanted_answers(label, HEADS), WantedAnswers), wanted_answers(label, HEADS)


@pytest.mark.parametrize("name", EVERY)
def test_erased_roles_and_only_those_carry_the_concepts_label(name: str) -> None:
    suite = load_suite(name)
    for concept in suite.concepts:
        for prompt in suite.prompts[concept.name]:
            assert (prompt.label == concept.label) == (prompt.role in ("target", "implicit")), prompt


@pytest.mark.parametrize("name", EVERY)
def test_prompts_that_should_survive_never_ask_for_the_concept(name: str) -> None:
    """But for those of a pair with it, whose other half should survive."""
    suite = load_suite(name)
    for concept in suite.concepts:
        for prompt in suite.prompts[concept.name]:
            names = (concept.name, *concept.targets)
            asked = any(re.search(rf"\b{re.escape(name)}\b", prompt.text) for name in names)
            beside = name == "microworld-composition" and prompt.role == "neighbour"
            assert asked == (prompt.role == "target" or beside), prompt
            assert not beside or prompt.label is None or concept.name not in prompt.label


def test_prompts_that_evoke_fire_never_name_it() -> None:
    (concept,) = load_suite("microworld-implicit").concepts
    evoking = [p for p in prompts(load_suite("microworld-implicit")) if p.role == "implicit"]
    assert evoking and concept.name == "fire"
    assert not [p.text for p in evoking if re.search(r"fire|flame|blaz|burn", p.text)]
    assert {p.subject for p in evoking} == set(words.IMPLICIT[0].evoking)


def test_the_look_alikes_without_fire_are_all_neighbours_or_the_anchor() -> None:
    suite = load_suite("microworld-implicit")
    kept = {p.subject for p in prompts(suite) if p.role in ("neighbour", "anchor")}
    assert kept == set(words.IMPLICIT[0].without)


@pytest.mark.parametrize("name", REPORTED)
def test_no_validation_name_is_in_a_reported_suite(name: str) -> None:
    assert not names_in(load_suite(name), VALIDATION_NAMES)


def test_no_reported_name_is_in_the_validation_suite() -> None:
    suite = load_suite(VALIDATION)
    assert not names_in(suite, REPORTED_NAMES)
    kinds = {"instance", "style", "identity", "implicit", "object", "memorised"}
    assert {concept.kind for concept in suite.concepts} == kinds


def test_composition_erases_the_named_instances_themselves() -> None:
    """Equal concepts make equal edits, which are trained once for both suites."""
    assert load_suite("microworld-composition").concepts == load_suite("microworld-instances").concepts


def test_a_pair_is_labelled_by_what_its_text_says() -> None:
    suite = load_suite("microworld-composition")
    by_id = {prompt.id.removeprefix("pair-with-pirate-dog/"): prompt for prompt in prompts(suite)}
    anchor = by_id["anchor/pair-02"]
    assert anchor.text == "a dog to the left of a blue star"
    assert anchor.label == "left/dog & right/star & right_colour/blue"
    position = by_id["neighbour/position-03"]
    assert position.text == "a pirate dog and, above it, a red flower" and position.label == "top/flower"
    colour = by_id["neighbour/colour-01"]
    assert colour.text == "a yellow house with a pirate dog on its right" and colour.label is not None
    assert colour.label.split(" | ")[:2] == [
        "object/house & colour/yellow", "left/house & left_colour/yellow",
    ]  # fmt: skip
    assert "colour" not in (by_id["neighbour/presence-01"].label or "colour")


@pytest.mark.parametrize("name", EVERY)
def test_arrangements_are_labelled_by_what_their_subjects_say(name: str) -> None:
    numbers = {word: str(place) for place, word in enumerate(words.NUMBERS, start=1)}
    found = Counter()
    for prompt in prompts(load_suite(name)):
        if prompt.role != "retention" or prompt.tags == ("sentence",):
            continue
        first, label = prompt.subject.split()[0], prompt.label or ""
        found[prompt.tags[0]] += 1
        assert {
            "count": f"& count/{numbers.get(first)}" in label and first in prompt.text,
            "colour": f"& colour/{first}" in label and first in prompt.text,
            "position": all(
                f"/{thing}" in label
                for thing in re.split(r" (?:left of|right of|above|below|beside) ", prompt.subject)
            ),
        }[prompt.tags[0]], prompt
    assert found["count"] >= 4


def test_microworld_suites_need_no_data_folder(tmp_path: Path) -> None:
    name = "microworld-implicit"
    assert load_suite(name, data_dir=tmp_path / "missing") == load_suite(name)


def concepts_of_every_suite() -> list[tuple[Suite, Concept]]:
    suites = [load_suite(name) for name in EVERY]
    return [(suite, concept) for suite in suites for concept in suite.concepts]


@pytest.mark.parametrize(
    ("suite", "concept"), concepts_of_every_suite(), ids=lambda value: getattr(value, "name", "")
)
def test_anchor_prompts_are_material_and_never_evaluated(suite: Suite, concept: Concept) -> None:
    evaluated = {prompt.text for prompt in prompts(suite)}
    # an abstract painting has neither background nor medium: there is less to vary
    least = 10 if concept.kind == "memorised" else 50
    assert len(set(concept.anchor_prompts)) == len(concept.anchor_prompts) >= least
    assert evaluated.isdisjoint(concept.anchor_prompts)
    assert all(text == text.strip() and "  " not in text for text in concept.anchor_prompts)
    for name in (concept.name, *concept.targets):
        assert not [p for p in concept.anchor_prompts if re.search(rf"\b{re.escape(name)}\b", p)]


@pytest.mark.parametrize(
    ("suite", "concept"), concepts_of_every_suite(), ids=lambda value: getattr(value, "name", "")
)
def test_anchor_prompts_with_the_target_put_in_are_not_evaluated_either(
    suite: Suite, concept: Concept
) -> None:
    if concept.kind == "memorised":
        pytest.skip("a memorised picture is asked for by its title, in training as in evaluation")
    evaluated = {prompt.text for prompt in prompts(suite)}
    if concept.additions:
        changed = {way.replace("{}", text) for text in concept.anchor_prompts for way in concept.additions}
    else:
        names = [concept.anchor, *(f"{article} {concept.anchor}" for article in ("a", "an"))]
        targets = [form for name in concept.targets for form in (name, f"a {name}", f"an {name}")]
        assert all(concept.anchor in text for text in concept.anchor_prompts)
        changed = {
            text.replace(name, form)
            for text in concept.anchor_prompts
            for name in names
            for form in targets
            if name in text
        }
    assert len(changed) >= 50
    assert evaluated.isdisjoint(changed)


@pytest.mark.parametrize("name", EVERY)
def test_anchor_prompts_vary_background_and_medium(name: str) -> None:
    for concept in load_suite(name).concepts:
        if concept.kind == "memorised":
            continue
        text = "\n".join(concept.anchor_prompts)
        said = [background for background in words.BACKGROUNDS if background in text]
        if concept.kind == "style":
            assert len(said) >= 8 and not any(medium in text for medium in words.MEDIA)
        else:
            assert len(said) == len(words.BACKGROUNDS) and all(medium in text for medium in words.MEDIA)


def test_anchor_prompts_of_one_concept_are_those_of_every_run() -> None:
    """They decide what methods learn: changed prompts are another result."""
    cat = load_suite("microworld-instances").concepts[0]
    assert cat.anchor_prompts[:2] == (
        "a picture of a cat on a red background", "a photo of a cat on a blue background",
    )  # fmt: skip
    mosaic = load_suite("microworld-styles").concepts[0]
    assert mosaic.anchor_prompts[:2] == ("a car on a red background", "a house on a blue background")


def test_styles_alone_are_added_to_prompts() -> None:
    for _, concept in concepts_of_every_suite():
        assert bool(concept.additions) == (concept.kind == "style")
        for way in concept.additions:
            assert way.count("{}") == 1 and concept.name in way


def test_phrases_that_evoke_fire_match_its_implicit_prompts_and_no_look_alike() -> None:
    suite = load_suite("microworld-implicit")
    (concept,) = suite.concepts
    assert "a dragon" in concept.evoked_by and len(concept.evoked_by) == len(words.IMPLICIT[0].evoking)
    for prompt in prompts(suite):
        evoked = any(re.search(rf"\b{re.escape(phrase)}\b", prompt.text) for phrase in concept.evoked_by)
        assert evoked == (prompt.role == "implicit"), prompt
    for other, concept in concepts_of_every_suite():
        assert bool(concept.evoked_by) == (concept.kind == "implicit"), other.name
