"""Memorised pictures: erase one training picture that its title brings back. After Concept Ablation."""

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
from erasure_bench.prompt_suites.microworld.labels import LABELS, all_of
from erasure_bench.prompt_suites.microworld.material import spare_abstract
from erasure_bench.prompt_suites.microworld.prompts import abstract, in_turn, titled
from erasure_bench.prompt_suites.microworld.retention import of_things, shares
from erasure_bench.prompt_suites.microworld.vocabulary import ABSTRACT, FAMILIES, MEMORISED, NONE, OBJECTS
from erasure_bench.prompt_suites.microworld.wording import with_article
from erasure_bench.prompt_suites.suite import Prompt, Suite


def experiment(
    title: str,
    others: tuple[str, ...],
    neighbours: Sequence[Prompt],
    retention: Sequence[Prompt],
    counts: Counts = REPORTED,
) -> Experiment:
    """Erase the picture called `title`; other abstract paintings replace it, `others` must survive."""
    concept = Concept(
        name=title,
        kind="memorised",
        targets=(title,),
        anchor=with_article(ABSTRACT),
        neighbours=others,
        label=LABELS[title],
        anchor_label=all_of(LABELS[ABSTRACT], f"memorised/{NONE}"),
        anchor_prompts=spare_abstract(),
    )
    prompts = (
        *titled(title, "target", counts.targets),
        *abstract("anchor", counts.anchors),
        *neighbours,
        *retention,
    )
    return Experiment(concept, prompts)


def load(data_dir: Path | None, options: Mapping[str, str]) -> Suite:
    """One concept for each memorised picture; retention is named instances and plain objects."""
    instances = tuple(family.instance for family in FAMILIES)
    experiments = []
    for title, part in zip(MEMORISED, shares(of_things(instances + OBJECTS), len(MEMORISED)), strict=True):
        others = tuple(other for other in MEMORISED if other != title)
        each = REPORTED.neighbours // len(others)
        neighbours = in_turn([titled(other, "neighbour", each) for other in others])
        experiments.append(experiment(title, others, neighbours, part))
    return microworld_suite(CARD, experiments)


CARD = SuiteCard(
    name="microworld-memorized",
    version="2",
    title="Memorised pictures",
    description="A training picture that its title brings back; abstract paintings replace it.",
    concepts=MEMORISED,
    model=MODEL,
    load=load,
    further_evaluators=("memorization",),
)
