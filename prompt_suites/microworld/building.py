"""What the built-in model's suites have in common: protocol, counts, and how a suite is put together."""

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

from erasure_bench.prompt_suites.card import SuiteCard
from erasure_bench.prompt_suites.concepts import Concept
from erasure_bench.prompt_suites.suite import Prompt, Protocol, Suite

MODEL = "microworld"
PROTOCOL = Protocol(scheduler="ddim", steps=20, guidance_scale=4.0)

TARGETS = 12
ANCHORS = 10


class Experiment(NamedTuple):
    """One concept and the prompts that show what became of it."""

    concept: Concept
    prompts: tuple[Prompt, ...]


def microworld_suite(card: SuiteCard, experiments: Sequence[Experiment]) -> Suite:
    """The suite that `card` presents, measured by the oracle and by CLIP."""
    return Suite(
        name=card.name,
        version=card.version,
        title=card.title,
        description=card.description,
        concepts=tuple(map(_with_anchor_label, experiments)),
        prompts={experiment.concept.name: experiment.prompts for experiment in experiments},
        protocol=PROTOCOL,
        evaluators=("classifier", "clip"),
        model=MODEL,
        source=card.source,
    )


def _with_anchor_label(experiment: Experiment) -> Concept:
    """The concept with the label that all of its anchor prompts ask for, where it names none itself."""
    labels = {prompt.label for prompt in experiment.prompts if prompt.role == "anchor"}
    if experiment.concept.anchor_label or len(labels) != 1:
        return experiment.concept
    return replace(experiment.concept, anchor_label=labels.pop())
