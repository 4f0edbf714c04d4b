"""Data for a page's scripts: JavaScript files that call one function with JSON.

A page that was opened from the file system may load scripts, but read no other file.
"""

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

DIGITS = 6
"""Digits that a number keeps that is only drawn and shown, with its exact value in the files to download."""


def write_call(path: Path, function: str, document: Any) -> None:
    """Writes `function(document)`; raises OSError. ASCII alone: no encoding and no line end is special."""
    text = json.dumps(document, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")
    path.write_text(f"{function}({text});\n", encoding="ascii")


def rounded(value: float | None) -> float | int | None:
    """The number with `DIGITS` digits; None where it is not finite, a whole number without a fraction."""
    if value is None or not math.isfinite(value):
        return None
    short = float(f"{value:.{DIGITS}g}")
    return int(short) if short.is_integer() and abs(short) < 1e15 else short


def columnar(rows: Sequence[Mapping[str, Any]], columns: Iterable[str]) -> dict[str, Any]:
    """The rows column by column; texts are places in `words`, which holds each once."""
    words: dict[str, int] = {}
    found: dict[str, list[Any]] = {}
    texts = []
    for column in columns:
        values = [row[column] for row in rows]
        if any(isinstance(value, str) for value in values):
            texts.append(column)
            values = [None if value is None else words.setdefault(value, len(words)) for value in values]
        else:
            values = [rounded(value) if isinstance(value, float) else value for value in values]
        found[column] = values
    return {"words": list(words), "texts": texts, "columns": found}
