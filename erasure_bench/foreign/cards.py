"""The card of whatever a registry's target or a file names: a card, or the class that it would build."""

import dataclasses
import inspect
from collections.abc import Callable
from typing import Any, TypeVar, get_type_hints

from erasure_bench.errors import BenchError
from erasure_bench.foreign.wanted import Wanted

Card = TypeVar("Card")


def card_of(found: Any, name: str | None, where: str, wanted: Wanted, make: Callable[..., Card]) -> Card:
    """`found` itself where it is a card; else one from the class, with its docstring's first line as title.

    `make` is the card's class. `name` is what a class is to be called, its own name where None; `where`
    says in errors what `found` is. Raises BenchError that says what it lacks to be what is `wanted`.
    """
    card: Any = found if inspect.isclass(make) and isinstance(found, make) else None
    build = card.build if card is not None else found
    what = f"{where}: build={getattr(build, '__name__', build)}" if card is not None else where
    if lacking := _lacking(build, wanted):
        raise BenchError(f"{what} is no {wanted.noun}: {lacking}; {wanted.described}")
    if card is not None:
        if not card.name:
            raise BenchError(f"{where} is no {wanted.noun}: its card has no name")
        return found
    return make(
        name=name or build.__name__,
        title=_first_line(build),
        paper="",
        formula="",
        build=build,
        presets={"official": {}},
    )


def _lacking(build: Any, wanted: Wanted) -> str:
    """What keeps `build` from being a class of that kind; empty where nothing does."""
    if not inspect.isclass(build):
        return f"it is of type {type(build).__name__}"
    for name in wanted.promises:
        if not callable(getattr(build, name, None)):
            return f"it has no {name}"
    if not dataclasses.is_dataclass(build):
        return "it is no dataclass (put @dataclass(frozen=True, kw_only=True) above it)"
    parameters: Any = inspect.getattr_static(build, "__dataclass_params__")
    if not parameters.frozen:
        return "it can be changed (put @dataclass(frozen=True, kw_only=True) above it)"
    fields = {field.name for field in dataclasses.fields(build)}
    for name in wanted.attributes:
        if not hasattr(build, name) and name not in fields:
            return f"it has no {name}"
    for name, given in wanted.promised_by({*dir(build), *fields}).items():
        if why := _cannot_be_called(getattr(build, name), given):
            return f"its {name} cannot be called with {why}"
    try:
        get_type_hints(build, include_extras=True)
    except Exception as error:  # whatever an annotation does when it is evaluated
        return f"the types of its settings cannot be read ({type(error).__name__}: {error})"
    return ""


def _cannot_be_called(function: Callable[..., Any], given: tuple[str, ...]) -> str:
    """What a function cannot be given; empty where it can, or where nobody knows (it is written in C)."""
    try:
        inspect.signature(function).bind("self", *given)
    except TypeError as error:
        *others, last = given or ("nothing",)
        return f"{' and '.join((', '.join(others), last)) if others else last} ({error})"
    except ValueError:
        pass
    return ""


def _first_line(build: type) -> str:
    """The docstring's first line without its full stop; the class's name where there is none."""
    text = (build.__dict__.get("__doc__") or "").strip()
    if not text or text.startswith(f"{build.__name__}("):  # a dataclass without one describes its arguments
        return build.__name__
    return str(text.splitlines()[0].rstrip("."))
