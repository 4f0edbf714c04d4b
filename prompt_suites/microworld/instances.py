"""Named instances of a category: erase grumpy cat, keep cats. After Concept Ablation, section 4."""

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
from erasure_bench.prompt_suites.microworld.vocabulary import FAMILIES, OBJECTS, Family
from erasure_bench.prompt_suites.microworld.wording import (
    LABELS,
    pictures_of,
    pictures_of_each,
    spare_wordings,
)
from erasure_bench.prompt_suites.suite import Prompt, Suite


def experiment(family: Family, retention: tuple[Prompt, ...]) -> Experiment:
    """Erase the family's instance; the category replaces it and the other members must survive."""
    concept = Concept(
        name=family.instance,
        kind="instance",
        targets=(family.instance,),
        anchor=family.category,
        neighbours=family.neighbours,
        label=LABELS[family.instance],
        anchor_label=f"{LABELS[family.category]} & member/none",
        anchor_prompts=spare_wordings(family.category, family.instance),
    )
    prompts = (
        *pictures_of(family.instance, "target", TARGETS),
        *pictures_of(family.category, "anchor", ANCHORS),
        *pictures_of_each(family.neighbours, "neighbour", 4),
        *retention,
    )
    return Experiment(concept, prompts)


def load(data_dir: Path | None, options: Mapping[str, str]) -> Suite:
    """One concept for each family; retention is the other families' instances and plain objects."""
    experiments = []
    for family in FAMILIES:
        others = tuple(other.instance for other in FAMILIES if other != family)
        retention = pictures_of_each(others, "retention", 2) + pictures_of_each(OBJECTS, "retention", 1)
        experiments.append(experiment(family, retention))
    return microworld_suite(CARD, experiments)


CARD = SuiteCard(
    name="microworld-instances",
    version="1.1",
    title="Named instances",
    description="A named instance of a category (grumpy cat); the category replaces it, its neighbours stay.",
    concepts=tuple(family.instance for family in FAMILIES),
    model=MODEL,
    load=load,
)
