"""The numbers that stand against each other in a column: those that may be the best of it, by prompt."""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from erasure_bench.bench.reporting.leaderboard import Row
from erasure_bench.bench.reporting.tabled import OVERALL, Stratum, Tabled
from erasure_bench.bench.statistics.cells import Codes, Values

Key = tuple[str, str, str, str, str, str]
"""Method, scope, concept, role, evaluator, metric."""


class Rivals(NamedTuple):
    """A headline column's numbers that may be the best: their rows and places among the table's numbers."""

    rows: list[Row]
    places: list[int]


class Amounts:
    """What each prompt of each of a table's numbers is: their mean over prompts is the number."""

    def __init__(self, table: Tabled, overall: bool) -> None:
        self._found = table.contributions(overall)
        self._start = np.searchsorted(
            self._found.number, np.arange(len(table.groups(overall).total) + 1)
        ).tolist()

    def by_prompt(self, places: Sequence[int]) -> tuple[Codes, Values]:
        """The prompts that all the numbers have, and their values [numbers, prompts]."""
        blocks = [slice(self._start[place], self._start[place + 1]) for place in places]
        clusters = [self._found.cluster[block] for block in blocks]
        shared = _shared(clusters)
        values = [
            only(cluster, self._found.amount[block], shared) * len(cluster)
            for cluster, block in zip(clusters, blocks, strict=True)
        ]
        return shared, np.stack(values)


def may_be_best(row: Row, baseline: str) -> bool:
    """Whether a number may be the best and has a place: not the base model's, none that lacks scores or is a
    collapsed method's."""
    return (
        row.method != baseline
        and row.value is not None
        and row.status == "ok"
        and row.better != "neither"
        and row.collapsed is None
    )


def rival_columns(table: Tabled, overall: bool, by_key: Mapping[Key, Row]) -> Iterator[Rivals]:
    """The headline columns, of the overall table or of the concepts'."""
    columns: dict[Key, Rivals] = {}
    for place, key in enumerate(keys_of(table, overall)):
        row = by_key[key]
        if row.headline and may_be_best(row, table.measured.baseline):
            rivals = columns.setdefault(("", *key[1:]), Rivals([], []))
            rivals.rows.append(row)
            rivals.places.append(place)
    yield from columns.values()


def only(cluster: Codes, values: Values, wanted: Codes) -> Values:
    """The values of the wanted ones of these clusters."""
    return values if np.array_equal(cluster, wanted) else values[np.isin(cluster, wanted)]


def keys_of(table: Tabled, overall: bool) -> list[Key]:
    """The keys of the table's numbers, in its order."""
    return [
        (
            name.method,
            *(("concept", name.concept) if isinstance(name, Stratum) else ("overall", OVERALL)),
            name.role,
            table.measured.metrics[name.metric][0],
            table.measured.metrics[name.metric][1].name,
        )
        for name in table.names(overall)
    ]


def key_of(row: Row) -> Key:
    """The key of a leaderboard's row."""
    return row.method, row.scope, row.concept, row.role, row.evaluator, row.metric


def _shared(clusters: Sequence[Codes]) -> Codes:
    """The prompts that all methods have: all, as a number that lacks some is no rival."""
    shared = clusters[0]
    for own in clusters[1:]:
        if not np.array_equal(own, shared):
            shared = np.intersect1d(shared, own, assume_unique=True)
    return shared
