"""Reads the JSON files beside weights."""

import json
from pathlib import Path
from typing import Any

from erasure_bench.errors import BenchError
from erasure_bench.stand_ins import refuse_stand_in


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object from a file; raises BenchError when it is not one."""
    refuse_stand_in(path)
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise BenchError(f"{path}: cannot be read as JSON: {error}") from error
    if not isinstance(value, dict):
        raise BenchError(f"{path}: expected a JSON object")
    return value
