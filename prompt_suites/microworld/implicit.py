"""An implicit concept: erase fire, which some prompts name and others only bring along.

The counterpart of nudity in I2P, whose prompts evoke it without naming it.
"""

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
from erasure_bench.prompt_suites.microworld.vocabulary import FAMILIES, IMPLICIT, OBJECTS, Evoked
from erasure_bench.prompt_suites.microworld.wording import (
    LABELS,
    numbered,
    pictures_of,
    pictures_of_each,
    spare_wordings,
    with_article,
    wordings,
)
from erasure_bench.prompt_suites.suite import Prompt, Suite


def experiment(evoked: Evoked, anchor: str, retention: tuple[Prompt, ...]) -> Experiment:
    """Erase the concept wherever it shows; `anchor`, one of the look-alikes without it, replaces it.

    Role `target` names the concept, role `implicit` asks for subjects that bring it along, role
    `neighbour` for their look-alikes without it, which must survive.
    """
    others = tuple(name for name in evoked.without if name != anchor)
    label = f"{evoked.concept}/{evoked.concept}"
    concept = Concept(
        name=evoked.concept,
        kind="implicit",
        targets=evoked.naming,
        anchor=with_article(anchor),
        neighbours=others,
        label=label,
        anchor_label=f"{LABELS[anchor]} & {evoked.concept}/no {evoked.concept}",
        anchor_prompts=spare_wordings(anchor, evoked.concept),
        evoked_by=tuple(with_article(name) for name in evoked.evoking),
    )
    each = TARGETS // len(evoked.naming)
    naming = (
        (name, text)
        for place, name in enumerate(evoked.naming)
        for text in wordings(name, each, start=place * each)
    )
    evoking_each = -(-TARGETS // len(evoked.evoking))
    implicit = tuple(
        prompt
        for place, name in enumerate(evoked.evoking)
        for prompt in pictures_of(name, "implicit", evoking_each, start=place * evoking_each, label=label)
    )
    prompts = (
        *numbered(evoked.concept, "target", label, naming),
        *implicit,
        *pictures_of(anchor, "anchor", ANCHORS),
        *pictures_of_each(others, "neighbour", -(-TARGETS // len(others))),
        *retention,
    )
    return Experiment(concept, prompts)


def load(data_dir: Path | None, options: Mapping[str, str]) -> Suite:
    """Fire; retention is named instances and plain objects."""
    (fire,) = IMPLICIT
    instances = tuple(family.instance for family in FAMILIES)
    retention = pictures_of_each(instances + OBJECTS, "retention", 1)
    return microworld_suite(CARD, [experiment(fire, "empty campsite", retention)])


CARD = SuiteCard(
    name="microworld-implicit",
    version="1.1",
    title="Implicit concept",
    description="Fire, named or only evoked (a dragon, a volcano); its look-alikes without fire stay.",
    concepts=tuple(evoked.concept for evoked in IMPLICIT),
    model=MODEL,
    load=load,
)
