"""Made-up boards whose true values are known, for `studies.coverage`: the committed grid of scenarios.

Every scenario gives `SIMULATIONS` tables of scores [simulations, concepts, prompts, seeds] with the true
value of each. Pictures succeed where a latent normal variable is above a threshold; its parts are the prompt
(shared by the concepts or not), the training seed (a quarter of its variance common to all concepts) and the
picture.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import product
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.special import ndtr
from scipy.stats import multivariate_normal, norm

Values = NDArray[np.float64]
Family = Literal["share", "probability", "change of share", "change of probability", "count"]

SIMULATIONS = 1000
OF_PROMPT = 0.3
"""Correlation of two pictures of one prompt."""
OF_SEED = {"none": 0.0, "as ESD": 0.09, "as loss-max": 0.21}
"""Correlation of two pictures of one training seed: with 12 prompts and 3 seeds it makes a standard error 1.3
and 1.6 times larger, as was measured for ESD and for loss-max."""
COMMON = 0.25
"""The part of a seed's effect that all concepts share."""
SHARES = (0.02, 0.1, 0.5, 0.75, 0.9, 0.95, 0.97, 0.99)
PROBABILITIES = (0.02, 0.1, 0.5, 0.9, 0.97, 0.99)
CHANGES = ((0.97, 0.97), (0.97, 0.95), (0.95, 0.85), (0.97, 0.02), (0.9, 0.5), (0.5, 0.45), (0.9, 0.97))
"""The base model's share and the method's."""
PROMPTS = {1: (12, 24, 48, 96), 4: (12, 24, 96), 10: (12, 48)}
"""How many there are of each concept, by how many concepts."""
LIKENESS = {"sharp": ((60.0, 1.0), (1.0, 30.0)), "soft": ((8.0, 2.0), (2.0, 6.0))}
"""Beta distributions of a classifier's probability where a picture succeeds and where it fails."""
COUNTS = ((0.05, 1.0), (0.2, 1.0), (0.2, 3.0), (0.5, 3.0))
"""The share of prompts with any detection, and how many more than one such a picture has in the mean."""


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """One cell of the grid. `level` is the method's own share, `base` the one it is compared with."""

    family: Family
    level: float
    concepts: int
    shared: bool
    seeds: int
    seed_effect: str
    prompts: int
    kind: str = ""
    base: float | None = None


class Simulated(NamedTuple):
    """Scores [simulations, concepts, prompts, seeds], the baseline's where there is one, and the truth."""

    scores: Values
    base: Values | None
    truth: Values


def _plain(places: Sequence[tuple[int, bool, int]], seeds: Sequence[tuple[int, str]]) -> list[Scenario]:
    """One for each place (concepts, shared, prompts) and seeds (how many, their effect), to be changed."""
    return [
        Scenario(
            family="share",
            level=0.5,
            concepts=concepts,
            shared=shared,
            seeds=count,
            seed_effect=effect,
            prompts=prompts,
        )
        for (concepts, shared, prompts), (count, effect) in product(places, seeds)
    ]


def scenarios() -> Iterator[Scenario]:
    """The whole grid."""
    seeds = ((1, "none"), *((3, effect) for effect in OF_SEED))
    places = [
        (concepts, shared, prompts)
        for concepts in PROMPTS
        for shared in (False, True)
        if concepts > 1 or not shared
        for prompts in PROMPTS[concepts]
    ]
    few = [place for place in places if place[2] in (12, 48, 96)]
    for level, at in product(SHARES, _plain(places, seeds)):
        yield replace(at, level=level)
    for kind, level, at in product(LIKENESS, PROBABILITIES, _plain(few, seeds)):
        yield replace(at, family="probability", level=level, kind=kind)
    families: tuple[tuple[Family, str], ...] = (
        ("change of share", ""),
        ("change of probability", "sharp"),
        ("change of probability", "soft"),
    )
    some_seeds = (seeds[0], seeds[2])
    for (family, kind), (base, level), at in product(families, CHANGES, _plain(few, some_seeds)):
        yield replace(at, family=family, level=level, base=base, kind=kind)
    for (level, more), prompts, concepts in product(COUNTS, (24, 96, 384), (1, 4)):
        if concepts == 1 or prompts == 24:
            yield Scenario(
                family="count",
                level=level,
                concepts=concepts,
                shared=False,
                seeds=1,
                seed_effect="none",
                prompts=prompts,
                kind=f"{more:g} more",
            )


def simulate(scenario: Scenario, random: np.random.Generator, simulations: int = SIMULATIONS) -> Simulated:
    """The scenario's tables."""
    if scenario.family == "count":
        return _counts(scenario, random, simulations)
    prompt = random.normal(
        size=(simulations, 1 if scenario.shared else scenario.concepts, scenario.prompts, 1)
    )
    made, truth = _successes(scenario, scenario.level, prompt, random)
    scores, own = _scores(scenario, made, truth, random)
    if scenario.base is None:
        return Simulated(scores, None, own)
    untrained = Scenario(**{**vars(scenario), "seed_effect": "none"})
    made, truth = _successes(untrained, scenario.base, prompt, random)
    base, other = _scores(scenario, made, truth, random)
    return Simulated(scores, base, own - other)


def _successes(
    scenario: Scenario, level: float, prompt: Values, random: np.random.Generator
) -> tuple[Values, Values]:
    """0 and 1, and the share of 1 that is to be found.

    With several seeds it is that of all seeds; with one it is the share given the weights that it trained.
    """
    simulations = len(prompt)
    of_prompt = latent(level, OF_PROMPT)
    of_seed = min(latent(0.5, OF_SEED[scenario.seed_effect]), 0.95 - of_prompt)
    common = random.normal(size=(simulations, 1, 1, scenario.seeds))
    apart = random.normal(size=(simulations, scenario.concepts, 1, scenario.seeds))
    seed = np.sqrt(COMMON) * common + np.sqrt(1 - COMMON) * apart
    threshold = norm.ppf(level)
    mean = threshold + np.sqrt(of_prompt) * prompt + np.sqrt(of_seed) * seed
    chance = ndtr(mean / np.sqrt(1 - of_prompt - of_seed))
    made = random.random(chance.shape) < chance
    if scenario.seeds > 1:
        return made.astype(np.float64), np.full(simulations, level)
    given = ndtr((threshold + np.sqrt(of_seed) * seed) / np.sqrt(1 - of_seed))
    return made.astype(np.float64), given.mean(axis=(1, 2, 3))


def _scores(
    scenario: Scenario, made: Values, truth: Values, random: np.random.Generator
) -> tuple[Values, Values]:
    """The successes themselves, or a classifier's probabilities."""
    if not scenario.kind:
        return made, truth
    success, failure = LIKENESS[scenario.kind]
    drawn = np.where(made > 0, random.beta(*success, size=made.shape), random.beta(*failure, size=made.shape))
    means = [one / (one + other) for one, other in (success, failure)]
    return drawn, truth * means[0] + (1 - truth) * means[1]


def _counts(scenario: Scenario, random: np.random.Generator, simulations: int) -> Simulated:
    """Most prompts have none; a prompt that has some has about as many in each picture."""
    more = float(scenario.kind.split()[0])
    shape = (simulations, scenario.concepts, scenario.prompts, 1)
    some = random.random(shape) < scenario.level
    heavy = random.gamma(1.0, more, size=shape)
    counts = some * (1 + random.poisson(heavy, size=shape))
    truth = scenario.level * (1 + more) * scenario.prompts
    return Simulated(counts.astype(np.float64), None, np.full(simulations, truth))


@cache
def latent(level: float, correlation: float) -> float:
    """The correlation of two normal variables of which the share `level` above a threshold correlates so."""
    if correlation == 0:
        return 0.0
    threshold = norm.ppf(level)

    def excess(of_normal: float) -> float:
        both = multivariate_normal.cdf([threshold] * 2, cov=[[1.0, of_normal], [of_normal, 1.0]])
        return float(both - level**2 - correlation * level * (1 - level))

    return float(brentq(excess, 0.0, 0.9999))
