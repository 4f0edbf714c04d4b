"""Which methods' pictures have collapsed: marked in every table, meeting no bar, never the best.

A metric says itself that its share tells of it (`Metric.tells_collapse`); no metric is named here.
"""

from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import replace

from erasure_bench.bench.reporting.leaderboard import Row
from erasure_bench.bench.reporting.tabled import Measured
from erasure_bench.bench.statistics.collapse import MOST_COLLAPSED, has_collapsed
from erasure_bench.bench.words.numbers import number

DAGGER = "†"
"""Stands behind the name of a method whose pictures have collapsed."""
Place = tuple[str, str, str]
"""Method, scope, concept."""


def with_collapse(rows: Sequence[Row], measured: Measured) -> list[Row]:
    """The rows, those of a collapsed method with the reason: of its concept, and of all concepts together.

    A method that has collapsed on one concept is marked in the overall tables, too, with that concept's name.
    Another base model's row is no method's.
    """
    telling = {(evaluator, metric.name) for evaluator, metric in measured.metrics if metric.tells_collapse}
    found: dict[Place, str] = {}
    for row in _evidence(rows, telling, {measured.baseline, *measured.references}):
        found.setdefault((row.method, row.scope, row.concept), _reason(row))
    for (method, scope, concept), reason in list(found.items()):
        if scope == "concept":
            for row in rows:
                if row.method == method and row.scope == "overall":
                    found.setdefault((method, row.scope, row.concept), f"{concept}: {reason}")
    return [replace(row, collapsed=found.get((row.method, row.scope, row.concept))) for row in rows]


def collapsed_methods(rows: Sequence[Row]) -> dict[str, str]:
    """The collapsed methods of the overall tables, each with its reason."""
    return {row.method: row.collapsed for row in rows if row.scope == "overall" and row.collapsed}


def collapse_notes(rows: Sequence[Row]) -> list[str]:
    """The footnote of the mark, where somebody has it."""
    named = "; ".join(f"{method}: {reason}" for method, reason in collapsed_methods(rows).items())
    if not named:
        return []
    return [
        f"{DAGGER}: its pictures have collapsed: more than {MOST_COLLAPSED:.0%} of a role's, beyond the base "
        "model's, with 95% confidence. It meets no bar and is never the best. "
        f"{named}."
    ]


def marked(method: str, collapsed: Container[str]) -> str:
    """A method's name as tables show it."""
    return f"{method} {DAGGER}" if method in collapsed else method


def of_documents_rows(rows: Sequence[Mapping[str, object]]) -> set[str]:
    """The methods that a leaderboard.json's rows of one table say have collapsed."""
    return {str(row["method"]) for row in rows if row.get("collapsed")}


def _evidence(
    rows: Sequence[Row], telling: Container[tuple[str, str]], spared: Container[str]
) -> Iterator[Row]:
    for row in rows:
        tells = (row.evaluator, row.metric) in telling and row.method not in spared
        if tells and has_collapsed(row.change_low):
            yield row


def _reason(row: Row) -> str:
    if row.value is None or row.change is None or row.change_low is None:  # never, as there is a change
        return row.title
    low, high = (number(100 * end, 0) for end in (row.change_low, row.change_high or 1.0))
    return (
        f"{row.role}, {row.title}, {number(100 * row.value, 0)}% of the pictures, the base model "
        f"{number(100 * (row.value - row.change), 0)}% (change [{low}, {high}] points)"
    )
