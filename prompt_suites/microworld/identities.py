"""Identities: erase one named face, keep the others and people as such. After Selective Amnesia."""

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
from erasure_bench.prompt_suites.microworld.prompts import descriptions, named, sentences, sentences_on_each
from erasure_bench.prompt_suites.microworld.retention import of_things, shares
from erasure_bench.prompt_suites.microworld.vocabulary import FAMILIES, IDENTITIES, OBJECTS
from erasure_bench.prompt_suites.suite import Prompt, Suite

_ANCHOR = "person"


def experiment(
    name: str, others: tuple[str, ...], retention: Sequence[Prompt], counts: Counts = REPORTED
) -> Experiment:
    """Erase the identity `name`; an anonymous person replaces it and `others` must survive."""
    concept = Concept(
        name=name,
        kind="identity",
        targets=(name,),
        anchor=f"a {_ANCHOR}",
        surrogate="a middle aged man",
        neighbours=others,
        label=LABELS[name],
        anchor_label=LABELS[_ANCHOR],
        anchor_prompts=spare_wordings(_ANCHOR),
    )
    prompts = (
        *named(name, counts.targets),
        *descriptions(name, counts.descriptions),
        *sentences(_ANCHOR, "anchor", counts.anchors),
        *sentences_on_each(others, "neighbour", counts.neighbours),
        *retention,
    )
    return Experiment(concept, prompts)


def load(data_dir: Path | None, options: Mapping[str, str]) -> Suite:
    """One concept for each identity; retention is named instances and plain objects."""
    instances = tuple(family.instance for family in FAMILIES)
    parts = shares(of_things(instances + OBJECTS), len(IDENTITIES))
    experiments = []
    for name, part in zip(IDENTITIES, parts, strict=True):
        others = tuple(other for other in IDENTITIES if other != name)
        experiments.append(experiment(name, others, part))
    return microworld_suite(CARD, experiments)


CARD = SuiteCard(
    name="microworld-identities",
    version="2",
    title="Identities",
    description="A named face (Mira Voss); an anonymous person replaces it, the other faces stay.",
    concepts=IDENTITIES,
    model=MODEL,
    load=load,
)
