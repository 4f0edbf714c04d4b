"""The methods and evaluators of a run, with their settings, as the plan needs them.

Settings follow from a method's code, preset and options alone, so the store remembers them: a
run that finds everything finished does not import torch only to learn what it would have done.
"""

import dataclasses
import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from bench.atomic import write_text
from bench.config import OFFICIAL, Options
from bench.ids import code_version, content_id, plain
from evaluators.base import Metric
from evaluators.registry import build_evaluator, evaluator_card
from methods.registry import METHODS, build_method, method_card, methods
from models.zoo import ModelSource
from prompt_suites.errors import UnknownName

BASELINE = next(iter(METHODS))
"""The base model's own row: the first method of the registry."""


@dataclass(frozen=True, kw_only=True)
class ChosenMethod:
    """A method as one run uses it. `options` are the user's, as text; `settings` what came of them.

    `presets` are the names that its card offers; `many_concepts` and `general_prompts` are the card's.
    `base` is set for a row that is another base model instead of an edit of the run's own.
    """

    name: str
    preset: str
    options: Options
    settings_class: str
    settings: Mapping[str, Any]
    presets: tuple[str, ...]
    code: str
    many_concepts: bool = False
    general_prompts: bool = False
    base: ModelSource | None = None

    @property
    def fixed(self) -> bool:
        """Whether the row is the same whatever the concept and the seed: a base model as it is."""
        return self.is_baseline or self.base is not None

    @property
    def is_baseline(self) -> bool:
        """Whether this is the base model itself, which depends on no concept and no seed."""
        return self.name == BASELINE


@dataclass(frozen=True, kw_only=True)
class ChosenEvaluator:
    """An evaluator as one run uses it; `protocol` decides which numbers can be compared with its own."""

    name: str
    preset: str | None
    settings: Mapping[str, Any]
    options: Options
    protocol: Mapping[str, Any]
    metrics: tuple[Metric, ...]
    code: str


def choose_method(name: str, preset: str, options: Options, memory: Path) -> ChosenMethod:
    """The method with its settings resolved; `memory` is the folder that remembers them.

    Raises UnknownName for a name that is in no table, BenchError for an option that does not fit.
    """
    known = methods()
    if name not in known:
        raise UnknownName("method", name, known, "--methods")
    code = code_version(known[name].partition(":")[0])
    asked = {"target": known[name], "preset": preset, "options": options, "code": code}
    # The registry parses the options, so its code counts for the settings, though not for the edit.
    note = memory / f"{content_id({**asked, 'registry': code_version('methods.registry')})}.json"
    remembered = _recall(note)
    if remembered is None:
        method, card = build_method(name, preset, options), method_card(name)
        remembered = {
            "settings_class": f"{type(method).__module__}:{type(method).__qualname__}",
            "settings": _settings(method),
            "presets": list(card.presets),
            "many_concepts": card.many_concepts,
            "general_prompts": card.general_prompts,
        }
        with suppress(OSError):  # a store that cannot be written is reported where it matters
            write_text(note, json.dumps(remembered))
    return ChosenMethod(
        name=name,
        preset=preset,
        options=dict(options),
        settings_class=remembered["settings_class"],
        settings=remembered["settings"],
        presets=tuple(remembered["presets"]),
        code=code,
        many_concepts=remembered["many_concepts"],
        general_prompts=remembered["general_prompts"],
    )


def reference(source: ModelSource, memory: Path) -> ChosenMethod:
    """Another base model as a row of its own, under that model's name."""
    nothing = choose_method(BASELINE, OFFICIAL, {}, memory)
    return dataclasses.replace(nothing, name=source.name, base=source)


def missing_packages(name: str) -> tuple[str, ...]:
    """The modules that an evaluator needs and this installation lacks. Raises UnknownName."""
    return tuple(module for module in evaluator_card(name).requires if find_spec(module) is None)


def choose_evaluator(
    name: str, preset: str | None, options: Options, settings: Mapping[str, object]
) -> ChosenEvaluator:
    """The evaluator with its metrics and protocol; loads no weights. Raises BenchError."""
    evaluator = build_evaluator(name, preset, options, settings)
    return ChosenEvaluator(
        name=name,
        preset=preset,
        settings=dict(settings),
        options=dict(options),
        protocol=plain(evaluator.protocol()),
        metrics=tuple(evaluator.metrics),
        code=code_version(type(evaluator).__module__),
    )


def _settings(built: Any) -> dict[str, Any]:
    return {field.name: plain(getattr(built, field.name)) for field in dataclasses.fields(built)}


_REMEMBERED = {"settings_class", "settings", "presets", "many_concepts", "general_prompts"}


def _recall(note: Path) -> dict[str, Any] | None:
    try:
        remembered: dict[str, Any] = json.loads(note.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return remembered if remembered.keys() >= _REMEMBERED else None
