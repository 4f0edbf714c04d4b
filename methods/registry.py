"""Every method by name. Targets are `module:name` strings, so that listing them imports nothing."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol, get_args, get_type_hints

from erasure_bench.errors import BenchError, UnknownName, said
from erasure_bench.foreign.errors import contained, described, in_one_line
from erasure_bench.foreign.files import file_target, in_file
from erasure_bench.foreign.installed import offered
from erasure_bench.foreign.targets import load_target
from erasure_bench.foreign.wanted import METHOD

if TYPE_CHECKING:
    from erasure_bench.methods.base import Method, MethodCard

METHODS: dict[str, str] = {
    "none": "erasure_bench.methods.none:NONE",
    "negative-prompt": "erasure_bench.methods.negative_prompt:NEGATIVE_PROMPT",
    "sld-weak": "erasure_bench.methods.sld:SLD_WEAK",
    "sld-weak-diffusers": "erasure_bench.methods.sld:SLD_WEAK_DIFFUSERS",
    "sld-medium": "erasure_bench.methods.sld:SLD_MEDIUM",
    "sld-strong": "erasure_bench.methods.sld:SLD_STRONG",
    "sld-max": "erasure_bench.methods.sld:SLD_MAX",
    "esd-x": "erasure_bench.methods.esd:ESD_X",
    "esd-x-strict": "erasure_bench.methods.esd:ESD_X_STRICT",
    "esd-u": "erasure_bench.methods.esd:ESD_U",
    "esd-all": "erasure_bench.methods.esd:ESD_ALL",
    "ca-model": "erasure_bench.methods.concept_ablation.ablation:CA_MODEL",
    "ca-noise": "erasure_bench.methods.concept_ablation.ablation:CA_NOISE",
    "ca-reverse": "erasure_bench.methods.concept_ablation.ablation:CA_REVERSE",
    "loss-max": "erasure_bench.methods.concept_ablation.loss_max:LOSS_MAX",
    "sa": "erasure_bench.methods.selective_amnesia.amnesia:SA",
    "uce": "erasure_bench.methods.uce:UCE_CARD",
    "retrain": "erasure_bench.methods.retrain:RETRAIN",
    "speed": "erasure_bench.methods.speed:SPEED_CARD",
    "rece": "erasure_bench.methods.rece:RECE_CARD",
    "adavd": "erasure_bench.methods.adavd:ADAVD_CARD",
    "safree": "erasure_bench.methods.safree:SAFREE_CARD",
    "hirm": "erasure_bench.methods.hirm:HIRM_CARD",
    "spm": "erasure_bench.methods.spm:SPM_CARD",
    "salun": "erasure_bench.methods.salun:SALUN",
    "erasediff": "erasure_bench.methods.erasediff:ERASEDIFF",
    "advunlearn": "erasure_bench.methods.advunlearn:ADVUNLEARN",
    "eap": "erasure_bench.methods.adversarial_preservation:EAP",
    "age": "erasure_bench.methods.adversarial_preservation:AGE",
    "fmn": "erasure_bench.methods.forget_me_not:FMN",
    "concept-prune": "erasure_bench.methods.concept_prune:CONCEPT_PRUNE",
    "stereo": "erasure_bench.methods.stereo:STEREO",
    "receler": "erasure_bench.methods.receler:RECELER",
    "mace": "erasure_bench.methods.mace.erasure:MACE_CARD",
}

METHOD_ENTRY_POINTS = "erasure_bench.methods"
DEFAULT_PRESET = "official"


def methods() -> dict[str, str]:
    """Our methods and those of installed packages; a package cannot replace one of ours."""
    return offered(METHOD_ENTRY_POINTS) | METHODS


def method_names() -> tuple[str, ...]:
    """Every name that `method_card` knows, ours first."""
    known = methods()
    return (*METHODS, *(name for name in known if name not in METHODS))


def method_target(name: str) -> str:
    """Where a method lies, as `module:name`; `name` may also be PATH.py:NAME, and that file is then imported.

    Raises UnknownName, or BenchError for a file that has no such method.
    """
    if in_file(name):
        return file_target(name, METHOD)
    known = methods()
    if name not in known:
        raise UnknownName("method", name, known, "--methods")
    return known[name]


def method_card(name: str) -> MethodCard:
    """The card of a method; one is made where the target is the method's class.

    Raises UnknownName, or BenchError where a package's or a file's method cannot be imported or is none.
    """
    what = name if in_file(name) else f"method {name!r}"
    found = load_target(method_target(name), what)
    from erasure_bench.foreign.cards import card_of
    from erasure_bench.methods.base import MethodCard

    return card_of(found, None if in_file(name) else name, what, METHOD, MethodCard)


def build_method(name: str, preset: str = DEFAULT_PRESET, options: Mapping[str, str] | None = None) -> Method:
    """A method with its settings: those of its name, then of the preset, then `options`.

    A preset that the card lacks falls back to `official`. Options are text, as on the command
    line (`--method-option KEY=VALUE`); `none` stands for no value where a setting allows that.
    Raises BenchError that names the valid settings, what the value may be, or what is missing.
    """
    from erasure_bench.prompt_suites.options import refuse_unused

    card = method_card(name)
    chosen = card.presets.get(preset, card.presets.get(DEFAULT_PRESET, {}))
    own = {**card.settings, **chosen}
    settings = {**own, **parse_settings(card.build, name, options or {})}
    fields = [field for field in dataclasses.fields(card.build) if field.init]
    if missing := [field.name for field in fields if _is_required(field) and field.name not in settings]:
        raise BenchError(f"{name}: give {', '.join(missing)} (--method-option {missing[0]}=…)")
    try:
        with contained("its settings"):
            method: Method = card.build(**settings)
    except Exception as error:  # what a settings class of someone else's raises
        reason = described(error, None)
        hint = "" if "--method-option" in reason else " (--method-option)"
        raise BenchError(f"{name}: {reason}{hint}") from error
    for field in fields:
        value = getattr(method, field.name)
        if isinstance(value, float) and not math.isfinite(value):
            raise BenchError(f"{name}: {field.name}={value}: not a finite number (--method-option)")
    refuse_unused(method, own, options or {}, "--method-option", name)
    return method


class SaysWhetherItUsesTheSeed(Protocol):
    """A settings class of which some settings give the same edit whatever the seed."""

    def uses_seed(self) -> bool:
        """Whether another seed gives another edit, as it is set now."""
        ...


def uses_seed(name: str, method: object) -> bool:
    """Whether runs with other seeds are trainings of their own, or more pictures of one edit.

    It is so for a method that does not say (`SaysWhetherItUsesTheSeed`). `name` is for messages.
    """
    if not hasattr(method, "uses_seed"):
        return True
    says: SaysWhetherItUsesTheSeed = method
    with in_one_line(name):
        return bool(says.uses_seed())


def parse_settings(build: type, name: str, options: Mapping[str, str]) -> dict[str, Any]:
    """Text options as values of the fields of the dataclass `build`; raises BenchError as `build_method`."""
    types = get_type_hints(build, include_extras=True)
    hints = {field.name: types[field.name] for field in dataclasses.fields(build) if field.init}
    settings = {}
    for key, text in options.items():
        if not hints:
            raise BenchError(f"{name} has no settings, so {said(key)!r} cannot be set (--method-option)")
        if key not in hints:
            raise UnknownName(f"setting of {name}", key, hints, "--method-option")
        settings[key] = _parse(hints[key], text, f"{name}: --method-option {key}={said(text)}")
    return settings


def _is_required(field: dataclasses.Field[Any]) -> bool:
    return field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING


_LIST = 'a list is written as JSON: ["a", "b"]'
_HINTS = {"tuple_type": _LIST, "list_type": _LIST}
"""By pydantic's name of a mistake: what to say in place of its own words."""


def _parse(hint: Any, text: str, where: str) -> Any:
    from pydantic import TypeAdapter, ValidationError
    from pydantic.errors import PydanticUserError

    if text.lower() == "none" and type(None) in get_args(hint):
        return None
    try:
        adapter = TypeAdapter(hint)
    except PydanticUserError:
        raise BenchError(f"{where}: a value of type {hint} cannot be given as text") from None
    try:
        return adapter.validate_python(text)
    except ValidationError as error:
        reasons = (_HINTS.get(problem["type"], problem["msg"]) for problem in error.errors())
        reason = "; ".join(dict.fromkeys(reasons))
    except RecursionError:  # a setting may read its text as JSON
        reason = "the value nests too deeply"
    try:
        return adapter.validate_python(json.loads(text))
    except (ValidationError, ValueError, RecursionError):
        raise BenchError(f"{where}: {reason[:1].lower()}{reason[1:]}") from None
