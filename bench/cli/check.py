"""`bench check`: tries a method out on validation concepts, quickly; measures nothing."""

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

from erasure_bench.bench.planning.chosen import plain_settings, row_name
from erasure_bench.bench.planning.config import OFFICIAL
from erasure_bench.bench.running.libraries import quiet_libraries
from erasure_bench.methods.base import MethodCard
from erasure_bench.methods.machinery.contract import Check, check_contract
from erasure_bench.methods.machinery.rehearsal import Rehearsal, Trial
from erasure_bench.methods.registry import build_method, method_card
from erasure_bench.models.diffusion_model import DiffusionModel
from erasure_bench.models.zoo import ModelSource, resolve_model
from erasure_bench.prompt_suites.concepts import Concept
from erasure_bench.prompt_suites.errors import UnknownName
from erasure_bench.prompt_suites.general import general_prompts
from erasure_bench.prompt_suites.microworld import validation
from erasure_bench.prompt_suites.suite import Suite

SHORT = {"steps": "3"}
"""Settings that make a method quick, for those that have them and where the user says nothing else."""


class Examination:
    """A method that is tried out and what became of it so far; `run` goes through the checks."""

    def __init__(self, name: str, rehearsal: Rehearsal) -> None:
        self.name, self.rehearsal = name, rehearsal
        self.checks: list[Check] = []

    @property
    def title(self) -> str:
        """What is tried out on what."""
        trial = self.rehearsal.trial
        options = ", ".join(f"{key}={value}" for key, value in trial.options.items())
        concepts = ", ".join(concept.name for concept in trial.concepts)
        return f"{self.name}{f' with {options}' if options else ''} on {trial.model.name}: {concepts}"

    @property
    def failed(self) -> tuple[Check, ...]:
        """The checks that failed."""
        return tuple(check for check in self.checks if check.verdict == "failed")

    @property
    def summary(self) -> str:
        """How many checks passed."""
        tried = [check for check in self.checks if check.verdict != "skipped"]
        skipped = len(self.checks) - len(tried)
        passed = len(tried) - len(self.failed)
        return f"{passed} of {len(tried)} checks passed" + (f", {skipped} skipped" if skipped else "")

    def run(self) -> Iterator[Check]:
        """The checks, each as soon as it is done."""
        for check in check_contract(self.rehearsal):
            self.checks.append(check)
            yield check

    def to_json(self) -> dict[str, Any]:
        """The examination in JSON's types."""
        trial = self.rehearsal.trial
        return {
            "method": self.name,
            "model": {"name": trial.model.name, "digest": trial.model.digest},
            "concepts": [concept.name for concept in trial.concepts],
            "preset": trial.preset,
            "settings": plain_settings(self.name, self.rehearsal.method),
            "passed": not self.failed,
            "checks": [check._asdict() for check in self.checks],
        }


def prepare_examination(
    method: str, model: str | None, options: Mapping[str, Mapping[str, str]]
) -> Examination:
    """`method`, a registered name or PATH.py:NAME, to be tried on `model`, else on the built-in one.

    `options` are as `bench.planning.config.named_options` gives them. Raises UnknownName and BenchError for
    what cannot be found, built or loaded.
    """
    name, card = row_name(method), method_card(method)
    if stray := options.keys() - {"", name}:
        raise UnknownName("name before the dot", min(stray), [name], "--method-option")
    chosen = {**_short(card), **options.get("", {}), **options.get(name, {})}
    suite = validation.load(None, {})
    concept = suite.concepts[0]
    source = resolve_model(model or suite.model)
    preset = source.preset or OFFICIAL
    plain_settings(name, build_method(method, preset, chosen))  # mistakes in them, before a model is loaded
    quiet_libraries()
    trial = Trial(
        method=method,
        model=DiffusionModel.from_directory(source.path, name=source.name, preset=source.preset),
        concepts=(concept, _beside(concept)),
        prompt=_target_prompt(suite, concept),
        preset=preset,
        options=chosen,
        general_prompts=_general_prompts(card, source),
        steps=suite.protocol.steps,
        guidance_scale=suite.protocol.guidance_scale,
    )
    return Examination(name, Rehearsal(trial))


def _short(card: MethodCard) -> dict[str, str]:
    settable = {field.name for field in dataclasses.fields(card.build) if field.init}
    return {key: value for key, value in SHORT.items() if key in settable}


def _general_prompts(card: MethodCard, source: ModelSource) -> tuple[str, ...]:
    return general_prompts(source.general_prompts) if card.general_prompts else ()


def _beside(concept: Concept) -> Concept:
    """The first neighbour as a concept: of the same kind, as methods with a recipe for each kind want it."""
    name, *others = concept.neighbours
    return dataclasses.replace(
        concept, name=name, targets=(name,), neighbours=(concept.name, *others), label=None
    )


def _target_prompt(suite: Suite, concept: Concept) -> str:
    """A sentence that asks for the concept."""
    return next(prompt.text for prompt in suite.prompts[concept.name] if prompt.role == "target")
