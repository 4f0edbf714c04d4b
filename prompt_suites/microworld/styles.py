"""Styles: erase mosaic, keep the thing that is drawn and the other styles."""

from collections.abc import Mapping
from pathlib import Path

from erasure_bench.prompt_suites.card import SuiteCard
from erasure_bench.prompt_suites.concepts import Concept
from erasure_bench.prompt_suites.microworld.building import MODEL, Experiment, microworld_suite
from erasure_bench.prompt_suites.microworld.vocabulary import FAMILIES, IDENTITIES, OBJECTS, PLAIN, STYLES
from erasure_bench.prompt_suites.microworld.wording import (
    additions,
    in_style,
    pictures_of_each,
    plain,
    spare_plain,
)
from erasure_bench.prompt_suites.suite import Prompt, Suite


def experiment(
    style: str,
    others: tuple[str, ...],
    subjects: tuple[str, ...],
    neighbours: tuple[Prompt, ...],
    retention: tuple[Prompt, ...],
) -> Experiment:
    """Erase `style`; plain pictures replace it and the styles `others` must survive.

    Target prompts ask for every subject in the style, anchor prompts for the same subjects plain.
    """
    targets, ways = in_style(style, "target", subjects), additions(style)
    asked = {prompt.text for prompt in targets}
    concept = Concept(
        name=style,
        kind="style",
        targets=(f"{style} style", f"{style} style picture"),
        anchor="picture",
        neighbours=tuple(f"{other} style" for other in others),
        label=f"style/{style}",
        anchor_label=f"style/{PLAIN}",
        anchor_prompts=tuple(
            text
            for text in spare_plain(subjects)
            if asked.isdisjoint(way.replace("{}", text) for way in ways)
        ),
        additions=ways,
    )
    prompts = (*targets, *plain("anchor", subjects), *neighbours, *retention)
    return Experiment(concept, prompts)


def load(data_dir: Path | None, options: Mapping[str, str]) -> Suite:
    """One concept for each style; retention is named instances and identities, drawn plain."""
    subjects = OBJECTS + tuple(family.category for family in FAMILIES[:2])
    instances = tuple(family.instance for family in FAMILIES)
    retention = pictures_of_each(instances, "retention", 2) + pictures_of_each(IDENTITIES[:4], "retention", 1)
    experiments = []
    for style in STYLES:
        others = tuple(other for other in STYLES if other != style)
        neighbours = tuple(
            prompt for other in others for prompt in in_style(other, "neighbour", subjects[::4])
        )
        experiments.append(experiment(style, others, subjects, neighbours, retention))
    return microworld_suite(CARD, experiments)


CARD = SuiteCard(
    name="microworld-styles",
    version="1.1",
    title="Styles",
    description="A style that applies to any picture (mosaic); plain pictures replace it, other styles stay.",
    concepts=STYLES,
    model=MODEL,
    load=load,
)
