"""Rows of prompts as files hold them: CSV with a header, one prompt a line, or a JSON object of lists."""

import csv
import io
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import NamedTuple

from erasure_bench.errors import BenchError
from erasure_bench.prompt_suites.hostile import LONGEST, trouble
from erasure_bench.prompt_suites.schema import COLUMNS
from erasure_bench.users_text import decoded

PROMPT = "prompt"
NUMBERS = frozenset({"seed", "guidance_scale", "height", "width", "images_per_prompt"})
MOST_ROWS = 200_000
"""Of one file: each takes about a kilobyte of memory."""


class Row(NamedTuple):
    """Cells by column, the number of the row (from 0) and where it stands, for errors: `prompts.csv:7`."""

    cells: Mapping[str, str]
    number: int
    where: str


def rows_of(name: str, content: bytes, *, own: bool) -> list[Row]:
    """The rows of a file by its name's ending: .csv, .txt or .json.

    `own`: a file of the user's, in which every column has to be one that a suite knows and every cell one
    line of plain text. Upstream's files are pinned and taken as they are.
    Raises BenchError that names file and line.
    """
    text = decoded(content, name)
    if name.endswith(".txt"):
        whole = text.replace("\r\n", "\n").split("\n")
        lines = ((number, line) for number, line in enumerate(whole, 1) if line.strip())
        found: Iterator[Row] = (
            Row({PROMPT: line}, place, f"{name}:{number}") for place, (number, line) in enumerate(lines)
        )
    elif name.endswith(".json"):
        found = _json_rows(name, text)
    elif name.endswith(".csv"):
        found = _csv_rows(name, text, own)
    else:
        raise BenchError(f"{name}: a file of prompts ends in .csv, .txt or .json")
    rows = list(islice(found, MOST_ROWS + 1))
    if not rows:
        raise BenchError(f"{name}: holds no prompts")
    if len(rows) > MOST_ROWS:
        raise BenchError(f"{name}: holds more than {MOST_ROWS:,} prompts")
    if own:
        for row in rows:
            check_cells(row)
    return rows


def check_cells(row: Row) -> None:
    """Raises BenchError for a cell that is no plain text in one line."""
    for column, cell in row.cells.items():
        number = column in NUMBERS and len(cell) <= LONGEST  # whose own checks say what is valid
        if not number and (why := trouble(cell)):
            raise BenchError(f"{row.where}: {column}: {why}")


def _csv_rows(name: str, text: str, own: bool) -> Iterator[Row]:
    # The module's own limit would end in a message without a line; each cell is held against LONGEST.
    csv.field_size_limit(sys.maxsize)
    reader = csv.reader(io.StringIO(text, newline=""), strict=own)
    header: list[str] | None = None
    number = before = 0
    try:
        for fields in reader:
            line, before = before + 1, reader.line_num
            where = f"{name}:{line}"
            if own and not any(field.strip() for field in fields):
                continue
            if header is None:
                header = _header(where, fields, own)
                continue
            if own:
                _check_fields(where, fields, header)
            yield Row(dict(zip(header, fields, strict=False)), number, where)
            number += 1
    except csv.Error as error:
        raise BenchError(f"{name}:{before + 1}: is no CSV: {error}") from error


def _header(where: str, fields: Sequence[str], own: bool) -> list[str]:
    names = [field.strip() for field in fields]
    if not own:
        return list(fields)
    if len(names) == 1 and any(mark in names[0] for mark in ";\t"):
        raise BenchError(f"{where}: one column, {names[0]!r}: columns are separated by commas")
    for name in names:
        if name not in COLUMNS:
            raise BenchError(f"{where}: no column {name!r} is known: valid: {', '.join(COLUMNS)}")
        if names.count(name) > 1:
            raise BenchError(f"{where}: column {name!r} is there twice")
    if PROMPT not in names:
        raise BenchError(f"{where}: no column prompt; found: {', '.join(names)}")
    return names


def _check_fields(where: str, fields: Sequence[str], header: Sequence[str]) -> None:
    if len(fields) != len(header):
        raise BenchError(
            f"{where}: {len(fields)} cells under {len(header)} columns: a cell with a comma goes in quotes"
        )
    for column, field in zip(header, fields, strict=True):
        if len(field) > LONGEST:
            raise BenchError(
                f"{where}: {column}: {len(field):,} characters are too many: at most {LONGEST:,}"
            )


def _json_rows(name: str, text: str) -> Iterator[Row]:
    """`{"cat": ["feline", "kitty"]}`: a row for each item of the lists, its key in the column `key`."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise BenchError(f"{name}: is no JSON: {error}") from error
    if not isinstance(found, dict) or not all(isinstance(items, list) for items in found.values()):
        raise BenchError(f"{name}: is no JSON object of lists")
    pairs = ((key, item) for key, items in found.items() for item in items)
    for number, (key, item) in enumerate(pairs):
        if not isinstance(item, str):
            raise BenchError(f"{name} ({key}): {json.dumps(item)[:60]} is no text: write it in quotes")
        yield Row({"key": key, PROMPT: item}, number, f"{name} ({key})")
