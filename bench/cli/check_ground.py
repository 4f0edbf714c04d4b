"""What `bench check` tries a method out on: a model of a family that it knows, and what that is asked for."""

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

from erasure_bench.errors import BenchError
from erasure_bench.methods.base import MethodCard
from erasure_bench.models.image_families import FAMILIES, Family
from erasure_bench.models.zoo import ModelSource, resolve_model
from erasure_bench.prompt_suites.classes import DIGITS_DDPM, DIGITS_VAE, EACH, FORGET, Classes
from erasure_bench.prompt_suites.concepts import Concept
from erasure_bench.prompt_suites.microworld import validation
from erasure_bench.prompt_suites.suite import Suite

_LOAD: Mapping[Family, Callable[[Path | None, Mapping[str, str]], Suite]] = {
    "text-to-image": validation.load,
    "class-ddpm": DIGITS_DDPM.load,
    "class-vae": DIGITS_VAE.load,
}
"""A suite for each family whose model comes with the project."""


class Ground(NamedTuple):
    """A model on this machine, a suite that can be asked of it, and what is erased.

    The first of `concepts` is erased, both together where the method can; `suite` has prompts of the first.
    """

    source: ModelSource
    suite: Suite
    concepts: tuple[Concept, Concept]

    @property
    def prompt(self) -> str:
        """A prompt that asks for the first concept."""
        prompts = self.suite.prompts[self.concepts[0].name]
        return next(prompt.text for prompt in prompts if prompt.role == "target")


def ground_for(card: MethodCard, name: str, model: str | None) -> Ground:
    """`model`, else the built-in one of the first family that the method called `name` knows.

    Raises BenchError for a model of a family that the method does not know, and what `resolve_model` raises.
    """
    own = _suite(next(family for family in FAMILIES if family in card.families))
    source = resolve_model(model or own.model)
    if source.family not in card.families:
        raise BenchError(
            f"{name} knows {', '.join(card.families)} models, {source.name} is a {source.family} one: try it "
            f"on another, such as {own.model} (--model)"
        )
    if source.classes:
        suite = _of_classes(source)
        return Ground(source, suite, (suite.concepts[0], suite.concepts[1]))
    suite = _suite(source.family)
    return Ground(source, suite, (suite.concepts[0], _beside(suite.concepts[0])))


def _suite(family: Family) -> Suite:
    return _LOAD[family](None, {FORGET: EACH} if family != "text-to-image" else {})


def _of_classes(source: ModelSource) -> Suite:
    """Every class of the model to be forgotten, one draw each, by the protocol of the digits."""
    classes = Classes(
        name=source.name,
        title=source.name,
        data="",
        classes=source.classes,
        model=source.name,
        protocol=_suite(source.family).protocol,
        forgotten=1,
        kept=1,
    )
    return classes.load(None, {FORGET: EACH})


def _beside(concept: Concept) -> Concept:
    """The first neighbour as a concept: of the same kind, as methods with a recipe for each kind want it."""
    name, *others = concept.neighbours
    return dataclasses.replace(
        concept, name=name, targets=(name,), neighbours=(concept.name, *others), label=None
    )
