"""Which rows and columns of a board are shown, in which order, with how many decimals.

What is left out changes nothing of what is shown: numbers, marks and verdicts are those of the whole run.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import Any

from erasure_bench.bench.reporting.aspects import ASPECTS, COST, aspect_of_row
from erasure_bench.bench.reporting.board import COSTS, Board, Json
from erasure_bench.errors import BenchError, UnknownName

ROWS, COLUMNS, SORT, DIGITS, CONCEPTS = "--rows", "--columns", "--sort", "--digits", "--concepts"
BY_NAME = "method"
MOST_DIGITS = 10
LEFT_OUT = "Rows of the run that are not shown count in its marks and places: {}."


@dataclass(frozen=True, kw_only=True)
class Selection:
    """What the user asks for; empty: all.

    `rows` are methods, as patterns such as `esd-*`, in their order. `columns` name roles, evaluators,
    metrics, ROLE:METRIC, EVALUATOR.METRIC, aspects, `cost` or a cost. `sort` is one column, the best first,
    or `method`.
    """

    rows: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()
    sort: str | None = None
    digits: int | None = None
    concepts: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return self != Selection()


def selected(board: Board, asked: Selection) -> Board:
    """The board with what is asked for alone. Raises BenchError for names that are not in it."""
    if asked.digits is not None and not 0 <= asked.digits <= MOST_DIGITS:
        raise BenchError(f"{DIGITS} {asked.digits}: valid: 0 to {MOST_DIGITS}")
    methods = _rows(board, asked.rows) if asked.rows else board.methods
    methods = _sorted(board, methods, asked.sort) if asked.sort else methods
    kept = replace(
        board,
        methods=methods,
        rows=tuple(row for row in board.rows if row["method"] in methods),
        maxima=tuple(one for one in board.maxima if one["method"] in methods),
        digits=asked.digits,
        concepts=_concepts(board, asked.concepts) if asked.concepts else board.concepts,
    )
    if asked.columns:
        kept = _columns(kept, asked.columns)
    if hidden := [name for name in board.methods if name not in methods and name != board.baseline]:
        note = LEFT_OUT.format(", ".join(hidden))
        kept = replace(kept, notes=(note, *kept.notes), cautions=(note, *kept.cautions))
    return kept


def _rows(board: Board, patterns: Sequence[str]) -> tuple[str, ...]:
    found: dict[str, None] = {}
    for pattern in patterns:
        like = [name for name in board.methods if name == pattern or fnmatchcase(name, pattern)]
        if not like:
            raise UnknownName("row", pattern, board.methods, ROWS)
        found |= dict.fromkeys(like)
    return tuple(found)


def _concepts(board: Board, names: Sequence[str]) -> tuple[str, ...]:
    if tuple(names) == ("all",):
        return board.concepts
    for name in names:
        if name not in board.concepts:
            raise UnknownName("concept", name, board.concepts, CONCEPTS)
    return tuple(names)


def _columns(board: Board, patterns: Sequence[str]) -> Board:
    """With the patterns' columns, in their order; what is asked for by its metric need be no headline."""
    rows: list[Json] = []
    taken: set[int] = set()
    costs: dict[str, None] = {}
    for pattern in patterns:
        like = [
            (place, row if row["headline"] or row.get("breakdown") else {**row, "headline": True})
            for place, row in enumerate(board.rows)
            if matches(row, pattern)
        ]
        own = [name for name in COSTS if pattern == COST or fnmatchcase(name, pattern)]
        if not like and not own:
            raise UnknownName("column", pattern, known_columns(board.rows), COLUMNS)
        rows += [row for place, row in like if place not in taken]
        taken |= {place for place, _ in like}
        costs |= dict.fromkeys(own)
    maxima = [
        one
        for one in board.maxima
        if any((row["evaluator"], row["role"]) == (one["evaluator"], one["role"]) for row in rows)
    ]
    return replace(board, rows=tuple(rows), costs=tuple(costs), maxima=tuple(maxima))


def matches(row: Json, pattern: str) -> bool:
    """Whether a row is of a column that the pattern names."""
    role, evaluator, metric = row["role"], row["evaluator"], row["metric"]
    single = (metric, f"{evaluator}.{metric}", f"{role}:{metric}", f"{role}:{evaluator}.{metric}")
    if any(fnmatchcase(name, pattern) for name in single):
        return True
    several = (role, evaluator, f"{role}:{evaluator}", aspect_of_row(row))
    return bool(row["headline"]) and any(fnmatchcase(name, pattern) for name in several)


def known_columns(rows: Iterable[Json]) -> list[str]:
    """The names that `matches` knows."""
    parts = [
        {row["role"] for row in rows},
        {f"{row['role']}:{row['metric']}" for row in rows},
        {row["evaluator"] for row in rows},
        {row["metric"] for row in rows},
        {*ASPECTS, COST, *COSTS},
    ]
    return sorted(set().union(*parts))


def _sorted(board: Board, methods: Sequence[str], by: str) -> tuple[str, ...]:
    """The best first; behind them the collapsed, those that lack scores, and those without a number. The base
    model's row stays at the top."""
    key: Any
    if by == BY_NAME:
        key = str.casefold
    elif by in COSTS:
        cost = {row["method"]: row[by] for row in board.rows if row["scope"] == "overall"}

        def key(method: str) -> tuple[bool, float]:
            found = cost.get(method)
            return (True, 0.0) if found is None else (False, float(found))
    else:
        column = _column(board, by)

        def key(method: str) -> tuple[bool, bool, float]:
            row = column.get(method)
            if row is None or row["value"] is None:
                return True, True, 0.0
            sign = -1.0 if row["better"] == "higher" else 1.0
            return False, bool(row.get("collapsed")) or row["status"] != "ok", sign * row["value"]

    return tuple(sorted(methods, key=lambda method: (method != board.baseline, key(method))))


def _column(board: Board, by: str) -> dict[str, Json]:
    """The rows of one overall column by method: the first that the pattern names."""
    overall = [row for row in board.rows if row["scope"] == "overall"]
    like = [row for row in overall if matches(row, by)]
    if not like:
        raise UnknownName("column", by, [BY_NAME, *known_columns(overall)], SORT)
    first = (like[0]["role"], like[0]["evaluator"], like[0]["metric"])
    return {row["method"]: row for row in like if (row["role"], row["evaluator"], row["metric"]) == first}
