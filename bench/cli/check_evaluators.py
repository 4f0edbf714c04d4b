"""`bench check` of an evaluator: shows it a few harmless pictures; measures nothing."""

from collections.abc import Iterable, Mapping

from erasure_bench.bench.cli.examination import Examination, said_options
from erasure_bench.bench.planning.chosen import evaluator_name, missing_packages, plain_settings
from erasure_bench.bench.planning.config import OFFICIAL
from erasure_bench.bench.running.libraries import quiet_libraries
from erasure_bench.errors import BenchError, UnknownName
from erasure_bench.evaluators.contract import Rehearsal, Trial, check_contract
from erasure_bench.evaluators.instances import check_label
from erasure_bench.evaluators.registry import evaluator_card
from erasure_bench.evaluators.score_frames import MISSING
from erasure_bench.evaluators.set_contract import SetRehearsal, check_set_contract
from erasure_bench.evaluators.sets import is_set_evaluator
from erasure_bench.models.zoo import resolve_model
from erasure_bench.prompt_suites.microworld import validation

PICTURES = 6


def examine_evaluator(
    evaluator: str, model: str | None, options: Mapping[str, Mapping[str, str]]
) -> Examination:
    """`evaluator`, a registered name or PATH.py:NAME, with the preset of `model`, else of the built-in one.

    Raises UnknownName and BenchError for what cannot be found or built.
    """
    name = evaluator_name(evaluator)
    if stray := options.keys() - {"", name}:
        raise UnknownName("name before the dot", min(stray), [name], "--evaluator-option")
    if missing := missing_packages(evaluator):
        raise BenchError(f"evaluator {name!r} needs {', '.join(missing)}, which is not installed")
    check_label(evaluator, evaluator_card(evaluator).presets, options.get(name, {}))
    chosen = {**options.get("", {}), **options.get(name, {})}
    suite = validation.load(None, {})
    preset = resolve_model(model or suite.model).preset
    quiet_libraries()
    rehearsal = _rehearsal(
        Trial(
            evaluator=evaluator,
            concept=concept,
            prompts=suite.prompts[concept.name][:PICTURES],
            preset=preset,
            options=chosen,
        )
        for concept in suite.concepts
    )
    concept = rehearsal.trial.concept
    checks = check_contract(rehearsal)
    if is_set_evaluator(rehearsal.evaluator):
        checks = check_set_contract(SetRehearsal(rehearsal.trial))
    return Examination(
        f"{said_options(name, chosen)} on {PICTURES} made-up pictures, asked for {concept.name}",
        checks,
        {
            "evaluator": name,
            "concepts": [concept.name],
            "preset": preset or OFFICIAL,
            "settings": plain_settings(name, rehearsal.evaluator),
        },
    )


def _rehearsal(trials: Iterable[Trial]) -> Rehearsal:
    """Of the first trial of whose pictures some can be measured: not every evaluator measures every concept.

    Of the first one of all where none can be, or where that goes wrong: the checks say so.
    """
    rehearsals = map(Rehearsal, trials)
    first = rehearsal = next(rehearsals)
    try:
        while (rehearsal.first.values["status"] == MISSING).all():
            rehearsal = next(rehearsals)
    except (Exception, SystemExit):  # it has run out of them, or is someone else's and fails
        return first
    return rehearsal
