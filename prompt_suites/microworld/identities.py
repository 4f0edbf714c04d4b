"""Identities: erase one named face, keep the others and people as such. After Selective Amnesia."""

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
from erasure_bench.prompt_suites.microworld.vocabulary import FAMILIES, IDENTITIES, OBJECTS
from erasure_bench.prompt_suites.microworld.wording import (
    LABELS,
    pictures_of,
    pictures_of_each,
    spare_wordings,
)
from erasure_bench.prompt_suites.suite import Prompt, Suite


def experiment(
    name: str, others: tuple[str, ...], neighbours: tuple[Prompt, ...], retention: tuple[Prompt, ...]
) -> Experiment:
    """Erase the identity `name`; an anonymous person replaces it and `others` must survive."""
    concept = Concept(
        name=name,
        kind="identity",
        targets=(name,),
        anchor="a person",
        surrogate="a middle aged man",
        neighbours=others,
        label=LABELS[name],
        anchor_label=LABELS["person"],
        anchor_prompts=spare_wordings("person", name),
    )
    prompts = (
        *pictures_of(name, "target", TARGETS),
        *pictures_of("person", "anchor", ANCHORS),
        *neighbours,
        *retention,
    )
    return Experiment(concept, prompts)


def load(data_dir: Path | None, options: Mapping[str, str]) -> Suite:
    """One concept for each identity; retention is named instances and plain objects."""
    instances = tuple(family.instance for family in FAMILIES)
    retention = pictures_of_each(instances + OBJECTS, "retention", 1)
    experiments = []
    for name in IDENTITIES:
        others = tuple(other for other in IDENTITIES if other != name)
        experiments.append(experiment(name, others, pictures_of_each(others, "neighbour", 2), retention))
    return microworld_suite(CARD, experiments)


CARD = SuiteCard(
    name="microworld-identities",
    version="1.1",
    title="Identities",
    description="A named face (Mira Voss); an anonymous person replaces it, the other faces stay.",
    concepts=IDENTITIES,
    model=MODEL,
    load=load,
)
