"""What the built-in model's suites have in common: protocol, counts, and how a suite is put together."""

from collections.abc import Sequence
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
    """The suite that `card` presents, measured by the oracle, CLIP and the base model's pictures."""
    return Suite(
        name=card.name,
        version=card.version,
        title=card.title,
        description=card.description,
        concepts=tuple(experiment.concept for experiment in experiments),
        prompts={experiment.concept.name: experiment.prompts for experiment in experiments},
        protocol=PROTOCOL,
        evaluators=("classifier", "clip", "distance", "coherence", "diversity"),
        model=MODEL,
        source=card.source,
    )
