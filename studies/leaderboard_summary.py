"""One page over several suites' leaderboards: which methods erase and keep enough, and by how much."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from erasure_bench.bench.reporting.collapsed import DAGGER, marked
from erasure_bench.bench.reporting.footnotes import of_several_devices
from erasure_bench.bench.statistics.bars import ENOUGH_GONE, MOST_LOST, Verdict
from erasure_bench.bench.statistics.best import ALPHA

Document = Mapping[str, Any]
"""What a run's `leaderboard.json` holds."""

Column = tuple[str, str]
"""A suite and a role."""

Row = Mapping[str, Any]

TARGET = "target"
ERASED, KEPT = (TARGET, "implicit", "misspelt"), ("neighbour", "retention")
PROBABILITY, ACCURACY = "class_probability", "class_accuracy"
PREFIX = "microworld-"

HEAD = """# The built-in model: every method on every suite

A model organism: nothing here is a result on Stable Diffusion. Made by
`python -m studies.microworld_leaderboards`. [Intervals] are 95 %, for other prompts and, where
there are several, other training seeds.

Methods are not told the same. uce, speed and rece are given the names of the neighbours, which they are to
keep; sa, salun, erasediff, advunlearn and mace learn to keep general prompts, in which neighbours and
unrelated subjects are named as everything else that the model knows (eap and age look for words among them),
and mace is shown where the concept stands in its pictures. Keeping is measured with other noise and other
wordings, but for memorised pictures: a title is the only wording that brings one back, and 3 of the 12
neighbour prompts of each are bare titles, which general prompts hold as they are. The others are told the
concept alone, with its anchor where they use one.
"""
ERASED_HEAD = """## Erased

How much of the oracle's probability of the concept is gone, 1 − p / p_none, where prompts ask for the
concept (target), misspell it (misspelt) or evoke it (implicit), with its interval. Mean over the suite's
concepts; 1 is best.
"""
KEPT_HEAD = f"""## Kept

Paired change, in points of 100, of the share of neighbours and of unrelated subjects (retention) that the
oracle still recognises, with its interval. Mean over the suite's concepts; 0 is best. ≈: the same, within
{100 * MOST_LOST:.0f} points either way (two one-sided tests, {ALPHA}).
"""
BARS_HEAD = f"""## Enough?

Two bars: at least {100 * ENOUGH_GONE:.0f} % of the probability is gone, at most {100 * MOST_LOST:.0f}
points are lost. A bar is met or missed where the whole 95 % interval lies on that side of it; else it is
undecided, which more prompts may change. What is missed is named; in the tables below ✗ stands for missed
and ? for undecided. *Halved* counts the concepts of all suites where prompts ask for them; a concept that
failed is not halved.
"""
MARKS: dict[Verdict | None, str] = {"missed": " ✗", "undecided": " ?"}


def summary(documents: Mapping[str, Document]) -> str:
    """The page in Markdown; `documents` by suite."""
    return "\n".join(
        [
            HEAD,
            BARS_HEAD,
            *_bars(documents),
            ERASED_HEAD,
            *_overview(documents, ERASED, PROBABILITY, _gone),
            KEPT_HEAD,
            *_overview(documents, KEPT, ACCURACY, _points),
            *(line for suite, document in documents.items() for line in _suite_table(suite, document)),
        ]
    )


def _bars(documents: Mapping[str, Document]) -> Iterator[str]:
    """One row for each method: how often it reaches the bars, and where it does not."""
    yield "| method | halved | half gone | too little gone | kept | too much lost |"
    yield "|---|---|---|---|---|---|"
    for method in _methods(documents):
        gone = list(_overall(documents, method, ERASED, PROBABILITY))
        kept = list(_overall(documents, method, KEPT, ACCURACY))
        cells = [
            _halved(documents, method),
            _counted(gone),
            _missed(gone, _share),
            _counted(kept),
            _missed(kept, _change),
        ]
        yield f"| {method} | {' | '.join(cells)} |"
    yield ""


def _counted(found: Iterable[tuple[Column, Row]]) -> str:
    """ "5 met, 2 undecided"; what is missed is named."""
    verdicts = [row["verdict"] for _, row in found]
    counts = {verdict: verdicts.count(verdict) for verdict in ("met", "undecided")}
    return ", ".join(f"{count} {verdict}" for verdict, count in counts.items() if count) or "–"


def _missed(found: Iterable[tuple[Column, Row]], shown: Callable[[Row], str]) -> str:
    """The columns whose bar is missed with their numbers; a number that is not there misses it."""
    named = [
        f"{_name(column)} {shown(row)}"
        for column, row in found
        if row["verdict"] == "missed" or row["value"] is None
    ]
    return ", ".join(named) or "–"


def _halved(documents: Mapping[str, Document], method: str) -> str:
    """How many of the concepts: "31 of 33, 2 undecided"."""
    verdicts: list[Verdict | None] = []
    for document in documents.values():
        if method in document["methods"] and method != document["baseline"]:
            rows = {
                row["concept"]: row
                for row in _rows(document, method, "concept")
                if (row["role"], row["metric"]) == (TARGET, PROBABILITY)
            }
            verdicts += [rows[name]["verdict"] if name in rows else None for name in _asked_for(document)]
    undecided = verdicts.count("undecided")
    halved = f"{verdicts.count('met')} of {len(verdicts)}" if verdicts else "–"
    return halved + (f", {undecided} undecided" if undecided else "")


def _asked_for(document: Document) -> list[str]:
    """The concepts that prompts ask for by name, whichever method has a number."""
    asked = (
        row["concept"] for row in document["rows"] if row["role"] == TARGET and row["scope"] == "concept"
    )
    return list(dict.fromkeys(asked))


def _overall(
    documents: Mapping[str, Document], method: str, roles: tuple[str, ...], metric: str
) -> Iterator[tuple[Column, Row]]:
    """The numbers on a method that are means over a suite's concepts."""
    for suite, document in documents.items():
        for row in _rows(document, method, "overall"):
            if row["role"] in roles and row["metric"] == metric:
                yield (suite, row["role"]), row


def _overview(
    documents: Mapping[str, Document],
    roles: tuple[str, ...],
    metric: str,
    shown: Callable[[Row], str],
) -> Iterator[str]:
    """One row for each method, one column for each suite and role."""
    columns: list[Column] = [
        (suite, role)
        for suite, document in documents.items()
        for role in roles
        if any(row["role"] == role and row["metric"] == metric for row in document["rows"])
    ]
    yield f"| method | {' | '.join(map(_name, columns))} |"
    yield "|---|" + "---:|" * len(columns)
    for method in _methods(documents):
        found = dict(_overall(documents, method, roles, metric))
        cells = [shown(found[column]) if column in found else "–" for column in columns]
        yield f"| {method} | {' | '.join(cells)} |"
    yield ""


def _gone(row: Row) -> str:
    if row["gone"] is None or row["gone_low"] is None or row["gone_high"] is None:
        return _share(row)
    ends = f"[{_plain(row['gone_low'])}, {_plain(row['gone_high'])}]"
    return f"{_plain(row['gone'])} {ends}{MARKS.get(row['verdict'], '')}{_collapsed(row)}"


def _points(row: Row) -> str:
    if row["change"] is None or row["change_low"] is None:
        return _change(row)
    same = "≈ " if row["same_p"] is not None and row["same_p"] <= ALPHA else ""
    ends = f"[{_signed(row['change_low'])}, {_signed(row['change_high'])}]"
    return f"{same}{_signed(row['change'])} {ends}{MARKS.get(row['verdict'], '')}{_collapsed(row)}"


def _collapsed(row: Row) -> str:
    return f" {DAGGER}" if row.get("collapsed") else ""


def _share(row: Row) -> str:
    """What is gone; – where there is nothing to compare or nothing to erase."""
    return _absent(row) if row["gone"] is None else _plain(row["gone"])


def _change(row: Row) -> str:
    return _absent(row) if row["change"] is None else _signed(row["change"])


def _absent(row: Row) -> str:
    return "–" if row["value"] is not None else str(row["status"])


def _plain(share: float) -> str:
    return f"{share + 0.0:.2f}".replace("-0.00", "0.00").replace("-", "−")


def _signed(share: float) -> str:
    return f"{100 * share:+.1f}".replace("-", "−")


def _name(column: Column) -> str:
    suite, role = column
    return f"{suite.removeprefix(PREFIX)} {role}"


def _methods(documents: Mapping[str, Document]) -> list[str]:
    return list(dict.fromkeys(method for document in documents.values() for method in document["methods"]))


def _rows(document: Document, method: str, scope: str) -> Iterator[Row]:
    """The oracle's numbers on a method."""
    for row in document["rows"]:
        if (row["method"], row["scope"], row["evaluator"]) == (method, scope, "classifier"):
            yield row


def _suite_table(suite: str, document: Document) -> Iterator[str]:
    wanted = (*((role, PROBABILITY) for role in ERASED), *((role, ACCURACY) for role in KEPT))
    columns = [
        (role, metric) for role, metric in wanted if any(row["role"] == role for row in document["rows"])
    ]
    yield f"## {suite}"
    yield ""
    of = "1 concept" if len(document["concepts"]) == 1 else f"{len(document['concepts'])} concepts"
    whole = f"[All metrics and concepts]({suite}/leaderboard.md)"
    yield f"Mean over {of}; bold is not told from the best. {whole}."
    yield ""
    yield "| method | " + " | ".join(f"{role} {metric}" for role, metric in columns) + " | erase s |"
    yield "|---|" + "---|" * (len(columns) + 1)
    collapsed = document.get("collapsed", {})
    for method in document["methods"]:
        found = {(row["role"], row["metric"]): row for row in _rows(document, method, "overall")}
        cells = [_interval(found.get(column)) for column in columns]
        erase = next((row["erase_seconds"] for row in found.values()), None)
        name = marked(method, collapsed)
        yield f"| {name} | {' | '.join(cells)} | {'–' if erase is None else f'{erase:.1f}'} |"
    images = max((row["images"] for row in document["rows"] if row["scope"] == "overall"), default=0)
    yield ""
    yield f"Seeds {', '.join(map(str, document['seeds']))}; at most {images} pictures behind a number."
    if apart := of_several_devices("Seconds", document.get("drawn_with", {})):
        yield apart
    yield ""
    if collapsed:
        named = "; ".join(f"{method}: {why}" for method, why in collapsed.items())
        yield f"{DAGGER} Its pictures have collapsed: {named}."
        yield ""


def _interval(row: Row | None) -> str:
    """`value [low, high]`, bold where it may be the best, or the status of a number that is not there."""
    if row is None:
        return "–"
    if row["value"] is None:
        return str(row["status"])
    interval = "" if row["low"] is None else f" [{row['low']:.3f}, {row['high']:.3f}]"
    value = f"{row['value']:.3f}"
    return f"**{value}**{interval}" if row["best"] else value + interval
