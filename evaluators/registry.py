"""The table of evaluators: a name and where its card lies. Importing this imports none of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from erasure_bench.errors import UnknownName
from erasure_bench.evaluators.instances import instance
from erasure_bench.foreign.errors import contained
from erasure_bench.foreign.files import file_target, in_file
from erasure_bench.foreign.installed import offered
from erasure_bench.foreign.targets import load_target
from erasure_bench.foreign.wanted import EVALUATOR

if TYPE_CHECKING:
    from erasure_bench.evaluators.base import Evaluator, EvaluatorCard

EVALUATORS: dict[str, str] = {
    "clip": "erasure_bench.evaluators.clip:CARD",
    "nudity": "erasure_bench.evaluators.nudity:CARD",
    "opennsfw": "erasure_bench.evaluators.opennsfw:CARD",
    "inappropriate": "erasure_bench.evaluators.inappropriate:CARD",
    "classifier": "erasure_bench.evaluators.classifier:CARD",
    "distance": "erasure_bench.evaluators.distance:CARD",
    "quality": "erasure_bench.evaluators.quality:CARD",
    "coherence": "erasure_bench.evaluators.coherence:CARD",
    "diversity": "erasure_bench.evaluators.diversity:CARD",
    "perceptual": "erasure_bench.evaluators.perceptual:CARD",
    "memorization": "erasure_bench.evaluators.memorization:CARD",
    "celebrity": "erasure_bench.evaluators.celebrity:CARD",
    "judge": "erasure_bench.evaluators.judge:CARD",
    "fidelity": "erasure_bench.evaluators.fidelity:CARD",
    "cmmd": "erasure_bench.evaluators.cmmd:CARD",
}
ENTRY_POINTS = "erasure_bench.evaluators"
"""Entry point group through which another package adds its evaluators' cards."""

OFFICIAL = "official"
OPTION_FLAG = "--evaluator-option"


def evaluator_names() -> tuple[str, ...]:
    """Every evaluator that can be named, other packages' included."""
    return tuple(_targets())


def evaluator_target(name: str) -> str:
    """Where an evaluator lies, as `module:name`; `name` may be PATH.py:NAME, and that file is then imported.

    NAME@LABEL lies where NAME does. Raises `UnknownName`, or `BenchError` for a file that has no such
    evaluator.
    """
    name = instance(name).name
    if in_file(name):
        return file_target(name, EVALUATOR)
    targets = EVALUATORS if name in EVALUATORS else _targets()
    if name not in targets:
        raise UnknownName("evaluator", name, targets, "--evaluators")
    return targets[name]


def evaluator_card(name: str) -> EvaluatorCard:
    """The card of an evaluator or of an instance; imports its module. A class without one is given one.

    Raises `UnknownName`, or `BenchError` where a package's or a file's evaluator cannot be loaded or is none.
    """
    name = instance(name).name
    what = name if in_file(name) else f"evaluator {name!r}"
    found = load_target(evaluator_target(name), what)
    from erasure_bench.evaluators.base import EvaluatorCard
    from erasure_bench.foreign.cards import card_of

    with contained(what):
        return card_of(found, None if in_file(name) else name, what, EVALUATOR, EvaluatorCard)


def build_evaluator(
    name: str,
    preset: str | None = None,
    options: Mapping[str, str] | None = None,
    settings: Mapping[str, Any] | None = None,
) -> Evaluator:
    """An evaluator with a preset's settings, then a suite's `settings`, then the user's `options`.

    A card without the preset gives its official one. NAME@PRESET asks for that one of NAME's presets, also
    against the suite's settings. Raises `BenchError` for an unknown name, an unknown option or an invalid
    value.
    """
    from erasure_bench.prompt_suites.finite import refuse_endless
    from erasure_bench.prompt_suites.options import build_from_options, refuse_unused

    card = evaluator_card(name)
    asked = card.presets.get(instance(name).label or "")
    usual = card.presets.get(preset or OFFICIAL, card.presets.get(OFFICIAL, {}))
    own = {**usual, **(settings or {})} if asked is None else {**(settings or {}), **asked}
    what = name if in_file(name) else f"evaluator {name!r}"
    evaluator: Evaluator = build_from_options(card.build, own, options or {}, OPTION_FLAG, what)
    refuse_endless(evaluator, options or {}, OPTION_FLAG, what)
    refuse_unused(evaluator, own, options or {}, OPTION_FLAG, what)
    return evaluator


def _targets() -> dict[str, str]:
    return offered(ENTRY_POINTS) | EVALUATORS
