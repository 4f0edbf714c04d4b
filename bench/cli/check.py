"""`bench check`: tries a method or an evaluator out, quickly; measures nothing."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path

import torch

from erasure_bench.bench.cli.check_ground import ground_for
from erasure_bench.bench.cli.check_pictures import NAME as PICTURES
from erasure_bench.bench.cli.check_pictures import PictureCheck
from erasure_bench.bench.cli.examination import Examination, said_options
from erasure_bench.bench.planning.chosen import plain_settings, row_name
from erasure_bench.bench.planning.config import OFFICIAL
from erasure_bench.bench.planning.prepare import CLASS_ROUNDS
from erasure_bench.bench.running.libraries import quiet_libraries
from erasure_bench.errors import BenchError, UnknownName
from erasure_bench.evaluators.instances import instance
from erasure_bench.evaluators.registry import evaluator_names
from erasure_bench.foreign.files import in_file, kind_in_file
from erasure_bench.foreign.wanted import EVALUATOR, METHOD, Wanted
from erasure_bench.methods.base import MethodCard
from erasure_bench.methods.machinery.contract import check_contract
from erasure_bench.methods.machinery.rehearsal import Rehearsal, Trial, Watch, unwatched
from erasure_bench.methods.registry import build_method, method_card, method_names
from erasure_bench.models.conditional.origin import training_data
from erasure_bench.models.datasets.base import LabelledParts
from erasure_bench.models.layouts import layout_of
from erasure_bench.models.zoo import ModelSource
from erasure_bench.prompt_suites.concepts import Concept
from erasure_bench.prompt_suites.general import general_prompts
from erasure_bench.prompt_suites.suite import Prompt, Suite

MOST_ASKED, OTHERS = 12, 20
"""How many pictures of the concept are drawn with the edit, how many others the base model draws."""
SHORT = {"steps": "3"}
"""Settings that make a method quick, for those that have them and where the user says nothing else."""


def prepare_examination(
    name: str,
    model: str | None,
    method_options: Mapping[str, Mapping[str, str]],
    evaluator_options: Mapping[str, Mapping[str, str]],
    data_dir: Path | None = None,
    watch: Watch = unwatched,
) -> Examination:
    """`name`, of a method or an evaluator, registered or PATH.py:NAME, to be tried out.

    The options are as `bench.planning.config.named_options` gives them; `data_dir` has upstream's prompts of
    all kinds, and the pictures that a class-conditional model was trained on; `watch` is told how many of
    how many of what (steps, pictures) a method has done. Raises UnknownName and BenchError for what cannot be
    found, built or loaded.
    """
    if _kind_of(name) is METHOD:
        _no_options(name, METHOD, "--evaluator-option", evaluator_options)
        return examine_method(name, model, method_options, data_dir, watch)
    from erasure_bench.bench.cli.check_evaluators import examine_evaluator

    _no_options(name, EVALUATOR, "--method-option", method_options)
    if data_dir is not None:
        raise BenchError(f"--data-dir: {name} is an evaluator, which is shown made-up pictures")
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


def examine_method(
    method: str,
    model: str | None,
    options: Mapping[str, Mapping[str, str]],
    data_dir: Path | None = None,
    watch: Watch = unwatched,
) -> Examination:
    """`method`, a registered name or PATH.py:NAME, to be tried on `model`, else on one that it knows.

    `options` are as `bench.planning.config.named_options` gives them. Raises UnknownName and BenchError for
    what cannot be found, built or loaded.
    """
    name, card = row_name(method), method_card(method)
    if stray := options.keys() - {"", name}:
        raise UnknownName("name before the dot", min(stray), [name], "--method-option")
    chosen = {**_short(card), **options.get("", {}), **options.get(name, {})}
    ground = ground_for(card, name, model)
    source, suite = ground.source, ground.suite
    preset = source.preset or OFFICIAL
    plain_settings(name, build_method(method, preset, chosen))  # mistakes in them, before a model is loaded
    pictures = _training_pictures(card, source, data_dir)
    quiet_libraries()
    trial = Trial(
        method=method,
        model=layout_of(source.path).load(
            source.path, name=source.name, device="cpu", dtype=torch.float32, preset=source.preset
        ),
        concepts=ground.concepts,
        prompt=ground.prompt,
        preset=preset,
        options=chosen,
        general_prompts=_general_prompts(card, source, data_dir),
        training_data=None if pictures is None else lambda: pictures,
        steps=suite.protocol.steps,
        guidance_scale=suite.protocol.guidance_scale,
        watch=watch,
    )
    rehearsal = Rehearsal(trial)
    concepts = ", ".join(concept.name for concept in trial.concepts)
    return Examination(
        f"{said_options(name, chosen)} on {trial.model.name}: {concepts}",
        check_contract(rehearsal, {PICTURES: PictureCheck(suite, _some_prompts(suite, trial.concepts[0]))}),
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


def _general_prompts(card: MethodCard, source: ModelSource, data_dir: Path | None) -> tuple[str, ...]:
    if not card.general_prompts:
        return ()
    return source.classes * CLASS_ROUNDS or general_prompts(source.general_prompts, data_dir)


def _training_pictures(card: MethodCard, source: ModelSource, data_dir: Path | None) -> LabelledParts | None:
    """What the model was trained on, where the method asks for it. Raises BenchError where it is not here."""
    return training_data(source.path, data_dir) if card.training_data else None


def _some_prompts(suite: Suite, concept: Concept) -> tuple[Prompt, ...]:
    """As many of the concept's prompts as its pictures need to be compared: all of the target, others."""
    asked = [prompt for prompt in suite.prompts[concept.name] if prompt.role == "target"][:MOST_ASKED]
    others = [prompt for prompt in suite.prompts[concept.name] if prompt.role != "target"]
    return (*asked, *others[:: max(1, len(others) // OTHERS)][:OTHERS])
