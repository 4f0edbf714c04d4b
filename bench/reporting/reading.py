"""A run's results, read back from its folder and checked against run.json.

Where a folder keeps only the table (`leaderboard.csv`, or `leaderboard.csv.gz` as in results/ here), run.json
has the rest of what leaderboard.json holds.
"""

import gzip
import io
import json
import math
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
from pydantic import ValidationError

from erasure_bench.bench.reporting.document_file import DocumentFile
from erasure_bench.bench.reporting.leaderboard import COLUMNS
from erasure_bench.bench.reporting.record import failure_of, read_record
from erasure_bench.bench.reporting.robustness import Robustness
from erasure_bench.bench.reporting.run_file import (
    LEADERBOARD,
    ROBUSTNESS,
    RUN,
    OtherVersion,
    bound,
    first_fault,
)
from erasure_bench.bench.running.progress import describe
from erasure_bench.bench.storage.damage import Say, on_stderr
from erasure_bench.bench.storage.unpacked import most_unpacked
from erasure_bench.bench.words.showing import in_json
from erasure_bench.errors import BenchError

PACKED = f"{LEADERBOARD}.csv.gz"
EARLIER = (
    "Made by an earlier version: verdicts and collapse marks are not there. Run the same bench run again."
)


def read_result(folder: Path, name: str, say: Say = on_stderr) -> bytes:
    """A result's bytes, checked against run.json where that is there and was made by this version.

    Raises BenchError where they are not what the run wrote, or cannot be read.
    """
    if (folder / RUN).exists():
        try:
            return bound(folder, read_record(folder), name)
        except OtherVersion:
            say(f"{folder}: made by another version: its numbers cannot be checked")
    try:
        return (folder / name).read_bytes()
    except OSError as error:
        raise BenchError(f"{folder / name} cannot be read: {error.strerror}") from error


def read_document(folder: Path) -> dict[str, Any]:
    """What a run's leaderboard.json holds; raises BenchError where it is none of this version's."""
    path = folder / f"{LEADERBOARD}.json"
    if (table := _table_alone(folder)) is not None:
        return _of_table(folder, table)
    try:
        document = json.loads(read_result(folder, path.name))
    except (ValueError, RecursionError) as error:
        raise BenchError(f"{path} cannot be read ({error}); run the same bench run again") from error
    return _checked(document, path)


def leaderboard_text(folder: Path, form: str) -> str:
    """The leaderboard as `md`, `csv` or `json`: the run's file, or the same made of the table.

    Raises BenchError where it cannot be read.
    """
    name, table = f"{LEADERBOARD}.{form}", _table_alone(folder)
    if table == PACKED and form == "csv":
        return _table_bytes(folder, read_record(folder), table).decode(errors="replace")
    if table is not None and form == "json":
        return in_json(read_document(folder))
    return read_result(folder, name).decode(errors="replace")


def has_text(folder: Path, form: str) -> bool:
    """Whether `leaderboard_text` has the form; a folder with leaderboard.json alone is a run as well."""
    return (
        form == "json"
        or (folder / f"{LEADERBOARD}.{form}").exists()
        or (form == "csv" and _table_alone(folder) is not None)
    )


def read_robustness(folder: Path) -> Robustness:
    """A run's robustness table; raises BenchError where it has none."""
    name = f"{ROBUSTNESS}.json"
    if not (folder / name).exists():
        raise BenchError(f"{folder}: nothing was attacked in this run (bench run --attacks …)")
    try:
        document = json.loads(read_result(folder, name))
    except (ValueError, RecursionError) as error:
        raise BenchError(f"{folder / name} cannot be read ({error}); run again") from error
    return Robustness.from_document(document, str(folder / name))


def _checked(document: dict[str, Any], path: Path) -> dict[str, Any]:
    try:
        DocumentFile.model_validate(document)
    except ValidationError as error:
        raise BenchError(
            f"{path}: {first_fault(error)}; made by another version or changed: run the same bench run again"
        ) from error
    return document


def _table_alone(folder: Path) -> str | None:
    """The table's file, where the folder keeps that and run.json without leaderboard.json."""
    if (folder / f"{LEADERBOARD}.json").exists() or not (folder / RUN).exists():
        return None
    return next((name for name in (f"{LEADERBOARD}.csv", PACKED) if (folder / name).exists()), None)


def _of_table(folder: Path, name: str) -> dict[str, Any]:
    record = read_record(folder)
    try:
        data = io.BytesIO(_table_bytes(folder, record, name))
        frame = pd.read_csv(data, keep_default_na=True).astype(object)
    except ValueError as error:
        raise BenchError(f"{folder / name} cannot be read: {error}") from error
    document = {
        **{key: value for key, value in record.items() if key in DocumentFile.model_fields},
        "rows": [whole_row(row) for row in frame.to_dict("records")],
        "failures": [describe(failure_of(failure)) for failure in record["failures"]],
    }
    earlier = [] if "verdict" in frame.columns else [EARLIER]
    checked = _checked(document, folder / name)
    return {**checked, "notes": [*checked["notes"], *earlier]}


def _table_bytes(folder: Path, record: Mapping[str, Any], name: str) -> bytes:
    data = bound(folder, record, name)
    try:
        return unpacked(data, folder / name) if name.endswith(".gz") else data
    except (OSError, EOFError, zlib.error) as error:
        raise BenchError(f"{folder / name} cannot be read: {error}") from error


def unpacked(data: bytes, path: Path) -> bytes:
    """What gzip has packed; raises BenchError where it is larger than a table of that size may be."""
    most = most_unpacked(len(data))
    with gzip.GzipFile(fileobj=io.BytesIO(data)) as file:
        text = file.read(most + 1)
    if len(text) > most:
        raise BenchError(
            f"{path}: unpacked it is larger than {most >> 20:,} MiB, which no table of its size is"
        )
    return text


_TEXT = ("reason", "breakdown", "column", "title", "unit")
_WHOLE = ("images", "prompts", "missing", "pairs", "rank", "rank_low", "rank_high", "gap_pairs")


def whole_row(row: Mapping[Any, Any]) -> dict[str, Any]:
    """A row with every column that this version knows: None where it has no value."""
    found = {column: _known(row.get(column)) for column in COLUMNS}
    for column in _TEXT:
        found[column] = found[column] or ""
    for column in _WHOLE:
        found[column] = None if found[column] is None else int(found[column])
    return found | {
        "best": bool(found["best"]),
        "second": bool(found["second"]),
        "headline": bool(found["headline"]),
    }


def _known(value: Any) -> Any:
    return None if isinstance(value, float) and math.isnan(value) else value
