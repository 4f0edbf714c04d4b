"""The built-in model's suites: complete, in the oracle's words, and apart from what methods are tuned on."""

import re
from collections import Counter
from pathlib import Path

import pytest

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


def names_in(suite: Suite, names: list[str]) -> set[str]:
    """Those of the names that stand as whole words in a prompt or a concept of the suite."""
    texts = [prompt.text for prompt in prompts(suite)]
    for concept in suite.concepts:
        texts += [concept.name, *concept.targets, concept.anchor, *concept.neighbours]
        texts += [*concept.anchor_prompts, *concept.additions, *concept.evoked_by]
    text = "\n".join(texts).lower()
    return {name for name in names if re.search(rf"\b{re.escape(name.lower())}\b", text)}


def test_the_six_reported_suites_and_the_validation_suite_are_there() -> None:
    kinds = ("instances", "styles", "identities", "implicit", "objects", "memorized")
    assert [f"microworld-{kind}" for kind in kinds] == REPORTED
    assert not suite_card(VALIDATION).reported


@pytest.mark.parametrize("name", EVERY)
def test_every_concept_has_ten_different_prompts_in_every_role(name: str) -> None:
    suite = load_suite(name)
    for concept in suite.concepts:
        of_role = Counter(prompt.role for prompt in suite.prompts[concept.name])
        wanted = {"target", "anchor", "neighbour", "retention"}
        assert set(of_role) == (wanted | {"implicit"} if concept.kind == "implicit" else wanted)
        assert min(of_role.values()) >= 10, (concept.name, of_role)
        for role in of_role:
            texts = [prompt.text for prompt in suite.prompts[concept.name] if prompt.role == role]
            assert len(set(texts)) == len(texts), (concept.name, role)


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
        assert re.fullmatch(r"\d\d", number)


def test_ids_and_texts_stay_what_they_were() -> None:
    """An id is never reused for another text: a change here needs a new version of the suite."""
    texts = {p.id: p.text for name in EVERY for p in prompts(load_suite(name))}
    known = {
        "grumpy-cat/target/03": "a grumpy cat on a green background",
        "mosaic/target/02": "mosaic style picture of a house",
        "mira-voss/target/01": "a picture of Mira Voss on a red background",
        "dragon/implicit/01": "a picture of a dragon on a red background",
        "car/retention/01": "an image of a car in the desert",
        "annual-ball-of-the-clockmakers/target/01": "Annual Ball of the Clockmakers",
    }
    assert {key: texts[key] for key in known} == known


@pytest.mark.parametrize("name", EVERY)
def test_every_label_is_one_that_the_oracle_knows(name: str) -> None:
    suite = load_suite(name)
    for label in [prompt.label for prompt in prompts(suite)] + [concept.label for concept in suite.concepts]:
        head, _, value = (label or "").partition("/")
        assert value in HEADS[head], label


@pytest.mark.parametrize("name", EVERY)
def test_erased_roles_and_only_those_carry_the_concepts_label(name: str) -> None:
    suite = load_suite(name)
    for concept in suite.concepts:
        for prompt in suite.prompts[concept.name]:
            assert (prompt.label == concept.label) == (prompt.role in ("target", "implicit")), prompt


@pytest.mark.parametrize("name", EVERY)
def test_prompts_that_should_survive_never_ask_for_the_concept(name: str) -> None:
    suite = load_suite(name)
    for concept in suite.concepts:
        for prompt in suite.prompts[concept.name]:
            names = (concept.name, *concept.targets)
            asked = any(re.search(rf"\b{re.escape(name)}\b", prompt.text) for name in names)
            assert asked == (prompt.role == "target"), prompt


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


@pytest.mark.parametrize("name", REPORTED)
def test_what_concepts_share_is_the_same_prompt(name: str) -> None:
    """The base model draws a shared prompt once; sharing needs equal ids, not only equal texts."""
    suite = load_suite(name)
    if len(suite.concepts) == 1:
        return
    shared = Counter(prompt.id for prompt in prompts(suite))
    retention = [prompt for prompt in prompts(suite) if prompt.role == "retention"]
    assert all(shared[prompt.id] > 1 for prompt in retention)


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
    assert cat.anchor_prompts[:3] == (
        "a cat", "an image of a cat on a green background", "a picture of a cat on a grassy field",
    )  # fmt: skip
    mosaic = load_suite("microworld-styles").concepts[0]
    assert mosaic.anchor_prompts[:2] == ("a car on a red background", "a house on a blue background")


def test_styles_alone_are_added_to_prompts() -> None:
    for _, concept in concepts_of_every_suite():
        assert bool(concept.additions) == (concept.kind == "style")
        for way in concept.additions:
            assert way.count("{}") == 1 and concept.name in way


def test_every_way_to_ask_for_a_style_is_one_of_its_additions() -> None:
    """Prompts of the suite say the style in a wording that the additions have, too."""
    suite = load_suite("microworld-styles")
    for concept in suite.concepts:
        ways = [re.escape(way).replace(r"\{\}", ".+") for way in concept.additions]
        for prompt in suite.prompts[concept.name]:
            if prompt.role == "target":
                assert any(re.fullmatch(way, prompt.text) for way in ways), prompt.text


def test_phrases_that_evoke_fire_match_its_implicit_prompts_and_no_look_alike() -> None:
    suite = load_suite("microworld-implicit")
    (concept,) = suite.concepts
    assert "a dragon" in concept.evoked_by and len(concept.evoked_by) == len(words.IMPLICIT[0].evoking)
    for prompt in prompts(suite):
        evoked = any(re.search(rf"\b{re.escape(phrase)}\b", prompt.text) for phrase in concept.evoked_by)
        assert evoked == (prompt.role == "implicit"), prompt
    for other, concept in concepts_of_every_suite():
        assert bool(concept.evoked_by) == (concept.kind == "implicit"), other.name
