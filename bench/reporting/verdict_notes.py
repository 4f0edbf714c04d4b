"""What a reader must know of a leaderboard's verdicts: how they were made, what so few prompts can show."""

from collections.abc import Sequence
from statistics import median

from erasure_bench.bench.reporting.board import MARK, SECOND
from erasure_bench.bench.reporting.leaderboard import Row
from erasure_bench.bench.reporting.verdicts import Retest
from erasure_bench.bench.statistics.bars import bar_of
from erasure_bench.bench.statistics.best import ALPHA
from erasure_bench.bench.statistics.detectable import POWER
from erasure_bench.bench.words.numbers import number


def verdict_notes(rows: Sequence[Row], agreements: Sequence[Retest], seeds: Sequence[int]) -> list[str]:
    """One note for each kind of verdict that the rows have."""
    notes = []
    if any(row.best_p is not None for row in rows):
        notes.append(
            f"{MARK} or bold: not told from the best of its column (permutation of the two methods within "
            f"each prompt, for these trained weights; Holm over the comparisons with the best, {ALPHA}). A "
            "column without marks tells nobody from the best. What lacks scores is never marked. "
            f"{SECOND}, italics or underlined: of the others, not told from the best of these."
        )
    if any(row.verdict for row in rows):
        notes.append(
            f"Bars: {bar_of(True)} where the concept should go, {bar_of(False)} elsewhere; met or missed "
            "where the whole interval, here in percent gone and in points, is on that side, else undecided."
        )
    chosen = _first_metrics(rows)
    smallest = [
        (title, role, median(row.detectable for row in own if row.detectable is not None))
        for (title, role), own in chosen.items()
        if any(row.detectable is not None for row in own)
    ]
    if smallest:
        notes.append(
            f"The smallest change that a paired t test of so many prompts finds with a power of {POWER:.0%}, "
            "and that one of them shows if few carry it, median over methods: "
            f"{_by_title(smallest, 3)}. Others: leaderboard.csv."
        )
    agreed = [(one.title, one.role, one.tau) for one in agreements if (one.title, one.role) in chosen]
    if agreed:
        named = ", ".join(map(str, seeds))
        notes.append(
            f"Order of the methods between seeds {named} (Kendall's τ-b, 1: the same): "
            f"{_by_title(agreed, 2)}. Others: leaderboard.json."
        )
    return notes


def _first_metrics(rows: Sequence[Row]) -> dict[tuple[str, str], list[Row]]:
    """By title and role the overall rows of each role's first headline metric, which tables begin with."""
    first: dict[str, str] = {}
    chosen: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        if row.scope == "overall" and row.headline and first.setdefault(row.role, row.title) == row.title:
            chosen.setdefault((row.title, row.role), []).append(row)
    return chosen


def _by_title(found: Sequence[tuple[str, str, float]], decimals: int) -> str:
    """ "class accuracy: target 0.054, neighbour 0.070; ..." of titles, roles and numbers."""
    by_title: dict[str, list[str]] = {}
    for title, role, value in found:
        by_title.setdefault(title, []).append(f"{role} {number(value, decimals)}")
    return "; ".join(f"{title}: {', '.join(named)}" for title, named in by_title.items())
