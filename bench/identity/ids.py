"""Content ids: the same name for the same result, whoever computes it, wherever and when."""

import functools
import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, NamedTuple

from erasure_bench.later import CAME_LATER

_SCALARS = (bool, int, float, str)
_Remembered = dict[tuple[Any, ...], tuple[Any, Any]]
_remembered: ContextVar[_Remembered | None] = ContextVar("_remembered", default=None)


def plain(value: Any) -> Any:
    """`value` in JSON's own types: dataclasses and mappings become dicts, sequences lists, sets sorted lists.

    A dataclass's field that `CAME_LATER` is left out where it has its default.
    Raises TypeError for anything else, so that no id ever rests on an object's address.
    """
    if value is None or isinstance(value, _SCALARS):
        return value
    if is_dataclass(value) and not isinstance(value, type):
        return {
            field.name: plain(getattr(value, field.name))
            for field in fields(value)
            if not (
                CAME_LATER.items() <= field.metadata.items() and getattr(value, field.name) == field.default
            )
        }
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, set | frozenset):
        return sorted((plain(item) for item in value), key=repr)
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"{type(value).__name__} {value!r} cannot be part of a content id")


def canonical_json(value: Any) -> str:
    """One spelling for equal values: sorted keys, no spaces, floats as Python's shortest repr."""
    if type(value) is not dict or not value or _remembered.get() is None:
        return _dumps(plain(value))
    parts = [f"{name}{_part(value[key])}" for key, name in _names(tuple(value))]
    return f"{{{''.join(parts)}}}"


class Around(NamedTuple):
    """What stands before and after one text in the spelling of an object: see `spelt_around`."""

    before: str
    after: str

    def id_with(self, text: str) -> str:
        """`content_id` of the object with this text, which needs no escapes: another's id."""
        return _digest(f"{self.before}{text}{self.after}")


def spelt_around(name: str, fixed: Mapping[str, Any]) -> Around:
    """The canonical JSON of an object that has `fixed` and a text by this name, about that text.

    Of many that differ in another's id alone the rest is spelt once.
    """
    before = canonical_json({key: value for key, value in fixed.items() if key < name})[1:-1]
    after = canonical_json({key: value for key, value in fixed.items() if key > name})[1:-1]
    return Around(f'{{{before}{"," * bool(before)}{_text(name)}:"', f'"{"," * bool(after)}{after}}}')


def content_id(value: Any) -> str:
    """sha256 of the canonical JSON, 64 lower-case hex digits."""
    return _digest(canonical_json(value))


def plain_id(value: Any) -> str:
    """`content_id` of what is in JSON's own types already, as a file that was read."""
    return _digest(_dumps(value))


@contextmanager
def each_spelt_once() -> Iterator[None]:
    """Within the block, what is part of many ids is spelt once: nothing that was may change meanwhile."""
    token = _remembered.set({})
    try:
        yield
    finally:
        _remembered.reset(token)


def once(make: Callable[..., Any], *of: Any) -> Any:
    """`make(*of)`, or what it gave for these very objects before in the same `each_spelt_once`."""
    remembered = _remembered.get()
    if remembered is None:
        return make(*of)
    key = (make, *map(id, of))
    if key not in remembered:
        remembered[key] = of, make(*of)  # an object's id is its own for as long as somebody holds it
    return remembered[key][1]


@functools.cache
def _names(keys: tuple[str, ...]) -> list[tuple[str, str]]:
    """The keys of an object in their order, and how each is spelt with what stands about it."""
    return [(key, f"{',' if place else ''}{_text(key)}:") for place, key in enumerate(sorted(keys))]


def _part(value: Any) -> str:
    kind = type(value)
    if kind is str:
        return _text(value)
    if kind is int:
        return repr(value)
    if value is None or isinstance(value, _SCALARS):
        return _dumps(value)
    text: str = once(canonical_json, value)
    return text


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


_dumps = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode
_text = json.encoder.encode_basestring
"""What `_dumps` makes of a text, without the way there."""
