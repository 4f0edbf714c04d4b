"""Every method by name. Targets are `module:name` strings, so that listing them imports nothing."""

from __future__ import annotations

import dataclasses
import importlib
import json
from collections.abc import Mapping
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any, get_args, get_type_hints

from prompt_suites.errors import BenchError, UnknownName

if TYPE_CHECKING:
    from methods.base import Method, MethodCard

METHODS: dict[str, str] = {
    "none": "methods.none:NONE",
    "negative-prompt": "methods.negative_prompt:NEGATIVE_PROMPT",
    "sld-weak": "methods.sld:SLD_WEAK",
    "sld-weak-diffusers": "methods.sld:SLD_WEAK_DIFFUSERS",
    "sld-medium": "methods.sld:SLD_MEDIUM",
    "sld-strong": "methods.sld:SLD_STRONG",
    "sld-max": "methods.sld:SLD_MAX",
    "esd-x": "methods.esd:ESD_X",
    "esd-x-strict": "methods.esd:ESD_X_STRICT",
    "esd-u": "methods.esd:ESD_U",
    "esd-all": "methods.esd:ESD_ALL",
}

GUIDANCES: dict[str, str] = {
    "classifier-free": "models.guidance:ClassifierFree",
    "sld": "methods.sld:SafeLatentGuidance",
}
"""Kinds of guidance that a saved edit may hold."""

METHOD_ENTRY_POINTS = "erasure_bench.methods"
GUIDANCE_ENTRY_POINTS = "erasure_bench.guidances"
DEFAULT_PRESET = "official"


def methods() -> dict[str, str]:
    """Our methods and those of installed packages; a package cannot replace one of ours."""
    return {point.name: point.value for point in entry_points(group=METHOD_ENTRY_POINTS)} | METHODS


def guidances() -> dict[str, str]:
    """Our kinds of guidance and those of installed packages."""
    return {point.name: point.value for point in entry_points(group=GUIDANCE_ENTRY_POINTS)} | GUIDANCES


def method_names() -> tuple[str, ...]:
    """Every name that `method_card` knows, ours first."""
    known = methods()
    return (*METHODS, *(name for name in known if name not in METHODS))


def method_card(name: str) -> MethodCard:
    """The card of a method. Raises UnknownName, or BenchError where a package's method cannot be imported."""
    known = methods()
    if name not in known:
        raise UnknownName("method", name, known, "--methods")
    card: MethodCard = load_target(known[name], f"method {name!r}")
    return card


def build_method(name: str, preset: str = DEFAULT_PRESET, options: Mapping[str, str] | None = None) -> Method:
    """A method with its settings: those of its name, then of the preset, then `options`.

    A preset that the card lacks falls back to `official`. Options are text, as on the command
    line (`--method-option KEY=VALUE`); `none` stands for no value where a setting allows that.
    Raises BenchError that names the valid settings, or what the value may be.
    """
    card = method_card(name)
    chosen = card.presets.get(preset, card.presets.get(DEFAULT_PRESET, {}))
    hints = {
        field.name: get_type_hints(card.build, include_extras=True)[field.name]
        for field in dataclasses.fields(card.build)
    }
    settings = {**card.settings, **chosen}
    for key, text in (options or {}).items():
        if not hints:
            raise BenchError(f"{name} has no settings, so {key!r} cannot be set (--method-option)")
        if key not in hints:
            raise UnknownName(f"setting of {name}", key, hints, "--method-option")
        settings[key] = _parse(hints[key], text, f"{name}: --method-option {key}={text}")
    try:
        method: Method = card.build(**settings)
    except BenchError as error:
        raise BenchError(f"{name}: {error} (--method-option)") from error
    return method


def load_target(target: str, what: str) -> Any:
    """What a `module:name` string points at."""
    module, _, attribute = target.partition(":")
    try:
        return getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise BenchError(f"{what} cannot be loaded from {target}: {error}") from error


def _parse(hint: Any, text: str, where: str) -> Any:
    from pydantic import TypeAdapter, ValidationError

    if text.lower() == "none" and type(None) in get_args(hint):
        return None
    adapter = TypeAdapter(hint)
    try:
        return adapter.validate_python(text)
    except ValidationError as error:
        reason = "; ".join(dict.fromkeys(problem["msg"] for problem in error.errors()))
    try:
        return adapter.validate_python(json.loads(text))
    except (ValidationError, ValueError):
        raise BenchError(f"{where}: {reason[:1].lower()}{reason[1:]}") from None
