"""Styles: erase mosaic, keep the thing that is drawn and the other styles."""

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
from erasure_bench.prompt_suites.microworld.material import additions, spare_plain
from erasure_bench.prompt_suites.microworld.prompts import in_style, in_turn, plain
from erasure_bench.prompt_suites.microworld.retention import retention, shares
from erasure_bench.prompt_suites.microworld.vocabulary import (
    COLOURABLE,
    FAMILIES,
    IDENTITIES,
    OBJECTS,
    PLAIN,
    STYLES,
)
from erasure_bench.prompt_suites.microworld.wording import start
from erasure_bench.prompt_suites.suite import Prompt, Suite


def experiment(
    style: str,
    others: tuple[str, ...],
    subjects: Sequence[str],
    retention: Sequence[Prompt],
    counts: Counts = REPORTED,
) -> Experiment:
    """Erase `style`; plain pictures replace it and the styles `others` must survive.

    Target prompts ask for the subjects in the style, anchor prompts for the same subjects plain.
    """
    concept = Concept(
        name=style,
        kind="style",
        targets=(f"{style} style", f"{style} style picture"),
        anchor="picture",
        neighbours=tuple(f"{other} style" for other in others),
        label=f"style/{style}",
        anchor_label=f"style/{PLAIN}",
        anchor_prompts=spare_plain(subjects),
        additions=additions(style),
    )

    def going_round(count: int, beginning: int = 0) -> list[str]:
        return [subjects[place % len(subjects)] for place in range(beginning, beginning + count)]

    half, described = counts.targets // 2, counts.descriptions // 2
    each = -(-counts.neighbours // len(others))
    prompts = (
        *in_turn([in_style(style, "target", rung, going_round(half)) for rung in ("sentence", "variant")]),
        *in_turn([in_style(style, "implicit", rung, going_round(described)) for rung in ("short", "long")]),
        *plain("anchor", going_round(counts.anchors)),
        *in_turn(
            [in_style(other, "neighbour", "sentence", going_round(each, start(other))) for other in others]
        ),
        *retention,
    )
    return Experiment(concept, prompts)


def load(data_dir: Path | None, options: Mapping[str, str]) -> Suite:
    """One concept for each style; retention is animals, robots, faces and arrangements, all plain."""
    subjects = OBJECTS + tuple(family.category for family in FAMILIES[:2])
    members = in_turn([family.members for family in FAMILIES])
    unrelated = retention(
        members + IDENTITIES,
        counted=tuple(family.category for family in FAMILIES),
        placed=members,
        coloured=tuple(name for name in OBJECTS if name in COLOURABLE),
    )
    experiments = []
    for style, part in zip(STYLES, shares(unrelated, len(STYLES)), strict=True):
        others = tuple(other for other in STYLES if other != style)
        experiments.append(experiment(style, others, subjects, part))
    return microworld_suite(CARD, experiments)


CARD = SuiteCard(
    name="microworld-styles",
    version="2",
    title="Styles",
    description="A style that applies to any picture (mosaic); plain pictures replace it, other styles stay.",
    concepts=STYLES,
    model=MODEL,
    load=load,
)
