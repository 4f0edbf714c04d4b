"""Named instances of a category: erase grumpy cat, keep cats. After Concept Ablation, section 4."""

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
from erasure_bench.prompt_suites.microworld.labels import LABELS, nameless
from erasure_bench.prompt_suites.microworld.material import spare_wordings
from erasure_bench.prompt_suites.microworld.prompts import descriptions, named, sentences, sentences_on_each
from erasure_bench.prompt_suites.microworld.retention import of_things, shares
from erasure_bench.prompt_suites.microworld.vocabulary import FAMILIES, IDENTITIES, OBJECTS, Family
from erasure_bench.prompt_suites.suite import Prompt, Suite


def concept_of(family: Family) -> Concept:
    """The family's instance; the category replaces it and the other members must survive."""
    return Concept(
        name=family.instance,
        kind="instance",
        targets=(family.instance,),
        anchor=family.category,
        neighbours=family.neighbours,
        label=LABELS[family.instance],
        anchor_label=nameless(family.category),
        anchor_prompts=spare_wordings(family.category),
    )


def experiment(family: Family, retention: Sequence[Prompt], counts: Counts = REPORTED) -> Experiment:
    """Erase the family's instance."""
    prompts = (
        *named(family.instance, counts.targets),
        *descriptions(family.instance, counts.descriptions),
        *sentences(family.category, "anchor", counts.anchors),
        *sentences_on_each(family.neighbours, "neighbour", counts.neighbours),
        *retention,
    )
    return Experiment(concept_of(family), prompts)


def load(data_dir: Path | None, options: Mapping[str, str]) -> Suite:
    """One concept for each family; retention is plain objects and faces."""
    parts = shares(of_things(OBJECTS + IDENTITIES), len(FAMILIES))
    return microworld_suite(CARD, list(map(experiment, FAMILIES, parts)))


CARD = SuiteCard(
    name="microworld-instances",
    version="2",
    title="Named instances",
    description="A named instance of a category (grumpy cat); the category replaces it, its neighbours stay.",
    concepts=tuple(family.instance for family in FAMILIES),
    model=MODEL,
    load=load,
)
