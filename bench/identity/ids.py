"""Content ids: the same name for the same result, whoever computes it, wherever and when."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

from erasure_bench.later import CAME_LATER


def plain(value: Any) -> Any:
    """`value` in JSON's own types: dataclasses and mappings become dicts, sequences lists, sets sorted lists.

    A dataclass's field that `CAME_LATER` is left out where it has its default.
    Raises TypeError for anything else, so that no id ever rests on an object's address.
    """
    if value is None or isinstance(value, bool | int | float | str):
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
    return json.dumps(plain(value), sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def content_id(value: Any) -> str:
    """sha256 of the canonical JSON, 64 lower-case hex digits."""
    return hashlib.sha256(canonical_json(value).encode("utf-8", "surrogatepass")).hexdigest()
