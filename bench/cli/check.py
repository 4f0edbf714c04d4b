"""`bench check`: tries a method or an evaluator out, quickly; measures nothing."""

import dataclasses
from collections.abc import Mapping

from erasure_bench.bench.cli.check_pictures import NAME as PICTURES
from erasure_bench.bench.cli.check_pictures import PictureCheck
from erasure_bench.bench.cli.examination import Examination, said_options
from erasure_bench.bench.planning.chosen import plain_settings, row_name
from erasure_bench.bench.planning.config import OFFICIAL
from erasure_bench.bench.running.libraries import quiet_libraries
from erasure_bench.errors import BenchError, UnknownName
from erasure_bench.evaluators.instances import instance
from erasure_bench.evaluators.registry import evaluator_names
from erasure_bench.foreign.files import in_file, kind_in_file
from erasure_bench.foreign.wanted import EVALUATOR, METHOD, Wanted
from erasure_bench.methods.base import MethodCard
from erasure_bench.methods.machinery.contract import check_contract
from erasure_bench.methods.machinery.rehearsal import Rehearsal, Trial
from erasure_bench.methods.registry import build_method, method_card, method_names
from erasure_bench.models.diffusion_model import DiffusionModel
from erasure_bench.models.image_families import Family
from erasure_bench.models.zoo import ModelSource, resolve_model
from erasure_bench.prompt_suites.concepts import Concept
from erasure_bench.prompt_suites.general import general_prompts
from erasure_bench.prompt_suites.microworld import validation
from erasure_bench.prompt_suites.suite import Prompt, Suite

MOST_ASKED, OTHERS = 12, 20
"""How many pictures of the concept are drawn with the edit, how many others the base model draws."""
TRIED_ON: Family = "text-to-image"
SHORT = {"steps": "3"}
"""Settings that make a method quick, for those that have them and where the user says nothing else."""


def prepare_examination(
    name: str,
    model: str | None,
    method_options: Mapping[str, Mapping[str, str]],
    evaluator_options: Mapping[str, Mapping[str, str]],
) -> Examination:
    """`name`, of a method or an evaluator, registered or PATH.py:NAME, to be tried out.

    The options are as `bench.planning.config.named_options` gives them. Raises UnknownName and BenchError
    for what cannot be found, built or loaded.
    """
    if _kind_of(name) is METHOD:
        _no_options(name, METHOD, "--evaluator-option", evaluator_options)
        return examine_method(name, model, method_options)
    from erasure_bench.bench.cli.check_evaluators import examine_evaluator

    _no_options(name, EVALUATOR, "--method-option", method_options)
    return examine_evaluator(name, model, evaluator_options)


def _kind_of(name: str) -> Wanted:
    name = instance(name).name
    if in_file(name):
        return kind_in_file(name)
    methods, evaluators = method_names(), evaluator_names()
    if name not in methods and name not in evaluators:
        raise UnknownName("method or evaluator", name, {*methods, *evaluators})
    return METHOD if name in methods else EVALUATOR


def _no_options(name: str, kind: Wanted, flag: str, options: Mapping[str, Mapping[str, str]]) -> None:
    if options:
        raise BenchError(f"{flag}: {name} is a{'n' if kind is EVALUATOR else ''} {kind.noun}")


def examine_method(method: str, model: str | None, options: Mapping[str, Mapping[str, str]]) -> Examination:
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
    if source.family != TRIED_ON or TRIED_ON not in card.families:
        raise BenchError(
            f"bench check tries methods out on {TRIED_ON} models alone: {name} knows "
            f"{', '.join(card.families)} ones, {source.name} is a {source.family} one (--model)"
        )
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
    rehearsal = Rehearsal(trial)
    concepts = ", ".join(concept.name for concept in trial.concepts)
    return Examination(
        f"{said_options(name, chosen)} on {trial.model.name}: {concepts}",
        check_contract(rehearsal, {PICTURES: PictureCheck(suite, _some_prompts(suite, concept))}),
        {
            "method": name,
            "model": {"name": trial.model.name, "digest": trial.model.digest},
            "concepts": [concept.name for concept in trial.concepts],
            "preset": preset,
            "settings": plain_settings(name, rehearsal.method),
        },
    )


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


def _some_prompts(suite: Suite, concept: Concept) -> tuple[Prompt, ...]:
    """As many of the concept's prompts as its pictures need to be compared: all of the target, others."""
    asked = [prompt for prompt in suite.prompts[concept.name] if prompt.role == "target"][:MOST_ASKED]
    others = [prompt for prompt in suite.prompts[concept.name] if prompt.role != "target"]
    return (*asked, *others[:: max(1, len(others) // OTHERS)][:OTHERS])


def _target_prompt(suite: Suite, concept: Concept) -> str:
    """A sentence that asks for the concept."""
    return next(prompt.text for prompt in suite.prompts[concept.name] if prompt.role == "target")
