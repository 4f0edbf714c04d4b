"""Small facts that the store remembers, each a JSON file bound by a digest to its name and its value."""

import json
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from erasure_bench.bench.identity.ids import content_id
from erasure_bench.bench.storage.atomic import write_text
from erasure_bench.bench.storage.damage import Say, on_stderr

_VALUE, _DIGEST = "value", "sha256"


def remember(note: Path, value: dict[str, Any]) -> None:
    """Writes the value, of JSON's types; raises OSError."""
    write_text(note, json.dumps({_VALUE: value, _DIGEST: _digest(note, value)}))


def recall(note: Path, say: Say = on_stderr) -> dict[str, Any] | None:
    """What `remember` wrote there; None where nothing is, or something else, which is said."""
    try:
        data = note.read_bytes()
    except OSError:
        return None
    if not is_whole(note, data):
        say(f"{note} is damaged; to be made anew")
        return None
    value: dict[str, Any] = json.loads(data)[_VALUE]
    return value


def once(
    note: Path, find: Callable[[], dict[str, Any]], holding: frozenset[str] = frozenset()
) -> dict[str, Any]:
    """What is remembered there, if it has the keys `holding`; else what `find` finds, remembered then."""
    known = recall(note)
    if known is None or not known.keys() >= holding:
        known = find()
        with suppress(OSError):  # a store that cannot be written is reported where it matters
            remember(note, known)
    return known


def is_whole(note: Path, data: bytes) -> bool:
    """Whether these bytes of the file are what was written there."""
    try:
        content = json.loads(data)
        return bool(content[_DIGEST] == _digest(note, content[_VALUE]))
    except (ValueError, TypeError, KeyError, RecursionError):
        return False


def _digest(note: Path, value: Any) -> str:
    return content_id([note.name, value])
