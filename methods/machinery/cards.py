"""The card of whatever a registry's target or a user's file names: a MethodCard, or a method's class."""

import dataclasses
import inspect
from typing import Any, get_type_hints

from erasure_bench.errors import BenchError
from erasure_bench.methods.base import MethodCard

WANTED = "a method is a frozen dataclass with erase(self, model, concepts, context), or a MethodCard of one"


def card_of(found: Any, name: str | None, where: str) -> MethodCard:
    """`found` itself where it is a card; else one from the class, with its docstring's first line as title.

    `name` is what a class is to be called, its own name where None; `where` says in errors what
    `found` is. Raises BenchError that says what it lacks to be a method.
    """
    card = found if isinstance(found, MethodCard) else None
    build = card.build if card is not None else found
    what = f"{where}: build={getattr(build, '__name__', build)}" if card is not None else where
    if lacking := _lacking(build):
        raise BenchError(f"{what} is no method: {lacking}; {WANTED}")
    if card is not None:
        if not card.name:
            raise BenchError(f"{where} is no method: its card has no name")
        return card
    return MethodCard(
        name=name or build.__name__,
        title=_first_line(build),
        paper="",
        formula="",
        build=build,
        presets={"official": {}},
    )


def _lacking(build: Any) -> str:
    """What keeps `build` from being a method's class; empty where nothing does."""
    if not inspect.isclass(build):
        return f"it is of type {type(build).__name__}"
    erase = getattr(build, "erase", None)
    if not callable(erase):
        return "it has no erase"
    if not dataclasses.is_dataclass(build):
        return "it is no dataclass (put @dataclass(frozen=True, kw_only=True) above it)"
    parameters: Any = inspect.getattr_static(build, "__dataclass_params__")
    if not parameters.frozen:
        return "it can be changed (put @dataclass(frozen=True, kw_only=True) above it)"
    try:
        inspect.signature(erase).bind("self", "model", "concepts", "context")
    except TypeError as error:
        return f"its erase cannot be called with model, concepts and context ({error})"
    except ValueError:  # written in C: nothing can be known of it
        return ""
    try:
        get_type_hints(build, include_extras=True)
    except Exception as error:  # whatever an annotation does when it is evaluated
        return f"the types of its settings cannot be read ({type(error).__name__}: {error})"
    return ""


def _first_line(build: type) -> str:
    """The docstring's first line without its full stop; the class's name where there is none."""
    text = (build.__dict__.get("__doc__") or "").strip()
    if not text or text.startswith(f"{build.__name__}("):  # a dataclass without one describes its arguments
        return build.__name__
    return str(text.splitlines()[0].rstrip("."))
