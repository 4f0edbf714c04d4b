"""Settings objects from presets and from `name=value` texts of the command line."""

import types
from collections.abc import Collection, Mapping
from dataclasses import Field, fields, is_dataclass
from typing import Any, ClassVar, Protocol, TypeVar, Union, get_args, get_origin, get_type_hints

from pydantic import TypeAdapter, ValidationError

from erasure_bench.errors import BenchError, UnknownName
from erasure_bench.foreign.errors import contained, described, in_one_line


class _SettingsClass(Protocol):
    """Any dataclass."""

    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]


Settings = TypeVar("Settings", bound=_SettingsClass)


def build_from_options(
    cls: type[Settings],
    settings: Mapping[str, Any],
    options: Mapping[str, str],
    flag: str,
    what: str,
) -> Settings:
    """The dataclass `cls` with `settings` (values, from a preset) and then `options` (texts, from the user).

    An option's text is parsed by the type of the field that it names: `none` where None is allowed,
    comma-separated items for a tuple or list, otherwise whatever pydantic reads from a string.
    `flag` is the option of the command line that the user wrote and `what` names the thing that is
    built ("evaluator 'clip'"); both appear in the errors.

    Raises `BenchError` for an option that does not exist, a value of the wrong type, a value that
    the class itself refuses (ValueError of `__post_init__`) and a required option that is absent.
    """
    if not is_dataclass(cls):
        raise TypeError(f"{cls.__name__} is not a dataclass")
    types_by_name = get_type_hints(cls, include_extras=True)
    settable = {field.name: types_by_name[field.name] for field in fields(cls) if field.init}
    for name in (*settings, *options):
        if name not in settable:
            raise UnknownName(f"option of {what}", name, settable, flag)

    values = {name: _checked(settable[name], value, name, flag, what) for name, value in settings.items()}
    values |= {name: _parsed(settable[name], text, name, flag, what) for name, text in options.items()}
    try:
        with contained(what):
            return cls(**values)
    except BenchError:
        raise
    except ValueError as error:
        raise BenchError(f"{what}: {error} ({flag})") from error
    except TypeError as error:
        raise BenchError(f"{what} cannot be built: {error}; set it with {flag} NAME=VALUE") from error
    except Exception as error:  # what a settings class of someone else's raises
        raise BenchError(f"{what} cannot be built: {described(error, None)}") from error


class SaysWhatItDoesNotUse(Protocol):
    """A settings class in which some settings have no effect beside some values of others."""

    def unused_settings(self) -> Mapping[str, str]:
        """The settings without effect as it is set now, each with the reason: "with replay=false"."""
        ...


def refuse_unused(
    built: object, settings: Mapping[str, Any], options: Collection[str], flag: str, what: str
) -> None:
    """Raises BenchError for an option of the user's that `built` has no use for, as it says itself.

    `settings` is what it would have been built from without the `options`: one that repeats what holds
    anyway is no mistake. Any other, if it were ignored, would leave a number that looks asked for.
    """
    if not hasattr(built, "unused_settings"):
        return
    says: SaysWhatItDoesNotUse = built
    with in_one_line(what):
        unused = dict(says.unused_settings())
    own = {field.name: field.default for field in fields(built)} | dict(settings)  # type: ignore[arg-type]
    for name in options:
        if name in unused and getattr(built, name) != own.get(name):
            raise BenchError(
                f"{what}: {name} has no effect {unused[name]}: leave it out, or write NAME.{name}=… for the "
                f"one that it is meant for ({flag})"
            )


def _checked(kind: Any, value: object, name: str, flag: str, what: str) -> Any:
    try:
        return TypeAdapter(kind).validate_python(value)
    except ValidationError as error:
        raise _invalid(value, name, flag, what, error) from error


def _parsed(kind: Any, text: str, name: str, flag: str, what: str) -> Any:
    adapter: TypeAdapter[Any] = TypeAdapter(kind)
    members = get_args(kind) if get_origin(kind) in (Union, types.UnionType) else (kind,)
    if type(None) in members and text.strip().lower() in ("none", "null"):
        return None
    try:
        if any(get_origin(member) in (tuple, list, set, frozenset) for member in members):
            return adapter.validate_python([item.strip() for item in text.split(",") if item.strip()])
        return adapter.validate_strings(text)
    except ValidationError as error:
        if lengths := _lengths(members):
            raise BenchError(
                f"invalid value {text!r} for option {name!r} of {what} ({flag}): needs "
                f"{' or '.join(map(str, lengths))} numbers or words, with commas between them"
            ) from error
        raise _invalid(text, name, flag, what, error) from error


def _lengths(members: tuple[Any, ...]) -> list[int]:
    """How many items the tuples of a fixed length among these types have."""
    arguments = [get_args(member) for member in members if get_origin(member) is tuple]
    return [len(items) for items in arguments if items and items[-1] is not ...]


def _invalid(value: object, name: str, flag: str, what: str, error: ValidationError) -> BenchError:
    reasons = "; ".join(dict.fromkeys(item["msg"] for item in error.errors()))
    return BenchError(f"invalid value {value!r} for option {name!r} of {what} ({flag}): {reasons}")
