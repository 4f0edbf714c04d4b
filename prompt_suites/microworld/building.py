"""What the built-in model's suites have in common: protocol, numbers of prompts, how a suite is put together.

How many prompts: for the order of methods to come out alike twice (Kendall's τ-b of 0.9 between independent
repetitions with three seeds) most columns need 24 target prompts for each concept, 24 to 64 neighbour
prompts, 48 to 64 implicit ones and 48 to 96 unrelated ones (`results/statistics/prompts_needed.md`). All
methods on all suites should take two cores about ten hours, half of which retention alone would take if
every concept had all 96. So a suite has one set of 96, of which each concept draws a share
(`retention.shares`), two or three concepts the same one: a suite's number on retention rests on 96 prompts,
a concept's own on 24 to 48, and the base model draws each prompt once. Neighbours have the least that they
need, and descriptions, a rung of their own beside the names, fewer than they need in one concept: 48 to 120
stand behind a suite's number.

What that costs: 100 to 124 pictures for a cell (210 for fire), 4,088 for a method and a seed, 205,536 for 17
methods and 3 seeds, whose edits are 1,585. That is 7 hours at 8 pictures a second, 8 with the third
prediction that Safe Latent Diffusion asks for at every step, and 3 of training on two cores. Twice as many
prompts would narrow intervals by a third and take 19 hours.
"""

from collections.abc import Sequence
from typing import NamedTuple

from erasure_bench.prompt_suites.card import SuiteCard
from erasure_bench.prompt_suites.concepts import Concept
from erasure_bench.prompt_suites.suite import Prompt, Protocol, Suite

MODEL = "microworld"
PROTOCOL = Protocol(scheduler="ddim", steps=20, guidance_scale=4.0)


class Counts(NamedTuple):
    """How many prompts a concept has in each role; `descriptions` and `evoked` are implicit ones.

    Where a role's prompts are on several names, each name has as many, and the role may have a few more.
    """

    targets: int
    descriptions: int
    evoked: int
    anchors: int
    neighbours: int


REPORTED = Counts(targets=24, descriptions=12, evoked=48, anchors=16, neighbours=24)
RETENTION = 96
"""Of a suite, shared out among its concepts."""


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
