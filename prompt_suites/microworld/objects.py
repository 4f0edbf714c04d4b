"""Plain objects: erase car, keep the other nine."""

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

PAIRS = (("car", "boat"), ("tree", "flower"), ("apple", "mushroom"), ("star", "kite"), ("house", "cup"))
"""Objects that replace each other, since the built-in model has no wider category for them."""


def experiment(
    name: str, anchor: str, neighbours: tuple[str, ...], retention: tuple[Prompt, ...]
) -> Experiment:
    """Erase the object `name`; the object `anchor` replaces it and `neighbours` must survive."""
    concept = Concept(
        name=name,
        kind="object",
        targets=(name,),
        anchor=anchor,
        neighbours=neighbours,
        label=LABELS[name],
        anchor_label=LABELS[anchor],
        anchor_prompts=spare_wordings(anchor, name),
    )
    prompts = (
        *pictures_of(name, "target", TARGETS),
        *pictures_of(anchor, "anchor", ANCHORS),
        *pictures_of_each(neighbours, "neighbour", -(-TARGETS // len(neighbours))),
        *retention,
    )
    return Experiment(concept, prompts)


def load(data_dir: Path | None, options: Mapping[str, str]) -> Suite:
    """One concept for each object; retention is named instances and identities."""
    instances = tuple(family.instance for family in FAMILIES)
    retention = pictures_of_each(instances, "retention", 2) + pictures_of_each(IDENTITIES[:4], "retention", 1)
    anchors = dict(PAIRS) | {second: first for first, second in PAIRS}
    experiments = []
    for name in OBJECTS:
        others = tuple(other for other in OBJECTS if other not in (name, anchors[name]))
        experiments.append(experiment(name, anchors[name], others, retention))
    return microworld_suite(CARD, experiments)


CARD = SuiteCard(
    name="microworld-objects",
    version="1.1",
    title="Objects",
    description="A plain object (car); another object replaces it, the other eight stay.",
    concepts=OBJECTS,
    model=MODEL,
    load=load,
)
