"""The Pareto front of a leaderboard: who may give up the most of the concept for the least of the rest."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from erasure_bench.bench.reporting.aspects import QUALITY
from erasure_bench.bench.reporting.board import DIAMOND
from erasure_bench.bench.reporting.leaderboard import Row
from erasure_bench.bench.reporting.rivals import Amounts, Key, key_of, keys_of, may_be_best
from erasure_bench.bench.reporting.tabled import Tabled
from erasure_bench.bench.statistics.pareto import Axis, beaten_by
from erasure_bench.prompt_suites.suite import Role

ERASURE: tuple[Role, ...] = ("target", "implicit", "misspelt", "attack")
RETENTION: tuple[Role, ...] = ("retention", "neighbour", "anchor")
"""Whose numbers are the front's two axes: the first of each that the run has."""


class Front(NamedTuple):
    """`erasure` and `retention` name its axes by role, evaluator, metric and title.

    `beaten` gives, of each method that has both numbers, those that surely beat it
    (`bench.statistics.pareto`): whom nobody does may lie on the front. Collapsed methods, and those that lack
    scores, are not in it.
    """

    erasure: Mapping[str, str]
    retention: Mapping[str, str]
    beaten: Mapping[str, tuple[str, ...]]

    @property
    def methods(self) -> tuple[str, ...]:
        """Those that may lie on it."""
        return tuple(method for method, by in self.beaten.items() if not by)

    def record(self) -> dict[str, Any]:
        """In JSON's types."""
        return {
            "erasure": dict(self.erasure),
            "retention": dict(self.retention),
            "methods": list(self.methods),
            "beaten": {method: list(by) for method, by in self.beaten.items()},
        }


def front_of(table: Tabled, rows: Sequence[Row]) -> Front | None:
    """That of the table's overall numbers; None without one of its axes or with fewer than two methods."""
    baseline = table.measured.baseline
    overall = [row for row in rows if row.scope == "overall" and row.headline]
    axes = [_axis(overall, baseline, roles) for roles in (ERASURE, RETENTION)]
    if not all(axes):
        return None
    by_method = [{row.method: row for row in of_axis} for of_axis in axes]
    methods = [name for name in table.measured.methods if all(name in found for found in by_method)]
    if len(methods) < 2:
        return None
    place_of: dict[Key, int] = {key: place for place, key in enumerate(keys_of(table, overall=True))}
    amounts = Amounts(table, overall=True)
    values = [
        Axis(
            amounts.by_prompt([place_of[key_of(found[name])] for name in methods])[1],
            found[methods[0]].better == "lower",
        )
        for found in by_method
    ]
    beaten = {
        name: tuple(methods[place] for place in by)
        for name, by in zip(methods, beaten_by(values), strict=True)
    }
    return Front(_named(axes[0][0]), _named(axes[1][0]), beaten)


def front_note(front: Front | None) -> list[str]:
    """The footnote of the mark."""
    if front is None:
        return []
    erasure, retention = (f"{of['role']} {of['title']}" for of in (front.erasure, front.retention))
    beaten = "; ".join(f"{method} by {_few(by)}" for method, by in front.beaten.items() if by)
    return [
        f"{DIAMOND}: may lie on the Pareto front of {erasure} and {retention}: no other row is as good in "
        "both and told from it in one (paired permutation test, Bonferroni over both, Holm over the rows "
        f"that might beat it). Beaten: {beaten or 'none'}."
    ]


def _axis(rows: Iterable[Row], baseline: str, roles: Sequence[Role]) -> list[Row]:
    """The rivals of the first of the roles that there is, by its metric with a bar, else by its first."""
    by_role: dict[Role, dict[tuple[str, str], list[Row]]] = {}
    for row in rows:
        if may_be_best(row, baseline) and row.aspect != QUALITY:
            by_metric = by_role.setdefault(row.role, {})
            by_metric.setdefault((row.evaluator, row.metric), []).append(row)
    for role in roles:
        if role in by_role:
            return max(by_role[role].values(), key=lambda found: any(row.verdict for row in found))
    return []


def _named(row: Row) -> dict[str, str]:
    return {"role": row.role, "evaluator": row.evaluator, "metric": row.metric, "title": row.title}


def _few(names: Sequence[str]) -> str:
    return ", ".join(names) if len(names) <= 3 else f"{names[0]} and {len(names) - 1} others"
