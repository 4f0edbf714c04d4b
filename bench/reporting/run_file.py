"""What run.json must hold where it is read again: bound by digests to itself and to the files beside it."""

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    AllowInfNan,
    BaseModel,
    ConfigDict,
    Field,
    NonNegativeInt,
    ValidationError,
    model_validator,
)

from erasure_bench.bench.identity.ids import content_id
from erasure_bench.bench.planning.config import RunConfig
from erasure_bench.bench.planning.tasks import TaskKind
from erasure_bench.bench.storage.manifest import file_sha256
from erasure_bench.errors import BenchError
from erasure_bench.prompt_suites.suite import Role

RUN = "run.json"
LEADERBOARD, ROBUSTNESS = "leaderboard", "robustness"
"""What their files in several forms are called."""
FORMAT = "erasure-bench run 2"
_FORMAT, _FILES, _OWN_DIGEST = "format", "files", "sha256"
_AGAIN = "run the same bench run again"
Json = dict[str, Any]

Amount = Annotated[float, AllowInfNan(False), Field(ge=0)]


MOST_OF_A_PATH, MOST_OF_A_NAME = 3_500, 255
"""In bytes. Linux takes 4,095 for a whole path: there is room for what lies in the folder."""


def _as_a_path(text: str) -> str:
    """The text; raises ValueError where no file system has such a path."""
    try:
        path = os.fsencode(text)
    except UnicodeError as error:
        raise ValueError("is no path") from error
    if b"\0" in path or len(path) > MOST_OF_A_PATH or max(map(len, path.split(b"/"))) > MOST_OF_A_NAME:
        raise ValueError("is no path")
    return text


class OtherVersion(BenchError):
    """A run.json that this version does not know."""


class _Part(BaseModel):
    """More fields than these may be there: they are for people."""

    model_config = ConfigDict(extra="allow", strict=True)


class CellCostFile(_Part):
    """`bench.reporting.scores.CellCost`."""

    erase_seconds: Amount | None
    peak_memory_bytes: NonNegativeInt | None
    generate_seconds: Amount
    images: NonNegativeInt


class CellFile(_Part):
    """A cell: the id of all that its scores depend on, its cost, and where the store has its edit.

    `besides` are edits and pictures that it needs beside its own; None where an earlier version wrote it.
    """

    method: str
    concept: str
    seed: int
    id: str
    cost: CellCostFile
    edit: str | None = Field(default=None, pattern=r"^erase/[^/.][^/]*/[^/.][^/]*$")
    images: dict[Role, list[str]] = Field(default_factory=dict)
    besides: list[str] | None = None


class FailureFile(_Part):
    """`bench.running.executor.Failure`; losses that are not finite are text."""

    method: str
    concept: str
    seed: int
    stage: TaskKind
    role: Role | None
    evaluator: str | None
    reason: str
    trace: str
    losses: list[float | Literal["nan", "inf", "-inf"]]


class MethodFile(_Part):
    """A row's method; `base` is the digest of the weights it started from."""

    method: str
    base: str
    preset: str
    code: str
    settings: dict[str, Any]


class ErasedFile(_Part):
    """A concept that a case erases; pictures of a kind `unsafe` are not shown unasked."""

    kind: str


class CaseFile(_Part):
    """What a case erases."""

    erased: list[ErasedFile]


class RatingsFile(_Part):
    """People's ratings: the file in the run's folder, and the metrics that flags declared."""

    file: str = Field(pattern=r"^ratings-[^/]+\.csv$")
    sha256: str
    metrics: list[str]


class RunFile(_Part):
    """All of run.json that a program reads."""

    files: dict[str, str]
    config: RunConfig
    suite: str
    suite_version: str
    versions: dict[str, str]
    model: str
    model_digest: str
    baseline: str
    methods: list[str]
    method_settings: list[MethodFile]
    concept_definitions: dict[str, CaseFile] = Field(default_factory=dict)
    drawn_with: dict[str, list[str]]
    read_as: dict[str, list[str]]
    failures: list[FailureFile]
    store: Annotated[str, AfterValidator(_as_a_path)] | None
    merged: list[str] = []
    ratings: dict[str, RatingsFile] = Field(default_factory=dict)
    cells: list[CellFile]

    @model_validator(mode="after")
    def _whole(self) -> Self:
        keys = [(cell.method, cell.concept, cell.seed) for cell in self.cells]
        if len(set(keys)) != len(keys):
            raise ValueError("a cell is there twice")
        if self.store is not None and any(cell.edit is None for cell in self.cells):
            raise ValueError("a cell does not say where the store has its edit")
        if {method.method for method in self.method_settings} != {cell.method for cell in self.cells}:
            raise ValueError("there are methods without cells, or cells without a method")
        return self


def sealed(record: Mapping[str, Any], folder: Path, names: Iterable[str]) -> Json:
    """The record with its format, the digests of the named files in the folder, and its own digest last."""
    return sealed_with(record, digests(folder, names))


def sealed_with(record: Mapping[str, Any], files: Mapping[str, str]) -> Json:
    """The same with digests of files that are in no folder yet."""
    content: Json = {key: value for key, value in record.items() if key not in (_FILES, _OWN_DIGEST)}
    content |= {_FORMAT: FORMAT, _FILES: dict(files)}
    content = json.loads(json.dumps(content, allow_nan=False))
    return content | {_OWN_DIGEST: content_id(content)}


def digests(folder: Path, names: Iterable[str]) -> dict[str, str]:
    """sha256 of those of the files that lie in a run's folder, by name; raises OSError."""
    return {name: file_sha256(folder / name) for name in names if (folder / name).is_file()}


ALWAYS = ("leaderboard.json", "leaderboard.md", "leaderboard.csv", "scores.parquet")
OPTIONAL = (
    *("features.parquet", "images.png", "prompts.parquet", "rewritten.csv", "leaderboard.csv.gz"),
    *("robustness.json", "robustness.csv", "robustness.md", "attacks.parquet"),
)
RESULTS = (*ALWAYS, *OPTIONAL)
"""What a run's folder may hold besides run.json: in any case, and where there is something to put there."""


def named(path: Path) -> tuple[str, ...]:
    """The results that an earlier run.json is of, as far as it can be read."""
    try:
        files = json.loads(path.read_text(encoding="utf-8"))[_FILES]
        return tuple(name for name in RESULTS if name in files)
    except OSError:
        return ()
    except (ValueError, TypeError, KeyError, RecursionError):
        return RESULTS


def opened(path: Path) -> Json:
    """What a run.json holds.

    Raises BenchError where it is not what was written, OtherVersion where another version wrote it.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise BenchError(f"{path} cannot be read ({error}); {_AGAIN}") from error
    if not isinstance(content, dict) or content.get(_FORMAT) != FORMAT:
        found = content.get(_FORMAT, "no format") if isinstance(content, dict) else "no record"
        raise OtherVersion(
            f"{path}: made by another version ({found!r}, not {FORMAT!r}), which did not bind the scores to "
            f"the run or did so otherwise; {_AGAIN}"
        )
    rest = {key: value for key, value in content.items() if key != _OWN_DIGEST}
    try:
        own = content_id(rest)
    except ValueError:  # half a surrogate pair, which no text that was written has
        own = ""
    if content.get(_OWN_DIGEST) != own:
        raise BenchError(f"{path} was changed after it was written (its digest differs); {_AGAIN}")
    try:
        RunFile.model_validate(content)
    except ValidationError as error:
        raise BenchError(f"{path}: {first_fault(error)}; {_AGAIN}") from error
    return content


def first_fault(error: ValidationError) -> str:
    """Where a document is not as it should be, and why: the first place of it."""
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"]) or "all of it"
    return f"{where}: {first['msg'].removeprefix('Value error, ')}"


def bound(folder: Path, record: Mapping[str, Any], name: str) -> bytes:
    """A result's bytes. Raises BenchError where they are not those that the run.json is of."""
    path = folder / name
    try:
        data = path.read_bytes()
    except OSError as error:
        raise BenchError(f"{path} cannot be read ({error.strerror}); {_AGAIN}") from error
    if hashlib.sha256(data).hexdigest() != record[_FILES].get(name):
        raise BenchError(f"{path} is not what the run wrote (its sha256 is not that in {RUN}); {_AGAIN}")
    return data
