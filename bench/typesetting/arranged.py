"""A board in a layout: panels of columns, which every format writes in its own way."""

from collections.abc import Iterable, Sequence
from statistics import median
from typing import NamedTuple

from erasure_bench.bench.reporting.aspects import ASPECTS, COST
from erasure_bench.bench.reporting.board import (
    DIAMOND,
    Board,
    Cell,
    Json,
    Judgement,
    Numbers,
    further,
    judgements,
    numbers_of,
    sections,
)
from erasure_bench.bench.reporting.collapsed import DAGGER
from erasure_bench.bench.statistics.best import ALPHA
from erasure_bench.bench.statistics.detectable import POWER
from erasure_bench.bench.statistics.intervals import CONFIDENCE
from erasure_bench.bench.typesetting.layout import Field, Layout
from erasure_bench.bench.typesetting.total import harmonic_column, total_column, total_note
from erasure_bench.bench.words.numbers import number
from erasure_bench.errors import BenchError
from erasure_bench.evaluators.instances import instance

VERDICTS, FRONT, TOTAL = "verdicts", "front", "total"
DETECTABLE = "detectable"
"""Names the last line of a table: the smallest change that so many prompts find, median over the methods."""


class Panel(NamedTuple):
    """One table: a line for each of `names`, the base model's at `base` (None: it is not there).

    `concept` is empty where it is of all. `detectable` has a text for each column, empty where nothing is
    known; the whole is empty where nothing is of any.
    """

    heading: str
    names: tuple[str, ...]
    columns: tuple[Numbers, ...]
    base: int | None
    concept: str = ""
    detectable: tuple[str, ...] = ()

    @property
    def groups(self) -> list[tuple[str, list[int]]]:
        """Neighbouring columns of one group: its name and their places."""
        found: list[tuple[str, list[int]]] = []
        for place, column in enumerate(self.columns):
            name = column.role or ""
            if found and found[-1][0] == name:
                found[-1][1].append(place)
            else:
                found.append((name, [place]))
        return found


class Arranged(NamedTuple):
    """What is written: `notes` say what to know of the run, `lacking` what of the paper's table is not there.

    `name` is the layout's, `methods` are those of the lines.
    """

    name: str
    title: str
    panels: tuple[Panel, ...]
    methods: tuple[str, ...]
    lacking: tuple[str, ...]
    notes: tuple[str, ...]
    provenance: tuple[str, ...]
    failures: tuple[str, ...]

    @property
    def legend(self) -> tuple[str, ...]:
        """How to read the panels."""
        return tuple(legend(self.panels))

    @property
    def below(self) -> tuple[str, ...]:
        """All lines below the tables but those of what failed."""
        return (*self.lacking, *self.notes, *self.provenance)


def arranged(board: Board, layout: Layout, concepts: Sequence[str] = (), *, total: bool = False) -> Arranged:
    """The board as the layout shows it, with the named concepts' own tables where it is the leaderboard.

    Raises BenchError where the run has none of a paper layout's columns.
    """
    if layout.columns:
        panel, lacking = _paper(board, layout)
        panels = [panel]
        if total:
            raise BenchError(f"--total is of the leaderboard, not of {layout.name}")
    else:
        panels, lacking = list(_leaderboard(board, concepts, total=total)), []
    notes = [note for note in board.notes if note not in board.provenance]
    notes = [total_note(board), *notes] if total else notes
    return Arranged(
        name=layout.name,
        title=f"{board.title}, {layout.title}" if layout.title else board.title,
        panels=tuple(panels),
        methods=board.methods,
        lacking=(*(f"Not shown of the paper's table: {line}" for line in layout.cannot_show), *lacking),
        notes=tuple(notes),
        provenance=board.provenance,
        failures=board.failures,
    )


def _leaderboard(board: Board, concepts: Sequence[str], *, total: bool) -> Iterable[Panel]:
    """Erasure, robustness, retention, quality and cost apart; verdicts; parts of a whole; the concepts'."""
    for heading, columns in sections(board, concepts):
        for aspect in (*ASPECTS, COST):
            if own := [column for column in columns if column.aspect == aspect]:
                yield _panel(board, f"{heading}: {aspect}" if heading else aspect, own, heading)
        if heading:
            continue
        if judged := list(_verdicts(board)):
            yield _panel(board, VERDICTS, judged)
        if total:
            yield _panel(board, TOTAL, [total_column(board)])
        for section in further(board):
            yield _panel(board, section.heading, section.columns)


def _verdicts(board: Board) -> Iterable[Numbers]:
    for judged in judgements(board):
        yield from _judged(judged)
    if front := board.on_front():
        yield Numbers(None, FRONT, "", tuple(map(Cell, front)))


def _judged(judged: Judgement) -> Iterable[Numbers]:
    if judged.bar:
        cells = (Cell(cell.verdict or "–", interval=cell.interval) for cell in judged.cells)
        yield Numbers(judged.role, f"{judged.title}: {judged.bar}", "", tuple(cells))
    places = tuple(Cell(cell.place or "–") for cell in judged.cells)
    yield Numbers(judged.role, "place" if judged.bar else f"{judged.title}: place", "", places)


def _paper(board: Board, layout: Layout) -> tuple[Panel, list[str]]:
    """The paper's columns, and which of them the run has not."""
    parts = board.concepts if layout.by == "concept" else ("",)
    columns, lacking = [], []
    for concept in parts:
        for field in layout.columns:
            rows = _rows(board, field, concept)
            if not rows:
                lacking.append(field)
                continue
            first = next(iter(rows.values()))
            group = concept or field.group or field.role
            stands_in = first["metric"] != field.metric
            heading = str(first["title"]) if stands_in else field.heading
            shown = numbers_of(board, group, heading, rows)
            columns.append(_in_percent(shown, board) if layout.show == "percent_of_base" else shown)
    if not columns:
        wanted = dict.fromkeys(f"{field.metric} of {field.evaluator}" for field in layout.columns)
        raise BenchError(
            f"--layout {layout.name}: this run has none of its columns: {', '.join(wanted)} "
            "(bench score RUN --evaluators NAME adds an evaluator)"
        )
    if layout.harmonic and len(columns) == len(layout.columns):
        columns.append(harmonic_column(board, layout.harmonic, columns))
    concept = board.concepts[0] if layout.by == "concept" and len(board.concepts) == 1 else ""
    missing = dict.fromkeys(f"{field.heading} ({field.role}, {field.evaluator})" for field in lacking)
    return _panel(board, "", columns, concept), (
        [f"Not measured in this run: {', '.join(missing)}."] if missing else []
    )


def _rows(board: Board, field: Field, concept: str) -> dict[str, Json]:
    """By method, of the run's first instance of the evaluator that measured it, or what stands in."""
    scope = "concept" if concept else "overall"
    of_role = [
        row
        for row in board.rows
        if row["scope"] == scope
        and concept in ("", row["concept"])
        and row["role"] == field.role
        and instance(row["evaluator"]).name == field.evaluator
    ]
    for metric in (field.metric, *field.instead):
        found: dict[str, dict[str, Json]] = {}
        for row in of_role:
            if row["metric"] == metric:
                found.setdefault(row["evaluator"], {})[row["method"]] = row
        if found:
            return next(iter(found.values()))
    return {}


def _in_percent(column: Numbers, board: Board) -> Numbers:
    """The paired change in percent of the base model's value on the same pictures, taken as it is."""
    decimals = 1 if board.digits is None else board.digits

    def shown(cell: Cell) -> Cell:
        row = cell.row
        if row is None or row["change"] is None or row["value"] is None:
            return Cell("–" if row is None or row["method"] == board.baseline else cell.value, row=row)
        base = row["value"] - row["change"]
        if base == 0:
            return Cell("–", row=row)
        value, low, high = (
            None if row[name] is None else number(100 * row[name] / base, decimals, signed=True)
            for name in ("change", "change_low", "change_high")
        )
        interval = f"[{low}, {high}]" if low and high else ""
        partial = "*" if row["status"] == "partial" else ""
        return Cell(f"{value}{partial}", "", interval, cell.best, cell.failed, cell.second, row)

    return column._replace(title=f"{column.title} (%)", cells=tuple(map(shown, column.cells)))


def _panel(board: Board, heading: str, columns: Sequence[Numbers], concept: str = "") -> Panel:
    base = board.methods.index(board.baseline) if board.baseline in board.methods else None
    found = tuple(_detectable(column, board) for column in columns)
    return Panel(heading, board.names(concept), tuple(columns), base, concept, found if any(found) else ())


def _detectable(column: Numbers, board: Board) -> str:
    known = [
        cell.row["detectable"]
        for cell in column.cells
        if cell.row is not None
        and cell.row["method"] != board.baseline
        and cell.row.get("detectable") is not None
    ]
    if not known or column.title.endswith("(%)"):
        return ""
    return number(median(known), column.decimals)


def legend(panels: Sequence[Panel]) -> Iterable[str]:
    """How to read the marks that the panels have."""
    cells = [cell for panel in panels for column in panel.columns for cell in column.cells]
    if any(column.arrow for panel in panels for column in panel.columns):
        yield "↓: lower, ↑: higher is better."
    if any(cell.interval.startswith("[") for cell in cells):
        yield f"[low, high]: {CONFIDENCE:.0%} interval."
    if any(panel.heading == VERDICTS for panel in panels):
        yield "Verdicts: of the interval of what is gone, in percent, or of the change, in points."
    if any(cell.value == DIAMOND for cell in cells):
        yield f"{DIAMOND}: may lie on the Pareto front of erasure and retention."
    if any(cell.best for cell in cells):
        yield "Bold: not told from the best of its column."
    if any(cell.second for cell in cells):
        yield "Underlined: of the others, not told from the best of these."
    if any(cell.best or cell.second for cell in cells):
        yield f"By paired permutation tests on the same prompts and noise (Holm, {ALPHA})."
    if any(panel.detectable for panel in panels):
        yield f"{DETECTABLE}: the smallest change that so many prompts find with a power of {POWER:.0%}."
    if any(DAGGER in name for panel in panels for name in panel.names):
        yield f"{DAGGER}: its pictures have collapsed: it meets no bar and is never the best."
    if any(cell.value.endswith("*") for cell in cells):
        yield "*: pictures are missing; never marked as best."
