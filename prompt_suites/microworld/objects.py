"""Plain objects: erase car, keep the other nine."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from erasure_bench.prompt_suites.card import SuiteCard
from erasure_bench.prompt_suites.concepts import Concept
from erasure_bench.prompt_suites.microworld.building import (
    MODEL,
    REPORTED,
    Counts,
    Experiment,
    microworld_suite,
)
from erasure_bench.prompt_suites.microworld.labels import LABELS
from erasure_bench.prompt_suites.microworld.material import spare_wordings
from erasure_bench.prompt_suites.microworld.prompts import (
    descriptions,
    in_turn,
    named,
    sentences,
    sentences_on_each,
)
from erasure_bench.prompt_suites.microworld.retention import retention, shares
from erasure_bench.prompt_suites.microworld.vocabulary import FAMILIES, IDENTITIES, OBJECTS
from erasure_bench.prompt_suites.suite import Prompt, Suite

PAIRS = (("car", "boat"), ("tree", "flower"), ("apple", "mushroom"), ("star", "kite"), ("house", "cup"))
"""Objects that replace each other, since the built-in model has no wider category for them."""


def experiment(
    name: str,
    anchor: str,
    neighbours: tuple[str, ...],
    retention: Sequence[Prompt],
    counts: Counts = REPORTED,
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
        anchor_prompts=spare_wordings(anchor),
    )
    prompts = (
        *named(name, counts.targets),
        *descriptions(name, counts.descriptions),
        *sentences(anchor, "anchor", counts.anchors),
        *sentences_on_each(neighbours, "neighbour", counts.neighbours),
        *retention,
    )
    return Experiment(concept, prompts)


def load(data_dir: Path | None, options: Mapping[str, str]) -> Suite:
    """One concept for each object; retention is animals and robots, in numbers and pairs, and faces."""
    members = in_turn([family.members for family in FAMILIES])
    categories = tuple(family.category for family in FAMILIES)
    unrelated = retention(members + IDENTITIES, counted=categories, placed=members)
    anchors = dict(PAIRS) | {second: first for first, second in PAIRS}
    experiments = []
    for name, part in zip(OBJECTS, shares(unrelated, len(OBJECTS)), strict=True):
        others = tuple(other for other in OBJECTS if other not in (name, anchors[name]))
        experiments.append(experiment(name, anchors[name], others, part))
    return microworld_suite(CARD, experiments)


CARD = SuiteCard(
    name="microworld-objects",
    version="2",
    title="Objects",
    description="A plain object (car); another object replaces it, the other eight stay.",
    concepts=OBJECTS,
    model=MODEL,
    load=load,
)
