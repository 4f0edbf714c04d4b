"""Ratings that people made elsewhere: a CSV file, checked line by line.

Before the columns' titles may stand lines `# name: NAME` and `# metric: NAME:DIRECTION:MIN:MAX[:TITLE]`. A
row is one rater's rating of one picture: the picture by `picture` (its id in the form of `bench score
--template`), or by `method` and `prompt_id`, with `concept`, `seed` and `image_index` where there are
several; `metric` where there are several; `rater` where there are several; and the `value`, empty where
there is none.
"""

import csv
import hashlib
import io
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, get_args

from erasure_bench.errors import BenchError, UnknownName, said
from erasure_bench.evaluators.base import Direction, Metric, by_role
from erasure_bench.prompt_suites.hostile import seed_trouble
from erasure_bench.prompt_suites.suite import MAX_SEED

PICTURE, VALUE, METRIC, RATER = "picture", "value", "metric", "rater"
PLACE = ("method", "concept", "seed", "prompt_id", "image_index")
"""The columns that name a picture without its id."""
FOR_PEOPLE = ("image", "prompt", "role")
"""Columns of the form that nothing is read from."""
COLUMNS = (PICTURE, *PLACE, METRIC, RATER, VALUE)
NOT_TABLED = "-"
FORM = "NAME:DIRECTION:MIN:MAX, such as quality:higher:1:5 or shows_it:lower/-:0:1"
_COMMENT = "#"
_LONGEST_NAME = 60
_MOST_COLUMNS = 200


class Rating(NamedTuple):
    """One row: where it stands in the file, what it rates, who rated it ("" for nobody named), and how."""

    line: int
    place: Mapping[str, str]
    metric: str
    rater: str
    value: float


@dataclass(frozen=True, kw_only=True)
class RatingFile:
    """A file of ratings: `data` as it was read, `declared` what flags said of it, `ignored` columns."""

    path: Path
    name: str
    data: bytes
    declared: tuple[str, ...]
    metrics: tuple[Metric, ...]
    ratings: tuple[Rating, ...]
    empty: int
    ignored: tuple[str, ...]

    @property
    def sha256(self) -> str:
        """Of the file."""
        return hashlib.sha256(self.data).hexdigest()


def read_ratings(
    path: Path, name: str | None = None, declared: Sequence[str] = (), data: bytes | None = None
) -> RatingFile:
    """The ratings in a file, or in its bytes `data`. `declared` are metrics as `parse_metric` takes them.

    Metrics that are declared go before those of the file. Raises BenchError that names line and column.
    """
    if data is None:
        try:
            data = path.read_bytes()
        except OSError as error:
            raise BenchError(f"--scores {path}: {error.strerror or error}") from error
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise BenchError(f"{path}: line {line}: no UTF-8: save it as CSV in UTF-8") from error
    head, titles_at = _head(path, text)
    metrics = [parse_metric(word, "--metric") for word in declared] or head.metrics
    if not metrics:
        raise BenchError(f"{path}: no metric is declared: add a line '# metric: …' or --metric ({FORM})")
    if doubled := [name for name, times in Counter(metric.name for metric in metrics).items() if times > 1]:
        raise BenchError(f"{path}: metric {min(doubled)!r} is declared twice")
    chosen = checked_name(name or head.name or path.stem, "--name" if name else str(path))
    rows = list(_rows(path, text, titles_at))
    known = {metric.name: metric for metric in metrics}
    ratings, empty = [], 0
    for line, row in rows:
        found = _rating(path, line, row, known)
        if found is None:
            empty += 1
        else:
            ratings.append(found)
    ignored = tuple(title for title in (rows[0][1] if rows else ()) if title not in (*COLUMNS, *FOR_PEOPLE))
    return RatingFile(
        path=path,
        name=chosen,
        data=data,
        declared=tuple(declared),
        metrics=tuple(metrics),
        ratings=tuple(ratings),
        empty=empty,
        ignored=ignored,
    )


def checked_name(name: str, where: str) -> str:
    """A name for a column of tables. Raises BenchError for one that is none."""
    if not name.strip() or not name.isprintable() or len(name) > _LONGEST_NAME or set(name) & set(",@:/\\"):
        raise BenchError(
            f"{where}: {name!r} is no name for ratings: up to {_LONGEST_NAME} printable characters without "
            ", @ : / \\ (--name)"
        )
    return name.strip()


def parse_metric(word: str, where: str) -> Metric:
    """A metric from NAME:DIRECTION:MIN:MAX[:TITLE].

    DIRECTION is `lower`, `higher` or `neither` for every role, or two of them, or `-`, apart by a slash: for
    roles that should lose the concept and for those that should keep their own. With `-` no table has it.
    Raises BenchError.
    """
    name, _, rest = word.partition(":")
    way, _, rest = rest.partition(":")
    low, _, rest = rest.partition(":")
    high, _, title = rest.partition(":")
    ways = [each.strip() for each in way.split("/")]
    try:
        bounds = float(low), float(high)
        good = bounds[0] < bounds[1]  # false for NaN, too
    except ValueError:
        good = False
    valid = (*get_args(Direction), NOT_TABLED)
    if not name.strip() or not good or len(ways) > 2 or any(each not in valid for each in ways):
        raise BenchError(f"{where} {word!r}: write it as {FORM} (directions: {', '.join(valid)})")
    erased, kept = (None if each == NOT_TABLED else each for each in (ways[0], ways[-1]))
    name = name.strip()
    return Metric(name, title.strip() or name, "rating", bounds, by_role(erased, kept))  # type: ignore[arg-type]


class _Head(NamedTuple):
    name: str | None
    metrics: list[Metric]


def _head(path: Path, text: str) -> tuple[_Head, int]:
    """What stands before the columns' titles, and how many lines that are."""
    name, metrics, lines = None, [], 0
    for number, line in enumerate(text.splitlines(), 1):
        word = line.strip().strip('"').rstrip(",;\t").strip()
        if word and not word.startswith(_COMMENT):
            break
        lines = number
        key, colon, value = word.lstrip("# ").partition(":")
        if colon and key.strip() == "name":
            name = value.strip()
        elif colon and key.strip() == METRIC:
            metrics.append(parse_metric(value.strip(), f"{path}: line {number}:"))
    return _Head(name, metrics), lines


def _rows(path: Path, text: str, titles_at: int) -> Iterator[tuple[int, dict[str, str]]]:
    """Each row by the columns' titles, with the line on which it begins."""
    lines = text.splitlines(keepends=True)[titles_at:]
    if not lines:
        raise BenchError(
            f"{path}: no columns: it needs the titles {VALUE} and {PICTURE}, or {', '.join(PLACE)}"
        )
    separator = max(",;\t", key=lines[0].count)
    reader = csv.reader(io.StringIO("".join(lines)), delimiter=separator, strict=True)
    begins = titles_at + 1
    titles: list[str] = []
    try:
        for cells in reader:
            line, begins = begins, titles_at + reader.line_num + 1
            if not titles:
                titles = _titles(path, line, cells)
            elif any(cell.strip() for cell in cells):
                if len(cells) != len(titles):
                    raise BenchError(f"{path}: line {line}: {len(cells)} cells under {len(titles)} titles")
                yield line, dict(zip(titles, (cell.strip() for cell in cells), strict=True))
    except csv.Error as error:
        raise BenchError(f"{path}: line {begins}: {error}") from error


def _titles(path: Path, line: int, cells: Sequence[str]) -> list[str]:
    titles = [cell.strip().lower() for cell in cells]
    where = f"{path}: line {line}"
    if len(titles) > _MOST_COLUMNS:
        raise BenchError(f"{where}: {len(titles):,} columns are no ratings: at most {_MOST_COLUMNS}")
    if doubled := next((title for title in titles if titles.count(title) > 1), None):
        raise BenchError(f"{where}: two columns are called {doubled!r}")
    needed = (VALUE,) if PICTURE in titles else (VALUE, "method", "prompt_id")
    for title in needed:
        if title not in titles:
            raise UnknownColumn(where, title, titles)
    return titles


class UnknownColumn(BenchError):
    """A column that a file of ratings needs and has not."""

    def __init__(self, where: str, title: str, titles: Sequence[str]) -> None:
        super().__init__(
            f"{where}: no column {title!r}; there are: {', '.join(titles)}; a picture is named by {PICTURE}, "
            f"or by method and prompt_id with concept, seed, image_index where there are several"
        )


def _rating(path: Path, line: int, row: Mapping[str, str], known: Mapping[str, Metric]) -> Rating | None:
    """None where the row has no value."""
    name = row.get(METRIC, "")
    where = f"{path}: line {line}, column"
    if not name:
        if len(known) > 1:
            raise BenchError(f"{where} {METRIC}: is empty; valid: {', '.join(known)}")
        (name,) = known
    if name not in known:
        raise UnknownName(f"metric in {where} {METRIC}:", name, known, "# metric: or --metric")
    for column in ("seed", "image_index"):
        if (text := row.get(column)) and seed_trouble(text):
            raise BenchError(f"{where} {column}: {said(text)!r} is no whole number from 0 to {MAX_SEED}")
    text = row[VALUE]
    if not text:
        return None
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise BenchError(f"{where} {VALUE}: {text!r} is no number; leave it empty where there is no rating")
    low, high = known[name].bounds
    if not low <= value <= high:
        raise BenchError(f"{where} {VALUE}: {text} is outside of [{low:g}, {high:g}], the bounds of {name}")
    place = {key: row[key] for key in (PICTURE, *PLACE) if row.get(key)}
    return Rating(line, place, name, row.get(RATER, ""), value)
