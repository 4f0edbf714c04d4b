"""What `bench list` and `bench show` say: methods, evaluators, suites, models and transformations by name."""

import dataclasses
import inspect
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, get_args

from erasure_bench.errors import BenchError, UnknownName

if TYPE_CHECKING:
    from erasure_bench.bench.identity.table import Kind as Versioned
    from erasure_bench.evaluators.base import EvaluatorCard
    from erasure_bench.methods.base import MethodCard

Kind = Literal["methods", "evaluators", "attacks", "suites", "models", "transformations"]
KINDS: tuple[Kind, ...] = get_args(Kind)


class Listed(NamedTuple):
    """One line of a list."""

    name: str
    title: str
    more: str


class Sheet(NamedTuple):
    """A card spread out: facts in order, and tables of settings (one column for each preset)."""

    kind: Kind
    name: str
    title: str
    facts: dict[str, str]
    settings: dict[str, dict[str, str]]
    """Setting name -> {"default" or preset: value}."""
    about: str = ""
    """What the settings mean: the class's docstring."""


def listed(kind: Kind) -> list[Listed]:
    """Everything of a kind, in its registry's order."""
    return list(_LISTS[kind]())


def sheet_of(kind: Kind, name: str) -> Sheet:
    """The card of what has this name among those of the kind."""
    return _SHEETS[kind](name)


def sheets(name: str) -> list[Sheet]:
    """The cards of all that have this name, such as a suite and the model that it is for, or an attack and
    the suite of its prompts; or of what lies in a user's file: PATH.py:NAME, PATH.yaml of a suite.

    Raises UnknownName, or BenchError where a file's or a package's code cannot be loaded.
    """
    from erasure_bench.foreign.files import in_file, kind_in_file
    from erasure_bench.foreign.wanted import METHOD
    from erasure_bench.prompt_suites.registry import in_suite_file

    if in_suite_file(name):
        return [sheet_of("suites", name)]
    if in_file(name):
        return [sheet_of("methods" if kind_in_file(name) is METHOD else "evaluators", name)]
    if found := [sheet_of(kind, name) for kind in KINDS if name in _names(kind)]:
        return found
    raise UnknownName("name", name, {known for kind in KINDS for known in _names(kind)}, "bench show NAME")


def _names(kind: Kind) -> tuple[str, ...]:
    if kind == "methods":
        from erasure_bench.methods.registry import method_names

        return method_names()
    if kind == "evaluators":
        from erasure_bench.evaluators.registry import evaluator_names

        return evaluator_names()
    if kind == "attacks":
        from erasure_bench.attacks.registry import ATTACKS

        return tuple(ATTACKS)
    if kind == "suites":
        from erasure_bench.prompt_suites.registry import suite_names

        return suite_names()
    if kind == "transformations":
        from erasure_bench.prompt_suites.transformations.registry import transformation_names

        return transformation_names()
    from erasure_bench.models.zoo import ZOO

    return tuple(ZOO)


def _list_methods() -> Iterator[Listed]:
    from erasure_bench.methods.registry import method_card

    for name in _names("methods"):
        yield _line(name, method_card)


def _list_evaluators() -> Iterator[Listed]:
    from erasure_bench.evaluators.registry import evaluator_card

    for name in _names("evaluators"):
        yield _line(name, evaluator_card)


def _list_attacks() -> Iterator[Listed]:
    from erasure_bench.attacks.registry import attack_card

    for name in _names("attacks"):
        card = attack_card(name)
        yield Listed(name, card.title, card.paper)


def _line(name: str, card_of: Callable[[str], "MethodCard | EvaluatorCard"]) -> Listed:
    """A line of a list; another package's code that cannot be loaded does not take the list with it."""
    try:
        card = card_of(name)
    except BenchError as error:
        return Listed(name, "cannot be loaded", str(error))
    return Listed(name, card.title, card.paper)


def _list_suites() -> Iterator[Listed]:
    from erasure_bench.prompt_suites.registry import suite_card

    for name in _names("suites"):
        card = suite_card(name)
        concepts = ", ".join(card.concepts)
        yield Listed(
            name, card.title, concepts if card.reported else f"{concepts} (for tuning, never reported)"
        )


def _list_models() -> Iterator[Listed]:
    from erasure_bench.models.zoo import ZOO, local_copy

    for name, entry in ZOO.items():
        where = (
            "here" if local_copy(name) else f"not here{f'; hub: {entry.repo_id}' if entry.repo_id else ''}"
        )
        yield Listed(name, entry.title, where)


def _list_transformations() -> Iterator[Listed]:
    from erasure_bench.prompt_suites.transformations.registry import transformation_card

    for name in _names("transformations"):
        card = transformation_card(name)
        yield Listed(name, card.title, f"{card.of} → {card.role}")


def _version(kind: "Versioned", name: str, version: str) -> str:
    """What ids name the code by."""
    from erasure_bench.bench.identity.code import code_of
    from erasure_bench.bench.identity.table import bound

    module = bound(kind).get(name)
    if module is None:
        return "that of its code (docs/ids.md)"
    if code_of(kind, name, module) == f"{name} {version}":
        return version
    return f"{version}, but its code was changed here: ids hold the digest of it (docs/ids.md)"


def _method_sheet(name: str) -> Sheet:
    from erasure_bench.foreign.files import in_file
    from erasure_bench.methods.registry import method_card

    card = method_card(name)
    facts = {
        "paper": card.paper,
        "formula": card.formula,
        "version": _version("method", name, card.version),
        "several concepts at once": "yes" if card.many_concepts else "no",
        "notes": card.notes,
    }
    presets = {preset: {**card.settings, **values} for preset, values in card.presets.items()}
    called = card.name if in_file(name) else name
    return Sheet(
        "methods", called, card.title, _said(facts), _settings(card.build, presets), _about(card.build)
    )


def _evaluator_sheet(name: str) -> Sheet:
    from erasure_bench.bench.words.numbers import ARROWS
    from erasure_bench.evaluators.metrics import checked_metrics
    from erasure_bench.evaluators.registry import OFFICIAL, build_evaluator, evaluator_card
    from erasure_bench.foreign.errors import in_one_line
    from erasure_bench.foreign.files import in_file

    card = evaluator_card(name)
    called = card.name if in_file(name) else name
    facts = {
        "paper": card.paper,
        "formula": card.formula,
        "version": _version("evaluator", name, card.version),
        "needs": ", ".join(card.requires),
        "notes": card.notes,
    }
    if len(card.presets) > 1:
        facts["presets"] = f"{', '.join(card.presets)}: --evaluators {called}@PRESET"
    shown: set[str] = set()
    for preset in card.presets or (OFFICIAL,):
        try:
            with in_one_line(name):
                metrics = checked_metrics(build_evaluator(name, preset), name)
        except BenchError:
            continue
        only = f" (preset {preset})" if shown else ""
        for metric in metrics:
            if metric.name in shown:
                continue
            roles = ", ".join(f"{role} {ARROWS[better]}".rstrip() for role, better in metric.better.items())
            facts[f"metric {metric.name}"] = (
                f"{metric.title} [{metric.unit}], {metric.aggregate}: {roles or 'stored'}{only}"
            )
        shown |= {metric.name for metric in metrics}
    settings = _settings(card.build, card.presets)
    return Sheet("evaluators", called, card.title, _said(facts), settings, _about(card.build))


def _attack_sheet(name: str) -> Sheet:
    from erasure_bench.attacks.registry import attack_card

    card = attack_card(name)
    facts = {
        "paper": card.paper,
        "formula": card.formula,
        "shown beside": card.control or "nothing: it is a control",
        "chosen by": card.chosen_by,
        "scheduler": f"{card.scheduler} alone" if card.scheduler else "",
        f"{name}:VALUE": f"sets {card.argument}",
        "notes": card.notes,
    }
    presets = {preset: {**card.settings, **values} for preset, values in card.presets.items()}
    return Sheet(
        "attacks", name, card.title, _said(facts), _settings(card.build, presets), _about(card.build)
    )


def _suite_sheet(name: str) -> Sheet:
    from erasure_bench.bench.cli.suite_outline import outline, said, said_attacks
    from erasure_bench.prompt_suites.registry import suite_card

    card, whole = suite_card(name), outline(name)
    facts = {
        "description": card.description,
        "concepts": ", ".join(card.concepts),
        "protocol": said(whole.protocol),
        "evaluators": ", ".join(whole.evaluators),
        "attacks": said_attacks(whole.attacks),
        "further evaluators": ", ".join(whole.further_evaluators),
        "version": card.version,
        "made for": card.model,
        "source": card.source,
        "licence": card.licence,
        "data": "; ".join(f"{path} sha256 {sha256}" for path, sha256 in card.pinned.items()),
        "options": "; ".join(f"{option}={'|'.join(values)}" for option, values in card.options.items()),
        "reported": "yes" if card.reported else "no: methods are tuned on it",
    }
    return Sheet("suites", card.name, card.title, _said(facts), {})


def _model_sheet(name: str) -> Sheet:
    from erasure_bench.models.zoo import ZOO, local_copy

    entry = ZOO[name]
    facts = {
        "resolution": f"{entry.resolution} pixels",
        "prediction": entry.prediction,
        "preset": entry.preset or "official",
        "hub": f"{entry.repo_id}@{entry.revision}" if entry.repo_id else "",
        "licence": entry.licence,
        "here": str(local_copy(name) or "no"),
        "made by": entry.rebuild,
        "notes": entry.note,
    }
    return Sheet("models", name, entry.title, _said(facts), {})


def _transformation_sheet(name: str) -> Sheet:
    from erasure_bench.prompt_suites.transformations.registry import transformation_card

    card = transformation_card(name)
    facts = {
        "version": card.version,
        "rewrites": f"prompts of the role {card.of}",
        "into": f"prompts of the role {card.role}, drawn from the same noise",
        "notes": card.notes,
    }
    return Sheet(
        "transformations", name, card.title, _said(facts), _settings(card.build, {}), _about(card.build)
    )


def _said(facts: Mapping[str, str]) -> dict[str, str]:
    return {name: text for name, text in facts.items() if text}


def _settings(build: type, presets: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, str]]:
    """Each setting's default and what each preset makes of it."""
    settings = {}
    for field in dataclasses.fields(build):
        default = _default(field)
        settings[field.name] = {"default": default} | {
            preset: _shown(values[field.name]) if field.name in values else default
            for preset, values in presets.items()
        }
    return settings


def _about(build: type) -> str:
    """The class's own docstring; a dataclass without one has its signature there, which says nothing more."""
    text = inspect.cleandoc(build.__doc__ or "")
    return "" if text.startswith(f"{build.__name__}(") else text


def _default(field: "dataclasses.Field[Any]") -> str:
    if field.default is not dataclasses.MISSING:
        return _shown(field.default)
    if field.default_factory is not dataclasses.MISSING:
        return _shown(field.default_factory())
    return "required"


def _shown(value: Any) -> str:
    return ", ".join(str(item) for item in value) if isinstance(value, tuple | list) else str(value)


_LISTS = {
    "methods": _list_methods,
    "evaluators": _list_evaluators,
    "attacks": _list_attacks,
    "suites": _list_suites,
    "models": _list_models,
    "transformations": _list_transformations,
}
_SHEETS = {
    "methods": _method_sheet,
    "evaluators": _evaluator_sheet,
    "attacks": _attack_sheet,
    "suites": _suite_sheet,
    "models": _model_sheet,
    "transformations": _transformation_sheet,
}
