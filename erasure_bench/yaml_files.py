"""YAML files that users write, checked by a pydantic model; mistakes with file, line and key."""

import difflib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from erasure_bench.errors import BenchError
from erasure_bench.users_text import decoded
from erasure_bench.yaml_marks import Marked, Place, read_marked

LARGEST = 4 * 2**20
"""Bytes that are read of such a file at most."""
Model = TypeVar("Model", bound=BaseModel)


def read_marks(path: Path, flag: str) -> Marked:
    """The file's mapping with its lines; raises BenchError in one line that names `flag` and the file."""
    try:
        if path.stat().st_size > LARGEST:
            raise BenchError(f"{flag} {path}: larger than {LARGEST // 2**20} MiB: that is no such file")
        content = path.read_bytes()
    except OSError as error:
        raise BenchError(f"{flag} {path}: {error.strerror}") from error
    marked = read_marked(decoded(content, str(path)), str(path))
    if not isinstance(marked.value, dict):
        raise BenchError(f"{path}:1: holds no keys: write KEY: VALUE lines")
    return marked


def checked(model: type[Model], marked: Marked, where: str) -> Model:
    """The file as the model has it; raises BenchError with one line: file, line, key, the valid choices."""
    try:
        # As JSON: a list is good enough for a tuple, a text for a path.
        return model.model_validate_json(json.dumps(marked.value, default=str))
    except ValidationError as error:
        # A key that is none says more than the one that is missing for it.
        problems = sorted(_causes(error.errors()), key=lambda problem: problem["type"] == "missing")
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        place: Place = tuple(problems[0]["loc"])
        why = _why(problems[0], model, place)
        raise BenchError(f"{where}:{marked.line(place)}: {key_of(place)}: {why}{more}") from error


def read_yaml(model: type[Model], path: Path, flag: str) -> Model:
    """`checked` of a file."""
    return checked(model, read_marks(path, flag), str(path))


def key_of(place: Place) -> str:
    """The way to a value as people write it: rules[0].limit."""
    parts = [f"[{part}]" if isinstance(part, int) else f".{part}" for part in place]
    return "".join(parts).removeprefix(".") or "the file"


def _causes(problems: list[ErrorDetails]) -> list[ErrorDetails]:
    """Without the lists that are too short only because an item of theirs is none."""
    places = [problem["loc"] for problem in problems]
    return [
        problem
        for problem in problems
        if problem["type"] != "too_short"
        or not any(len(place) > len(at := problem["loc"]) and place[: len(at)] == at for place in places)
    ]


def _why(problem: ErrorDetails, model: type[BaseModel], place: Place) -> str:
    message = problem["msg"].removeprefix("Value error, ").rstrip(".")
    match problem["type"]:
        case "extra_forbidden":
            keys = list(_keys(_model_at(model, place[:-1])))
            near = difflib.get_close_matches(str(place[-1]), keys, n=1, cutoff=0.5)
            hint = f"did you mean {near[0]}? " if near else ""
            return f"no such key: {hint}valid: {', '.join(keys)}"
        case "missing":
            return "is missing"
        case "string_pattern_mismatch":
            return f"{_shown(problem['input'])} does not fit {problem['ctx']['pattern']}"
        case "too_short":
            return f"needs {problem['ctx']['min_length']} or more, has {problem['ctx']['actual_length']}"
    if message.startswith("Input should be "):
        return f"should be {message.removeprefix('Input should be ')}, not {_shown(problem['input'])}"
    return message


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}…"


def _keys(model: type[BaseModel]) -> Iterator[str]:
    for name, field in model.model_fields.items():
        yield field.alias or name


def _model_at(model: type[BaseModel], place: Place) -> type[BaseModel]:
    """The model of a value inside the file: that of the field, of its items or of its values."""
    at = model
    for part in place:
        field = next((f for n, f in at.model_fields.items() if part in (n, f.alias)), None)
        inner = None if field is None else next(_models_in(field.annotation), None)
        at = inner or at
    return at


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in get_args(annotation):
        yield from _models_in(argument)
