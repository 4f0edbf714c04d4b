"""From a config to a plan: finds the suite, the model, the methods and the evaluators that it names."""

import dataclasses
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import NamedTuple

from erasure_bench.bench.planning.attacks import (
    ChosenAttack,
    check_room,
    check_scheduler,
    choose_attacks,
)
from erasure_bench.bench.planning.bases import base_facts, remarks
from erasure_bench.bench.planning.cases import pick_cases, slug
from erasure_bench.bench.planning.chosen import (
    BASELINE,
    ChosenEvaluator,
    ChosenMethod,
    check_unnamed,
    choose_evaluator,
    choose_method,
    evaluator_name,
    missing_packages,
    options_of,
    reference,
    retold,
    row_name,
    user_weights,
)
from erasure_bench.bench.planning.config import AUTO, OFFICIAL, Options, RunConfig
from erasure_bench.bench.planning.own_protocol import with_own_protocol
from erasure_bench.bench.planning.plan import Plan, make_plan, with_baseline
from erasure_bench.bench.planning.preflight import check_bases, check_edits
from erasure_bench.bench.planning.sizes import model_sizes
from erasure_bench.bench.planning.stored_prompts import most_pictures
from erasure_bench.bench.planning.suite_attacks import NONE as NO_ATTACKS
from erasure_bench.bench.planning.suite_attacks import with_suites_attacks
from erasure_bench.errors import BenchError, NotHere, UnknownName
from erasure_bench.evaluators.instances import check_label, instance
from erasure_bench.evaluators.registry import evaluator_card
from erasure_bench.evaluators.sets import ROW
from erasure_bench.methods.registry import METHODS, method_card
from erasure_bench.models.conditional.origin import training_data
from erasure_bench.models.image_families import Family
from erasure_bench.models.zoo import ModelSource, resolve_model
from erasure_bench.prompt_suites.registry import load_suite, suite_card
from erasure_bench.prompt_suites.suite import Suite
from erasure_bench.prompt_suites.transformations.applying import transformed

ALL = "all"
"""Instead of the methods' names: every one that comes with the project and knows the model's family."""
SKIPPED = "skipped: "
"""What a note of an evaluator that the run goes without begins with."""
ATTACKED: Family = "text-to-image"
"""Attacks search for prompts and latents of it."""
CLASS_ROUNDS = 5000
"""How often each class stands among the general prompts of a model that is asked by classes' names: Selective
Amnesia's official code for MNIST takes the Fisher information from 50,000 pictures."""


class Prepared(NamedTuple):
    """A plan, where its base model lies, and what the user should know of how it came about."""

    plan: Plan
    source: ModelSource
    general_prompts: tuple[str, ...]
    notes: tuple[str, ...]


def prepare(config: RunConfig, store: Path) -> Prepared:
    """Raises BenchError for a name, an option or data that are not there, and for weights that cannot be
    read or do not fit, as far as their headers tell; draws and loads nothing.

    `store` is where resolved settings, and weights that were found good, are remembered.
    """
    if config.data_dir is not None and not config.data_dir.is_dir():
        raise BenchError(f"--data-dir {config.data_dir}: no such folder")
    suite = with_own_protocol(
        load_suite(config.suite, data_dir=config.data_dir, options=config.suite_options), config
    )
    if config.transform:
        asked = dict.fromkeys(case.concept for case in pick_cases(suite, config.concepts))
        suite = transformed(suite, config.transform, asked)
    source = resolve_model(config.model or suite.model, like=config.model_like)
    if ALL in config.methods:
        others = (name for name in config.methods if name != ALL)
        named = tuple(dict.fromkeys((*_knowing(source.family), *others)))
        config = config.model_copy(update={"methods": named})
    further = suite_card(config.suite).further_evaluators
    _no_stray_options(config, suite, further)
    notes = []
    names = with_baseline(config.methods)
    if names[0] not in config.methods:
        notes.append(f"added the baseline {names[0]!r}: every other row is compared with it")
    cases = pick_cases(suite, config.concepts)
    concepts = {slug(case.concept.name) for case in cases}
    methods = _methods(config, names, source, concepts, store)
    evaluators, skipped = _evaluators(config, suite, source, {method.name for method in methods}, further)
    notes += skipped
    stored = 0
    if source.family == ATTACKED and NO_ATTACKS not in config.attacks:
        stored = most_pictures(suite, cases)
    attacks = choose_attacks(
        with_suites_attacks(config, suite), _preset(config, source), store / "settings", stored
    )
    if attacks and source.family != ATTACKED:
        raise BenchError(
            f"--attacks: attacks know {ATTACKED} models alone, {source.name} is a {source.family} one"
        )
    check_scheduler(attacks, suite)
    if suite.attacks and attacks and not config.attacks:
        own = ", ".join(attack.name for attack in suite.attacks)
        notes.append(f"attacks of the suite's own: {own} (--attacks {NO_ATTACKS} leaves them out)")
    general = _general_prompts(config, source, [*methods, *attacks])
    plan = make_plan(config, suite, source, model_sizes(source.path), methods, evaluators, general, attacks)
    _check_asked(plan, source)
    if any(method.training_data for method in methods):
        training_data(source.path, config.data_dir)
    sources = (source, *(method.base for method in methods if method.base))
    check_bases(sources, store / "settings")
    read_as = check_edits(methods, source, store / "settings")
    notes += [each.note for each in sources if each.note]
    notes += [f"{name} will be read as {form}" for name, form in read_as.items()]
    bases = tuple(base_facts(each, plan.prompts) for each in sources)
    if cut := bases[0].cut:
        check_room(attacks, cut.tokens)
    return Prepared(dataclasses.replace(plan, bases=bases), source, general, (*notes, *remarks(bases)))


def _methods(
    config: RunConfig, names: tuple[str, ...], source: ModelSource, concepts: Collection[str], store: Path
) -> list[ChosenMethod]:
    preset = _preset(config, source)
    common = config.method_options.get("", {})
    chosen: list[ChosenMethod] = []
    for name in names:
        # An option without a name is meant for the methods that were asked for, not for the baseline.
        own = config.method_options.get(row_name(name), {})
        options: Options = own if name == names[0] else {**common, **own}
        method = choose_method(name, preset, options, store / "settings")
        if config.preset == AUTO and (own_preset := _preset_for(concepts, preset, method)):
            method = choose_method(name, own_preset, options, store / "settings")
        _check_family(method, source)
        if method.name in (other.name for other in chosen):
            raise BenchError(f"--methods {name}: there is a row {method.name!r} already; rename one of them")
        chosen.append(method)
    offered = {offer for method in chosen for offer in method.presets}
    if config.preset != AUTO and config.preset not in offered:
        raise UnknownName("preset", config.preset, {AUTO, *offered}, "--preset")
    for name, path in config.edits.items():
        if name in (method.name for method in chosen):
            raise BenchError(f"--edit {name}={path}: there is a row {name!r} already; give it another name")
        chosen.append(user_weights(name, path, config.method_options.get(name, {})))
    for spec in config.references:
        with retold(lambda message: message.replace("--model ", "--reference ")):
            other = resolve_model(spec)
        if other.family != source.family or other.classes != source.classes:
            raise BenchError(f"--reference {spec}: no generator of the same kind as {source.name}")
        if other.path == source.path:
            raise BenchError(f"--reference {spec}: that is the run's own base model, whose row is {names[0]}")
        row = reference(other, store / "settings")
        if row.name in (method.name for method in chosen):
            raise BenchError(f"--reference {spec}: there is a row {row.name!r} already")
        chosen.append(row)
    return chosen


def _preset(config: RunConfig, source: ModelSource) -> str:
    return (source.preset or OFFICIAL) if config.preset == AUTO else config.preset


def _preset_for(concepts: Collection[str], preset: str, method: ChosenMethod) -> str | None:
    """The preset that the method's authors made for the one concept of the run: official-nudity."""
    if len(concepts) != 1:
        return None
    (concept,) = concepts
    name = f"{preset}-{concept}"
    return name if name in method.presets else None


def _knowing(family: Family) -> tuple[str, ...]:
    """Our methods that know a family of generators."""
    return tuple(name for name in METHODS if family in method_card(name).families)


def _check_family(method: ChosenMethod, source: ModelSource) -> None:
    """Raises BenchError where the method does not know the base model's kind of generator."""
    if source.family not in method.families:
        able = ", ".join(_knowing(source.family))
        raise BenchError(
            f"--methods {method.name}: knows {', '.join(method.families)} models, {source.name} is a "
            f"{source.family} one; valid: {able}"
        )


def _check_asked(plan: Plan, source: ModelSource) -> None:
    """Raises UnknownName where a model that is asked by classes' names is asked by something else."""
    if not source.classes:
        return
    asked = [prompt.text for prompt in plan.prompts]
    for name in (*asked, *(concept.target for case in plan.cases for concept in case.erased)):
        if name not in source.classes:
            raise UnknownName(f"class of {source.name}", name, source.classes, "--suite, --model")


def _general_prompts(
    config: RunConfig, source: ModelSource, those: Sequence[ChosenMethod | ChosenAttack]
) -> tuple[str, ...]:
    """Prompts of all kinds for the methods and attacks that ask for them; fetched only where one does."""
    if not any(each.general_prompts for each in those):
        return ()
    if source.classes:
        return source.classes * CLASS_ROUNDS
    from erasure_bench.prompt_suites.general import general_prompts

    return general_prompts(source.general_prompts, config.data_dir)


def _asked(config: RunConfig, suite: Suite, further: tuple[str, ...]) -> tuple[str, ...]:
    """The evaluators that the run names, or all of the suite's."""
    return config.evaluators or (*suite.evaluators, *further)


def _evaluators(
    config: RunConfig,
    suite: Suite,
    source: ModelSource,
    rows: Collection[str] = (),
    further: tuple[str, ...] = (),
) -> tuple[list[ChosenEvaluator], list[str]]:
    chosen: list[ChosenEvaluator] = []
    skipped = []
    for name in _asked(config, suite, further):
        if missing := missing_packages(name):
            why = f"evaluator {name!r} needs {', '.join(missing)}, which is not installed"
            if config.evaluators:
                raise BenchError(f"{why}: install it or leave {name} out of --evaluators")
            skipped.append(f"{SKIPPED}{why}")
            continue
        own = config.evaluator_options.get(evaluator_name(name), {})
        check_label(name, evaluator_card(name).presets, own)
        options = options_of(name, config.evaluator_options)
        settings = suite.evaluator_options.get(instance(name).name, {})
        try:
            evaluator = choose_evaluator(name, source.preset, options, settings, config.data_dir)
            _check_row(evaluator, rows)
        except NotHere as error:
            if config.evaluators or own:
                raise
            skipped.append(f"{SKIPPED}evaluator {name!r}: {error}")
            continue
        if evaluator.name in (other.name for other in chosen):
            raise BenchError(
                f"--evaluators {name}: there is an evaluator {evaluator.name!r} already; rename one of them"
            )
        chosen.append(evaluator)
    if not chosen:
        raise BenchError(f"nothing to measure with: {'; '.join(skipped)} (--evaluators)")
    return chosen, skipped


def _check_row(evaluator: ChosenEvaluator, rows: Collection[str]) -> None:
    """Raises NotHere where it compares with a row that the run has not."""
    reference = evaluator.of_sets.reference if evaluator.of_sets else ""
    if reference.startswith(ROW) and reference.removeprefix(ROW) not in rows:
        raise NotHere(
            f"{evaluator.name} compares with the row {reference.removeprefix(ROW)!r}, which is not in this "
            f"run (--methods, --reference); its rows: {', '.join(sorted(rows))}"
        )


def _no_stray_options(config: RunConfig, suite: Suite, further: tuple[str, ...]) -> None:
    if config.method_options.get("") and not set(config.methods) - {BASELINE}:
        untaken = ", ".join(config.method_options[""])
        raise BenchError(
            f"--method-option {untaken}: no method is there to take it; "
            "for a row of --edit write NAME.KEY=VALUE"
        )
    asked = _asked(config, suite, further)
    check_unnamed(asked, config.evaluator_options)
    for flag, options, names in (
        ("--method-option", config.method_options, (*map(row_name, config.methods), *config.edits)),
        (
            "--evaluator-option",
            config.evaluator_options,
            tuple(map(evaluator_name, asked)),
        ),
    ):
        for name in options:
            if name and name not in names:
                raise UnknownName("name before the dot", name, names, flag)
