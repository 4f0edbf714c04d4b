"""What a reader must know of a leaderboard's verdicts: how they were made, what so few prompts can show."""

from collections.abc import Iterator, Sequence
from statistics import median

from erasure_bench.bench.reporting.board import MARK
from erasure_bench.bench.reporting.leaderboard import Row
from erasure_bench.bench.reporting.verdicts import Retest
from erasure_bench.bench.statistics.bars import bar_of
from erasure_bench.bench.statistics.best import ALPHA
from erasure_bench.bench.statistics.detectable import POWER
from erasure_bench.bench.words.numbers import decimals_for, number


def verdict_notes(rows: Sequence[Row], agreements: Sequence[Retest], seeds: Sequence[int]) -> list[str]:
    """One note for each kind of verdict that the rows have."""
    notes = []
    if any(row.best for row in rows):
        notes.append(
            f"{MARK} or bold: not told from the best of its column (permutation of the two methods within "
            f"each prompt, for these trained weights; Holm over the comparisons with the best, {ALPHA}). A "
            "column without marks tells nobody from the best. What lacks scores is never marked."
        )
    if any(row.verdict for row in rows):
        notes.append(
            f"Bars: {bar_of(True)} where the concept should go, {bar_of(False)} elsewhere; met or missed "
            "where the whole interval, here in percent gone and in points, is on that side, else undecided."
        )
    if smallest := "; ".join(_detectable(rows)):
        notes.append(
            f"The smallest change that a paired t test of so many prompts finds with a power of {POWER:.0%}, "
            f"median over methods: {smallest}."
        )
    if agreements:
        named = ", ".join(map(str, seeds))
        listed = "; ".join(_by_title(agreements))
        notes.append(f"Order of the methods between seeds {named} (Kendall's τ-b, 1: the same): {listed}.")
    return notes


def _detectable(rows: Sequence[Row]) -> Iterator[str]:
    """ "class accuracy: target 0.054, neighbour 0.07", for each headline metric."""
    found: dict[str, dict[str, list[float]]] = {}
    for row in rows:
        if row.scope == "overall" and row.headline and row.detectable is not None:
            found.setdefault(row.title, {}).setdefault(row.role, []).append(row.detectable)
    for title, by_role in found.items():
        middle = {role: median(changes) for role, changes in by_role.items()}
        decimals = min(3, decimals_for(middle.values()))
        yield f"{title}: {', '.join(f'{role} {number(change, decimals)}' for role, change in middle.items())}"


def _by_title(agreements: Sequence[Retest]) -> Iterator[str]:
    titles = dict.fromkeys(agreement.title for agreement in agreements)
    for title in titles:
        own = [f"{one.role} {number(one.tau, 2)}" for one in agreements if one.title == title]
        yield f"{title}: {', '.join(own)}"
