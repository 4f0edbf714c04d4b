"""Memorised pictures: erase one training picture that its title brings back. After Concept Ablation."""

from collections.abc import Mapping
from pathlib import Path

from erasure_bench.prompt_suites.card import SuiteCard
from erasure_bench.prompt_suites.concepts import Concept
from erasure_bench.prompt_suites.microworld.building import (
    ANCHORS,
    MODEL,
    TARGETS,
    Experiment,
    microworld_suite,
)
from erasure_bench.prompt_suites.microworld.vocabulary import ABSTRACT, FAMILIES, MEMORISED, OBJECTS
from erasure_bench.prompt_suites.microworld.wording import (
    LABELS,
    abstract,
    pictures_of_each,
    spare_abstract,
    titled,
    with_article,
)
from erasure_bench.prompt_suites.suite import Prompt, Suite


def experiment(
    title: str, others: tuple[str, ...], neighbours: tuple[Prompt, ...], retention: tuple[Prompt, ...]
) -> Experiment:
    """Erase the picture called `title`; other abstract paintings replace it, `others` must survive."""
    concept = Concept(
        name=title,
        kind="memorised",
        targets=(title,),
        anchor=with_article(ABSTRACT),
        neighbours=others,
        label=LABELS[title],
        anchor_label=f"{LABELS[ABSTRACT]} & memorised/none",
        anchor_prompts=spare_abstract(),
    )
    prompts = (
        *titled(title, "target", TARGETS),
        *abstract("anchor", ANCHORS),
        *neighbours,
        *retention,
    )
    return Experiment(concept, prompts)


def load(data_dir: Path | None, options: Mapping[str, str]) -> Suite:
    """One concept for each memorised picture; retention is named instances and plain objects."""
    instances = tuple(family.instance for family in FAMILIES)
    retention = pictures_of_each(instances + OBJECTS, "retention", 1)
    experiments = []
    for title in MEMORISED:
        others = tuple(other for other in MEMORISED if other != title)
        neighbours = tuple(prompt for other in others for prompt in titled(other, "neighbour", 4))
        experiments.append(experiment(title, others, neighbours, retention))
    return microworld_suite(CARD, experiments)


CARD = SuiteCard(
    name="microworld-memorized",
    version="1.1",
    title="Memorised pictures",
    description="A training picture that its title brings back; abstract paintings replace it.",
    concepts=MEMORISED,
    model=MODEL,
    load=load,
)
