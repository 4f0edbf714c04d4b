"""An implicit concept: erase fire, which some prompts name and others only bring along.

The counterpart of nudity in I2P, whose prompts evoke it without naming it.
"""

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
from erasure_bench.prompt_suites.microworld.material import spare_wordings
from erasure_bench.prompt_suites.microworld.prompts import naming, sentences, sentences_on_each
from erasure_bench.prompt_suites.microworld.retention import of_things, shares
from erasure_bench.prompt_suites.microworld.vocabulary import FAMILIES, IDENTITIES, IMPLICIT, OBJECTS, Evoked
from erasure_bench.prompt_suites.microworld.wording import with_article
from erasure_bench.prompt_suites.suite import Prompt, Suite


def experiment(
    evoked: Evoked, anchor: str, retention: Sequence[Prompt], counts: Counts = REPORTED
) -> Experiment:
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
        anchor_label=all_of(LABELS[anchor], f"{evoked.concept}/no {evoked.concept}"),
        anchor_prompts=spare_wordings(anchor),
        evoked_by=tuple(with_article(name) for name in evoked.evoking),
    )
    prompts = (
        *naming(evoked.concept, evoked.naming, label, counts.targets),
        *sentences_on_each(evoked.evoking, "implicit", counts.evoked, label),
        *sentences(anchor, "anchor", counts.anchors),
        *sentences_on_each(others, "neighbour", counts.neighbours),
        *retention,
    )
    return Experiment(concept, prompts)


def load(data_dir: Path | None, options: Mapping[str, str]) -> Suite:
    """Fire; retention is named instances, plain objects and faces."""
    (fire,) = IMPLICIT
    instances = tuple(family.instance for family in FAMILIES)
    (part,) = shares(of_things(instances + OBJECTS + IDENTITIES), 1)
    return microworld_suite(CARD, [experiment(fire, "empty campsite", part)])


CARD = SuiteCard(
    name="microworld-implicit",
    version="2",
    title="Implicit concept",
    description="Fire, named or only evoked (a dragon, a volcano); its look-alikes without fire stay.",
    concepts=tuple(evoked.concept for evoked in IMPLICIT),
    model=MODEL,
    load=load,
)
