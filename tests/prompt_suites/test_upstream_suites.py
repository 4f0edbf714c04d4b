"""Suites from upstream's files: exact counts, every row's own seed and scale, the files that are pinned."""

import csv
import functools
import gzip
import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from erasure_bench.evaluators.composed_labels import wanted_answers
from erasure_bench.evaluators.instances import check_label, instance
from erasure_bench.evaluators.kept_domains import CROSS_DOMAIN, IN_DOMAIN, domain_accuracies
from erasure_bench.evaluators.registry import evaluator_card, evaluator_names
from erasure_bench.evaluators.wanted_faces import wanted_names
from erasure_bench.models.zoo import ZOO
from erasure_bench.prompt_suites import suite_file
from erasure_bench.prompt_suites.fetch import Found, UpstreamFile
from erasure_bench.prompt_suites.registry import complete_options, load_suite, suite_card, suite_names
from erasure_bench.prompt_suites.screen import is_unsafe, suggests_minor
from erasure_bench.prompt_suites.suite import Suite

FROM_FILES = [name for name in suite_names() if suite_card(name).digest]

COUNTS: dict[tuple[str, str], dict[str, dict[str, int]]] = {
    ("celebrities", "set=sa"): dict.fromkeys(
        ("Brad Pitt", "Angelina Jolie"), {"target": 50, "neighbour": 50}
    ),
    ("celebrities", "set=mace-1"): {"Melania Trump": {"target": 250, "neighbour": 2500}},
    ("celebrities", "set=mace-5"): {"Adam Driver": {"target": 50, "neighbour": 2500}},
    ("celebrities", "set=mace-10"): {"Angelina Jolie": {"target": 25, "neighbour": 2500}},
    ("celebrities", "set=mace-100"): {"Zayn Malik": {"target": 25, "neighbour": 2500}},
    ("styles", ""): dict.fromkeys(
        ("van gogh", "salvador dali", "monet", "greg rutkowski"),
        {"target": 10, "neighbour": 50, "anchor": 10},
    ),
    ("instances", ""): dict.fromkeys(
        ("grumpy cat", "snoopy", "nemo", "r2d2"), {"target": 10, "anchor": 10, "neighbour": 40}
    ),
    ("objects", "set=imagenette"): {"tench": {"target": 500, "neighbour": 4500}},
    ("objects", "set=imagenette-small"): {"English springer": {"target": 10, "neighbour": 90}},
    ("objects", "set=cifar10"): {"ship": {"target": 1, "neighbour": 9, "implicit": 3}},
    ("coco", "size=30k"): {"nudity": {"retention": 30000}},
    ("coco", "size=10k"): {"nudity": {"retention": 10000}},
    ("coco", "size=3k"): {"nudity": {"retention": 3000}},
    ("memorized", ""): dict.fromkeys(
        ("orleans", "lukas", "vangoghcafe", "marvel", "bloodborne", "longdark", "anne", "letterm"),
        {"target": 1, "anchor": 30},
    ),
    ("artists", "set=famous"): {"Van Gogh": {"target": 20, "neighbour": 80}},
    ("artists", "set=modern"): {"Ajin: Demi Human": {"target": 20, "neighbour": 80}},
    ("unlearndiffatk", ""): {
        "nudity": {"target": 142},
        "violence": {"target": 756},
        "illegal activity": {"target": 727},
        **dict.fromkeys(("van gogh", "church", "garbage truck", "parachute", "tench"), {"target": 50}),
    },
    ("unlearncanvas", "unlearn=styles"): {"Van Gogh": {"target": 20, "neighbour": 980}},
    ("unlearncanvas", "unlearn=objects"): {"Jellyfish": {"target": 50, "neighbour": 950}},
}
"""Prompts by role as upstream has them, before the screen."""
CONCEPTS = {
    "celebrities set=mace-5": 5,
    "celebrities set=mace-10": 10,
    "celebrities set=mace-100": 100,
    "objects set=imagenette": 10,
    "objects set=imagenette-small": 10,
    "objects set=cifar10": 10,
    "artists set=famous": 5,
    "artists set=modern": 5,
    "unlearncanvas unlearn=styles": 50,
    "unlearncanvas unlearn=objects": 20,
}
FURTHER: dict[str, tuple[str, ...]] = {
    "celebrities": ("celebrity@giphy", "celebrity@dlib"),
    "styles": ("fidelity",),
    "instances": ("fidelity",),
    "objects": (),
    "coco": ("fidelity", "cmmd"),
    "memorized": ("memorization", "fidelity"),
    "artists": ("perceptual", "classifier@artists"),
    "unlearndiffatk": ("nudity@v3.0", "inappropriate", "classifier@artists", "classifier@imagenette"),
    "unlearncanvas": ("classifier@unlearncanvas", "fidelity"),
}
"""The papers' own measures: CA's KID and SSCD, ESD's LPIPS, UnlearnCanvas' UA, IRA and CRA."""
LEFT_OUT = {"coco size=30k": 9, "coco size=10k": 2, "coco size=3k": 1}
"""Where the screen leaves anything out of what is not about something unsafe."""
PICTURES: dict[str, dict[str, int]] = {
    "celebrities set=sa": {"target": 20, "neighbour": 20},
    "styles": {"target": 20, "anchor": 20, "neighbour": 5},
    "instances": {"target": 20, "anchor": 20, "neighbour": 5},
    "memorized": {"target": 200, "anchor": 1},
    "objects set=cifar10": {"target": 200, "neighbour": 200, "implicit": 200},
    "unlearncanvas unlearn=styles": {"target": 5, "neighbour": 5},
}
"""Pictures of each prompt where a paper says how many."""


@pytest.fixture(scope="module")
def data(upstream_data: Path) -> Path:
    if not (upstream_data / "MANIFEST.json").is_file():
        pytest.skip("the upstream files are not at hand (BENCH_DATA)")
    return upstream_data


def options(words: str) -> dict[str, str]:
    return dict([words.split("=")]) if words else {}


@functools.cache
def whole(name: str, words: str, data: Path) -> Suite:
    """The suite before the screen."""
    card = suite_card(name)
    return card.load(data, complete_options(card, options(words)))


def roles(suite: Suite, concept: str) -> Mapping[str, int]:
    return Counter(prompt.role for prompt in suite.prompts[concept])


ids = pytest.mark.parametrize(("name", "words"), COUNTS, ids=lambda part: str(part) or "whole")


@ids
def test_the_counts_are_the_papers(name: str, words: str, data: Path) -> None:
    suite = whole(name, words, data)
    for concept, counts in COUNTS[name, words].items():
        assert roles(suite, concept) == counts
    if len(COUNTS[name, words]) == 1:
        assert {tuple(sorted(roles(suite, each.name).items())) for each in suite.concepts} == {
            tuple(sorted(counts.items())) for counts in COUNTS[name, words].values()
        }
    said = f"{name} {words}".strip()
    assert len(suite.concepts) == CONCEPTS.get(said, len(COUNTS[name, words]))
    drawn = {
        prompt.role: suite.protocol.images_of(prompt) for own in suite.prompts.values() for prompt in own
    }
    assert drawn == PICTURES.get(said, dict.fromkeys(drawn, 1 if name != "unlearncanvas" else 5))


@ids
def test_the_screen_holds(name: str, words: str, data: Path) -> None:
    before, suite = whole(name, words, data), load_suite(name, data_dir=data, options=options(words))
    kept = {prompt.id for own in suite.prompts.values() for prompt in own}
    all_ = {prompt.id for own in before.prompts.values() for prompt in own}
    gone = sum(part.rows for part in suite.left_out)
    assert len(all_) - len(kept) == gone
    said = f"{name} {words}".strip()
    assert gone == LEFT_OUT.get(said, gone if suite_card(name).options.keys() & {"weak-rows"} else 0)
    for concept in suite.concepts:
        for prompt in suite.prompts[concept.name]:
            if suggests_minor(prompt.text) == "strong":
                assert not is_unsafe(prompt.text) and (concept.kind != "unsafe" or prompt.role == "retention")


ANCHORS = {"grumpy cat": "cat", "snoopy": "dog", "nemo": "fish", "r2d2": "robot"}


@pytest.mark.parametrize("name", ["instances", "styles"])
def test_methods_learn_on_concept_ablations_own_anchor_prompts(name: str, data: Path) -> None:
    """All 200 of each file, those without the anchor's word as well."""
    for concept in whole(name, "", data).concepts:
        file = data / "concept_ablation/finetune_prompts" / f"{ANCHORS.get(concept.name, 'painting')}.txt"
        lines = [line.strip() for line in file.read_text().splitlines()]
        assert concept.anchor_prompts == tuple(line for line in lines if line)
        assert len(concept.anchor_prompts) == 200
        assert concept.surrogate == concept.anchor, "Selective Amnesia's one prompt stays what it was"


ROWS = [
    ("celebrities", "set=mace-10", "mace/celebrity_10_concepts.csv", "mace-10"),
    ("objects", "set=imagenette", "uce/imagenette.csv", "imagenette"),
    ("objects", "set=imagenette-small", "esd/small_imagenet_prompts.csv", "small"),
    ("artists", "set=famous", "esd/big_artist_prompts.csv", "famous"),
    ("artists", "set=modern", "esd/short_niche_art_prompts.csv", "modern"),
    ("coco", "size=30k", "coco/coco_30k.csv.gz", "coco"),
    ("coco", "size=10k", "coco/advunlearn_coco_10k.csv.gz", "coco-10k"),
    ("unlearndiffatk", "", "unlearndiffatk/nudity.csv", "nudity"),
    ("unlearndiffatk", "", "unlearndiffatk/violence.csv", "violence"),
    ("unlearndiffatk", "", "unlearndiffatk/tench.csv", "tench"),
]


@pytest.mark.parametrize(("name", "words", "file", "start"), ROWS, ids=lambda part: str(part))
def test_every_prompt_is_its_row_with_its_seed_and_scale(
    name: str, words: str, file: str, start: str, data: Path
) -> None:
    text = (data / file).read_bytes()
    lines = (gzip.decompress(text) if file.endswith(".gz") else text).decode().splitlines(keepends=True)
    rows = list(csv.DictReader(lines))
    found = {
        prompt.id.split("/")[1]: prompt
        for own in whole(name, words, data).prompts.values()
        for prompt in own
        if prompt.id.split("/")[0] == start
    }
    assert len(found) == len(rows)
    for number, row in enumerate(rows):
        prompt = found[f"{number:04d}"]
        assert prompt.text == row["prompt"]
        assert str(prompt.seed) == row["evaluation_seed"]
        scale = row.get("evaluation_guidance")
        assert prompt.guidance_scale == (None if scale is None else float(scale))


def test_instances_without_a_file_are_made_as_upstream_makes_them(data: Path) -> None:
    """Snoopy, Nemo and R2D2 have files: these are what the rule for the others makes of the anchors'."""
    suite = whole("instances", "", data)
    for concept in ("snoopy", "nemo", "r2d2"):
        own = [prompt.text for prompt in suite.prompts[concept] if prompt.role == "target"]
        anchors = [prompt for prompt in suite.prompts[concept] if prompt.role == "anchor"]
        assert own == [prompt.text.replace(prompt.subject, concept) for prompt in anchors]
    cats = suite.prompts["grumpy cat"]
    assert cats[0].text == "what a cute grumpy cat" and cats[0].subject == "grumpy cat"
    near = {prompt.subject for prompt in cats if prompt.role == "neighbour"}
    listed = json.loads((data / "concept_ablation" / "eval.json").read_text())["object"]["grumpy cat"]
    assert near == set(listed["hard_negative"])


def test_the_names_of_celebrities_are_those_of_the_files(data: Path) -> None:
    listed = json.loads((data / "mace" / "derived" / "concept_lists.json").read_text())["celebrity"]
    for number in (1, 5, 10, 100):
        suite = whole("celebrities", f"set=mace-{number}", data)
        assert {concept.name for concept in suite.concepts} == set(listed[f"erase_{number}"])
        # as its configs map every name; Angelina Jolie had what Selective Amnesia puts in her place
        assert {(concept.anchor, concept.surrogate) for concept in suite.concepts} == {("a person", None)}


def test_maces_kept_names_are_what_their_prompts_ask_for(data: Path) -> None:
    """Without them no recogniser knows whose face a kept picture should show: MACE's Acc_s has no number."""
    lists = json.loads((data / "mace" / "derived" / "concept_lists.json").read_text())
    for number in (1, 5, 10, 100):
        suite = whole("celebrities", f"set=mace-{number}", data)
        concept = suite.concepts[-1]
        kept = [each for each in suite.prompts[concept.name] if each.role == "neighbour"]
        assert all(each.subject in each.text and each.label == each.subject for each in kept)
        assert Counter(wanted_names(concept, each)[0] for each in kept) == dict.fromkeys(
            lists["celebrity"]["retain_100"], 25
        )


def test_an_artists_label_is_the_classifiers(data: Path) -> None:
    famous = whole("artists", "set=famous", data)
    assert (
        famous.concepts[1].label == "vincent-van-gogh" and famous.concepts[1].neighbours[0] == "Pablo Picasso"
    )
    labels = {prompt.label for prompt in famous.prompts["Van Gogh"]}
    assert labels == {concept.label for concept in famous.concepts} and None not in labels
    attacked = whole("unlearndiffatk", "", data)
    assert next(each.label for each in attacked.concepts if each.name == "van gogh") == "vincent-van-gogh"


@pytest.mark.parametrize("unlearn", ["styles", "objects"])
def test_unlearncanvas_prompts_say_what_both_classifiers_should_see(unlearn: str) -> None:
    """Without it there is no cross-domain accuracy."""
    suite = load_suite("unlearncanvas", options={"unlearn": unlearn})
    heads = {
        kind: tuple(each.name for each in load_suite("unlearncanvas", options={"unlearn": kind}).concepts)
        for kind in ("styles", "objects")
    }
    concept = suite.concepts[3]
    own = wanted_answers(concept.label or "", heads)
    seen = {head: np.eye(len(labels))[0] for head, labels in heads.items()}
    for prompt in suite.prompts[concept.name]:
        asked = wanted_answers(prompt.label or "", heads)
        assert not isinstance(asked, str) and set(asked.heads) == set(heads)
        assert all(heads[head][place] in prompt.text for head, place in asked.alternatives[0].items())
        found = domain_accuracies(own, asked, seen)
        assert isinstance(found[CROSS_DOMAIN.name], float) and isinstance(found[IN_DOMAIN.name], float)
    assert {"neighbour"} <= CROSS_DOMAIN.better.keys() & {
        prompt.role for prompt in suite.prompts[concept.name]
    }


def test_the_lists_of_unlearncanvas_are_its_own(data: Path) -> None:
    lists = json.loads((data / "unlearncanvas" / "derived" / "styles_objects.json").read_text())
    suite = whole("unlearncanvas", "unlearn=styles", data)
    assert [concept.name.replace(" ", "_") for concept in suite.concepts] == lists["styles_50"]
    assert [concept.name for concept in whole("unlearncanvas", "unlearn=objects", data).concepts] == lists[
        "objects_20"
    ]
    assert suite.prompts["Van Gogh"][0].text.startswith("A Architectures image in ")


SETS = ("eta-5.5-k-38", "eta-5.5-k-77", "eta-5-k-77")


@pytest.mark.parametrize("chosen", SETS)
def test_each_set_of_ring_a_bell_is_its_own_file(chosen: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a file of the same form: the real ones are not at hand, but for their digests."""
    asked: list[str] = []

    def found(*files: UpstreamFile, data_dir: Path | None) -> Found:
        asked.append(files[0].path)
        rows = [f'"word {row}, word",{row},{1000 + row}' for row in range(250)]
        return Found(files[0], Path("x"), "\n".join(["prompt,case_number,evaluation_seed", *rows]).encode())

    monkeypatch.setattr(suite_file, "locate", found)
    suite = load_suite("ring-a-bell", options={"set": chosen})
    (path,) = asked
    assert path.lower().replace("_", "-").endswith(f"violence-{chosen}.csv")
    prompts = suite.prompts["violence"]
    assert len(prompts) == 250 and {prompt.role for prompt in prompts} == {"attack"}
    assert (prompts[7].id, prompts[7].seed, prompts[7].text) == (f"{chosen}/0007", 1007, "word 7, word")


@pytest.mark.parametrize("name", FROM_FILES)
def test_every_pinned_file_is_the_one_of_the_manifest(name: str, data: Path) -> None:
    manifest = json.loads((data / "MANIFEST.json").read_text())
    known = {
        (entry["repo"], entry["commit"], entry["path"]): entry.get("sha256_uncompressed") or entry["sha256"]
        for entry in manifest
        if "repo" in entry
    }
    for file in (file for group in suite_card(name).upstream for file in group):
        assert known[file.repository, file.commit, file.path] == file.sha256


@pytest.mark.parametrize("name", FROM_FILES)
def test_a_suites_words_lead_somewhere(name: str) -> None:
    """Its evaluators and its model are there, and it says where it is from."""
    card = suite_card(name)
    assert card.model in ZOO and card.source and card.licence and card.concepts
    if not card.upstream:
        suite = load_suite(name)
        all_are_evaluators((*suite.evaluators, *card.further_evaluators))


def all_are_evaluators(names: tuple[str, ...]) -> None:
    """Each is registered, and its label is one of its presets."""
    for name in names:
        of = instance(name)
        assert of.name in evaluator_names()
        check_label(name, evaluator_card(of.name).presets, {})


@pytest.mark.parametrize(("name", "words"), [case for case in COUNTS if not case[1] or "10" not in case[1]])
def test_the_evaluators_are_registered(name: str, words: str, data: Path) -> None:
    further = suite_card(name).further_evaluators
    all_are_evaluators((*whole(name, words, data).evaluators, *further))
    assert further == FURTHER[name]
