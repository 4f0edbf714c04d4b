"""The papers' tables, as the project keeps them: numbers, the protocols behind them, our counterparts.

Three files of the package (results/published, whose README says what their columns are): numbers.csv,
protocols.csv, metrics.csv. Facts alone, each as far as the paper or its authors state it.
"""

import csv
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Literal, NamedTuple, TypeVar

from pydantic import AllowInfNan, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from erasure_bench.bench.reporting.run_file import first_fault
from erasure_bench.errors import BenchError
from erasure_bench.prompt_suites.suite import Role

FOLDER = Path(str(files("erasure_bench"))) / "published"
NUMBERS, PROTOCOLS, METRICS = "numbers.csv", "protocols.csv", "metrics.csv"

Text = Annotated[str, Field(min_length=1)]
Finite = Annotated[float, AllowInfNan(False)]
Unstated = Annotated[str | None, BeforeValidator(lambda text: text or None)]
"""Empty in the file: None here."""


class _Line(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Number(_Line):
    """One number of a paper's table. `model` is the base model, `method` none that model's own row.

    `metric` and `unit` are the paper's, `protocol` names lines of protocols.csv. `verified` says whether the
    number was read in the paper, its code or its authors' tables; else it is from memory.
    """

    paper: Text
    table: Text
    suite: Text
    concept: Text
    model: Unstated
    method: Text
    metric: Text
    value: Finite
    unit: str
    protocol: Text
    verified: bool
    note: str


class Stated(_Line):
    """One field of a protocol; `value` is None where it matters and is not stated.

    What is `measure`d with is compared with the evaluator's protocol, field by field; how the pictures were
    `draw`n with the suite's protocol, and with how many prompts and pictures the number here has.
    """

    protocol: Text
    part: Literal["measure", "draw"]
    field: Text
    value: Unstated


class Counterpart(_Line):
    """What of ours a paper's metric is, the value of the paper's times `factor`; or `why_not`."""

    protocol: Text
    metric: Text
    evaluator: Unstated
    ours: Unstated
    role: Annotated[Role | None, BeforeValidator(lambda text: text or None)]
    factor: Annotated[Finite | None, BeforeValidator(lambda text: text or None)]
    why_not: Unstated


class Published(NamedTuple):
    """All of it: protocols by name, counterparts by protocol and metric."""

    numbers: tuple[Number, ...]
    protocols: Mapping[str, tuple[Stated, ...]]
    counterparts: Mapping[tuple[str, str], Counterpart]


@cache
def published(folder: Path = FOLDER) -> Published:
    """Reads the files. Raises BenchError, with file and line, where one is damaged or they do not fit."""
    numbers = _read(folder / NUMBERS, Number)
    protocols: dict[str, tuple[Stated, ...]] = {}
    for stated in _read(folder / PROTOCOLS, Stated):
        protocols[stated.protocol] = (*protocols.get(stated.protocol, ()), stated)
    lines = _read(folder / METRICS, Counterpart)
    counterparts = {(line.protocol, line.metric): line for line in lines}
    for file, problem in (
        (METRICS, _of_counterparts(lines)),
        (PROTOCOLS, _twice([(one.protocol, one.part, one.field) for of in protocols.values() for one in of])),
        (NUMBERS, _of_numbers(numbers, protocols, counterparts)),
    ):
        if problem:
            raise BenchError(f"{folder / file}: {problem}")
    return Published(numbers, protocols, counterparts)


Line = TypeVar("Line", bound=_Line)


def _read(path: Path, kind: type[Line]) -> tuple[Line, ...]:
    try:
        with path.open(encoding="utf-8", newline="") as file:
            reader = csv.DictReader(file)
            found = []
            for row in reader:
                try:
                    found.append(kind.model_validate(row))
                except ValidationError as error:
                    raise BenchError(f"{path}, line {reader.line_num}: {first_fault(error)}") from error
            return tuple(found)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise BenchError(f"{path} cannot be read: {error}; install the package again") from error


def _of_numbers(
    numbers: Sequence[Number],
    protocols: Mapping[str, tuple[Stated, ...]],
    counterparts: Mapping[tuple[str, str], Counterpart],
) -> str:
    for number in numbers:
        if number.protocol not in protocols:
            return f"protocol {number.protocol!r} is not in {PROTOCOLS}"
        if (number.protocol, number.metric) not in counterparts:
            return f"metric {number.metric!r} of {number.protocol!r} is not in {METRICS}"
    return _twice(
        [(one.paper, one.table, one.suite, one.concept, one.model, one.method, one.metric) for one in numbers]
    )


def _of_counterparts(lines: Sequence[Counterpart]) -> str:
    for line in lines:
        ours = (line.evaluator, line.ours, line.role, line.factor)
        if (line.why_not is None) != all(part is not None for part in ours):
            return f"{line.protocol}, {line.metric}: needs evaluator, ours, role and factor, or why_not"
    return _twice([(line.protocol, line.metric) for line in lines])


def _twice(keys: Sequence[tuple[str | None, ...]]) -> str:
    seen = set()
    for key in keys:
        if key in seen:
            return f"{', '.join(map(str, key))}: there twice"
        seen.add(key)
    return ""
