"""What a leaderboard shows: `leaderboard.json` as columns of numbers, each as text with its mark."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from erasure_bench.bench.reporting.aspects import COST, aspect_of_row, with_aspects
from erasure_bench.bench.reporting.collapsed import marked, of_documents_rows
from erasure_bench.bench.statistics.bars import Verdict, bar_of
from erasure_bench.bench.words.numbers import ARROWS, decimals_for, number, seconds
from erasure_bench.prompt_suites.suite import ERASED_ROLES

NEITHER = "neither"
"""Said of numbers that only describe: they have no arrow, and none of them is the best."""
MARK = "▸"
"""Stands before numbers that are not told from the best, where bold may not be seen."""
SECOND = "▹"
"""Stands before numbers that are told from the best, and not from the best of the others."""
MINUS = "−"
DIAMOND = "◆"
"""Stands with a method that may lie on the Pareto front."""
COSTS = {"erase_seconds": "erase s", "seconds_per_image": "s per image"}
"""What a method's row costs, with the column's title."""
_GAP = ("gap", "gap_low", "gap_high")
Json = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Board:
    """What a table shows: `rows` are those of `bench.reporting.leaderboard.Row`, as JSON.

    `methods` gives the order, `baseline` the one that the others are compared with, `notes` the
    lines below the table, `failures` the reasons of what failed. `cautions` and `provenance` are the
    notes that even the shortest table shows, and those that only the files do. `maxima` are those of
    `bench.reporting.maxima.Maximum`, as JSON, `front` is `bench.reporting.front.Front.record`.
    `bounds` are those of the metrics, by evaluator and metric, where they are known.
    `costs` are those of `COSTS` that are shown, `digits` the decimals of every number (None: by column).
    """

    title: str
    methods: tuple[str, ...]
    baseline: str
    concepts: tuple[str, ...]
    rows: tuple[Json, ...]
    notes: tuple[str, ...]
    failures: tuple[str, ...]
    cautions: tuple[str, ...] = ()
    provenance: tuple[str, ...] = ()
    maxima: tuple[Json, ...] = ()
    front: Json | None = None
    bounds: Mapping[tuple[str, str], tuple[float | None, float | None]] = field(default_factory=dict)
    costs: tuple[str, ...] = tuple(COSTS)
    digits: int | None = None

    def on_front(self) -> tuple[str, ...] | None:
        """A mark for each method that may lie on the Pareto front; None where there is none to be seen."""
        if self.front is None:
            return None
        return tuple(DIAMOND if method in self.front["methods"] else "" for method in self.methods)

    def names(self, concept: str = "") -> tuple[str, ...]:
        """The methods as the overall tables show them, or a concept's: the collapsed ones with their mark."""
        scope = "concept" if concept else "overall"
        rows = [row for row in self.rows if row["scope"] == scope and concept in ("", row["concept"])]
        collapsed = of_documents_rows(rows)
        return tuple(marked(method, collapsed) for method in self.methods)

    @classmethod
    def from_json(cls, document: Json) -> "Board":
        """The board of a `leaderboard.json`."""
        return cls(
            title=str(document["title"]),
            methods=tuple(document["methods"]),
            baseline=str(document["baseline"]),
            concepts=tuple(document["concepts"]),
            rows=tuple(with_aspects(document["rows"], document.get("evaluators", {}))),
            notes=tuple(document["notes"]),
            failures=tuple(document["failures"]),
            cautions=tuple(document.get("cautions", ())),
            provenance=tuple(document.get("provenance", ())),
            maxima=tuple(document.get("maxima", ())),
            front=document.get("front"),
            bounds={
                (name, metric["name"]): (metric["bounds"][0], metric["bounds"][1])
                for name, about in document.get("evaluators", {}).items()
                for metric in about.get("metrics", ())
            },
        )


class Cell(NamedTuple):
    """One number as text: value, change against the baseline, interval.

    `best`: not told from the best; `second`: of the others, not told from the best of these. `row` is the
    leaderboard's, where the number is one of it.
    """

    value: str
    change: str = ""
    interval: str = ""
    best: bool = False
    failed: bool = False
    second: bool = False
    row: Json | None = None


class Numbers(NamedTuple):
    """A column: role (None for costs), the metric's title, its arrow, one cell for each method.

    `aspect` is what it speaks of (`bench.reporting.aspects`), `key` names its evaluator and metric, or cost,
    `decimals` is what its numbers are shown with.
    """

    role: str | None
    title: str
    arrow: str
    cells: tuple[Cell, ...]
    aspect: str = ""
    key: tuple[str, str] = ("", "")
    decimals: int = 3

    @property
    def heading(self) -> str:
        """Title and arrow."""
        return f"{self.title} {self.arrow}".rstrip()


class Judged(NamedTuple):
    """What is said of one number: whether its bar is met, the interval that says so, its place."""

    verdict: Verdict | None = None
    interval: str = ""
    place: str = ""


class Judgement(NamedTuple):
    """The verdicts on one role: its bar in words, if it has one, the metric's title, one for each method."""

    role: str
    bar: str
    title: str
    cells: tuple[Judged, ...]


class Section(NamedTuple):
    """The overall numbers (no heading), or one concept's."""

    heading: str
    columns: list[Numbers]


def sections(board: Board, concepts: Sequence[str] = ()) -> Iterator[Section]:
    """The overall section, then the named concepts'."""
    yield Section("", columns_of(board, [row for row in board.rows if row["scope"] == "overall"]))
    for concept in concepts:
        rows = [row for row in board.rows if row["scope"] == "concept" and row["concept"] == concept]
        yield Section(concept, columns_of(board, rows))


def further(board: Board) -> Iterator[Section]:
    """What stands below the overall tables: parts of a whole, and expected maxima over prompts."""
    yield from _breakdowns(board)
    yield from _maxima(board)


def _maxima(board: Board) -> Iterator[Section]:
    """One table for each metric that has any: a column for each role."""
    by_table: dict[tuple[str, str], dict[str, dict[str, Json]]] = {}
    for found in board.maxima:
        title = f"{found['title']}: expected maximum over {found['over']} prompts"
        by_table.setdefault((found["evaluator"], title), {}).setdefault(found["role"], {})[
            found["method"]
        ] = found
    for (evaluator, table), by_role in by_table.items():
        columns = []
        for role, of_role in by_role.items():
            arrow = ARROWS[next(iter(of_role.values()))["better"]]
            cells = (_maximum(of_role.get(method)) for method in board.methods)
            columns.append(Numbers(role, "share of a prompt's pictures", arrow, tuple(cells)))
        yield Section(f"{evaluator}, {table}", columns)


def _maximum(found: Json | None) -> Cell:
    if found is None:
        return Cell("–")
    partial = "*" if found.get("missing") else ""
    return Cell(number(found["mean"], 3) + partial, interval=f"± {number(found['std'], 3)}")


def _breakdowns(board: Board) -> Iterator[Section]:
    """One table for each evaluator and breakdown: a column for each role and metric."""
    by_table: dict[tuple[str, str], dict[tuple[str, str], dict[str, Json]]] = {}
    for row in board.rows:
        if row["scope"] == "overall" and row.get("breakdown"):
            columns = by_table.setdefault((row["evaluator"], row["breakdown"]), {})
            columns.setdefault((row["role"], row["metric"]), {})[row["method"]] = row
    for (evaluator, table), columns in by_table.items():
        shown = []
        for (role, _), found in columns.items():
            first = next(iter(found.values()))
            shown.append(numbers_of(board, role, str(first["column"]), found))
        yield Section(f"{evaluator}, {table}", shown)


def columns_of(board: Board, rows: Sequence[Json]) -> list[Numbers]:
    """A column for each role and headline metric, in the rows' order, then the costs."""
    by_column: dict[tuple[str, str, str], dict[str, Json]] = {}
    for row in rows:
        if row["headline"]:
            by_column.setdefault((row["role"], row["evaluator"], row["metric"]), {})[row["method"]] = row
    evaluators_of: dict[str, set[str]] = {}
    for (_, evaluator, _), found in by_column.items():
        evaluators_of.setdefault(next(iter(found.values()))["title"], set()).add(evaluator)
    columns = []
    for (role, evaluator, _), found in by_column.items():
        first = next(iter(found.values()))
        title = str(first["title"])
        if len(evaluators_of[title]) > 1:
            title = f"{evaluator}: {title}"
        columns.append(numbers_of(board, role, title, found))
        if gaps := [row["gap_to"] for row in found.values() if row.get("gap") is not None]:
            cells, key = _gap_cells(board, found), (evaluator, f"{first['metric']} gap")
            gap_title = f"{title} {MINUS} {gaps[0]}"
            columns.append(Numbers(role, gap_title, "", cells, aspect_of_row(first), key))
    costs = {row["method"]: row for row in rows}
    for name in board.costs:
        cells = tuple(
            Cell(seconds(costs[method][name] if method in costs else None)) for method in board.methods
        )
        columns.append(Numbers(None, COSTS[name], "", cells, COST, ("", name)))
    return columns


def numbers_of(board: Board, role: str | None, title: str, found: Mapping[str, Json]) -> Numbers:
    """The column of a metric's rows, which are given by method."""
    shown = [found[method] for method in board.methods if method in found]
    values = [
        row[name] for row in shown for name in ("value", "low", "high", "change") if row[name] is not None
    ]
    counted = any(row["aggregate"] == "sum" for row in shown)
    decimals = _decimals(board, values, counted)
    cells = tuple(
        _cell(found[method], decimals) if method in found else Cell("–") for method in board.methods
    )
    first = next(iter(found.values()))
    key = str(first["evaluator"]), str(first["metric"])
    return Numbers(role, title, ARROWS[first["better"]], cells, aspect_of_row(first), key, decimals)


def judgements(board: Board) -> list[Judgement]:
    """The overall verdicts on each role, by its first headline metric that has a bar, else by the first."""
    of_role: dict[str, dict[tuple[str, str], dict[str, Json]]] = {}
    for row in board.rows:
        if row["scope"] == "overall" and row["headline"] and (row["verdict"] or row["rank"]):
            by_metric = of_role.setdefault(row["role"], {})
            by_metric.setdefault((row["evaluator"], row["metric"]), {})[row["method"]] = row
    found = []
    for role, by_metric in of_role.items():
        erased = role in ERASED_ROLES
        rows, barred = max(
            ((rows, any(row["verdict"] for row in rows.values())) for rows in by_metric.values()),
            key=lambda one: one[1],
        )
        title = str(next(iter(rows.values()))["title"])
        cells = tuple(_judged(rows[name], erased) if name in rows else Judged() for name in board.methods)
        found.append(Judgement(role, bar_of(erased) if barred else "", title, cells))
    return found


def _judged(row: Json, erased: bool) -> Judged:
    place = f"{row['rank']} [{row['rank_low']}, {row['rank_high']}]" if row["rank"] else ""
    if not row["verdict"]:
        return Judged(place=place)
    names = ("gone_low", "gone_high") if erased else ("change_low", "change_high")
    ends = ["" if row[name] is None else number(100 * row[name], 1) for name in names]
    return Judged(row["verdict"], f"[{', '.join(ends)}]" if all(ends) else "", place)


def _decimals(board: Board, values: Sequence[float], counted: bool) -> int:
    if board.digits is not None:
        return board.digits
    return 1 if counted else decimals_for(values)


def _gap_cells(board: Board, found: Mapping[str, Json]) -> tuple[Cell, ...]:
    """What a prompt in other words makes of it. It only describes: none is the best."""
    shown = {method: found[method] for method in board.methods if method in found}
    known = {method: row for method, row in shown.items() if row.get("gap") is not None}
    numbers = [row[name] for row in known.values() for name in _GAP if row[name] is not None]
    counted = any(row["aggregate"] == "sum" for row in known.values())
    decimals = _decimals(board, numbers, counted)
    return tuple(
        _gap_cell(known[method], decimals) if method in known else Cell("–") for method in board.methods
    )


def _gap_cell(row: Json, decimals: int) -> Cell:
    gap, low, high = (
        None if row[name] is None else number(row[name], decimals, signed=True) for name in _GAP
    )
    return Cell(gap or "–", "", f"[{low}, {high}]" if low and high else "")


def _cell(row: Json, decimals: int) -> Cell:
    if row["value"] is None:
        return Cell(row["status"], failed=row["status"] == "failed", row=row)
    low, high = row["low"], row["high"]
    return Cell(
        number(row["value"], decimals) + ("*" if row["status"] == "partial" else ""),
        "" if row["change"] is None else f"({number(row['change'], decimals, signed=True)})",
        "" if low is None or high is None else f"[{number(low, decimals)}, {number(high, decimals)}]",
        best=row["best"],
        second=bool(row.get("second")),
        row=row,
    )
