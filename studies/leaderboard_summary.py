"""One page over several suites' leaderboards: which methods erase and keep enough, and by how much."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

Document = Mapping[str, Any]
"""What a run's `leaderboard.json` holds."""

Column = tuple[str, str]
"""A suite and a role."""

TARGET = "target"
ERASED, KEPT = (TARGET, "implicit"), ("neighbour", "retention")
PROBABILITY, ACCURACY = "class_probability", "class_accuracy"
ENOUGH_GONE = 0.5
MOST_LOST = 0.10
PREFIX = "microworld-"

HEAD = """# The built-in model: every method on every suite

A model organism: nothing here is a result on Stable Diffusion. Made by
`python -m studies.microworld_leaderboards`. [Intervals] are 95 %, from a bootstrap over prompts.

Methods are not told the same: uce is given the names of the neighbours, which it is to keep, and sa replays
pictures of general prompts, in which neighbours and unrelated subjects are named as everything else that the
model knows. Their keeping is measured with other noise and other wordings, but for memorised pictures: a
title is the only wording that brings one back, and 3 of the 12 neighbour prompts of each are bare titles,
which sa replays as they are. The others are told the concept alone, with its anchor where they use one.
"""
ERASED_HEAD = """## Erased

How much of the oracle's probability of the concept is gone, 1 − p / p_none, where prompts ask for the
concept (target) or evoke it (implicit). Mean over the suite's concepts; 1 is best. The interval is that
of the paired change, divided by p_none.
"""
KEPT_HEAD = """## Kept

Paired change, in points of 100, of the share of neighbours and of unrelated subjects (retention) that the
oracle still recognises. Mean over the suite's concepts; 0 is best.
"""
BARS_HEAD = f"""## Enough?

Where less than half of the probability is gone, and where more than {100 * MOST_LOST:.0f} points are lost.
*Halved* counts the concepts of all suites whose probability falls by half where prompts ask for them.
"""


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


def share_gone(row: Mapping[str, Any]) -> float | None:
    """1 − p / p_none; None where there is nothing to compare or nothing to erase."""
    if row["change"] is None or row["value"] is None:
        return None
    base = row["value"] - row["change"]
    return -row["change"] / base if base else None


def _bars(documents: Mapping[str, Document]) -> Iterator[str]:
    """One row for each method: what it does not reach."""
    yield "| method | halved | less than half gone | more lost |"
    yield "|---|---:|---|---|"
    for method in _methods(documents):
        weak = [
            f"{_name(column)} {_plain(gone)}"
            for column, row in _overall(documents, method, ERASED, PROBABILITY)
            if (gone := share_gone(row)) is not None and gone < ENOUGH_GONE
        ]
        costly = [
            f"{_name(column)} {_signed(row['change'])}"
            for column, row in _overall(documents, method, KEPT, ACCURACY)
            if row["change"] is not None and row["change"] < -MOST_LOST
        ]
        cells = [_halved(documents, method), ", ".join(weak) or "–", ", ".join(costly) or "–"]
        yield f"| {method} | {' | '.join(cells)} |"
    yield ""


def _halved(documents: Mapping[str, Document], method: str) -> str:
    """How many of the concepts: "3 of 4"."""
    shares = [
        gone
        for document in documents.values()
        for row in _rows(document, method, "concept")
        if (row["role"], row["metric"]) == (TARGET, PROBABILITY) and (gone := share_gone(row)) is not None
    ]
    return f"{sum(gone >= ENOUGH_GONE for gone in shares)} of {len(shares)}" if shares else "–"


def _overall(
    documents: Mapping[str, Document], method: str, roles: tuple[str, ...], metric: str
) -> Iterator[tuple[Column, Mapping[str, Any]]]:
    """The numbers on a method that are means over a suite's concepts."""
    for suite, document in documents.items():
        for row in _rows(document, method, "overall"):
            if row["role"] in roles and row["metric"] == metric:
                yield (suite, row["role"]), row


def _overview(
    documents: Mapping[str, Document],
    roles: tuple[str, ...],
    metric: str,
    shown: Callable[[Mapping[str, Any]], str],
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


def _gone(row: Mapping[str, Any]) -> str:
    gone = share_gone(row)
    if gone is None:
        return "–" if row["value"] is not None else str(row["status"])
    if row["change_low"] is None:  # one prompt: nothing to resample
        return _plain(gone)
    base = row["value"] - row["change"]
    low, high = -row["change_high"] / base, -row["change_low"] / base
    return f"{_plain(gone)} [{_plain(low)}, {_plain(high)}]"


def _points(row: Mapping[str, Any]) -> str:
    if row["change"] is None:
        return "–" if row["value"] is not None else str(row["status"])
    if row["change_low"] is None:
        return _signed(row["change"])
    return f"{_signed(row['change'])} [{_signed(row['change_low'])}, {_signed(row['change_high'])}]"


def _plain(share: float) -> str:
    return f"{share + 0.0:.2f}".replace("-0.00", "0.00").replace("-", "−")


def _signed(share: float) -> str:
    return f"{100 * share:+.1f}".replace("-", "−")


def _name(column: Column) -> str:
    suite, role = column
    return f"{suite.removeprefix(PREFIX)} {role}"


def _methods(documents: Mapping[str, Document]) -> list[str]:
    return list(dict.fromkeys(method for document in documents.values() for method in document["methods"]))


def _rows(document: Document, method: str, scope: str) -> Iterator[Mapping[str, Any]]:
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
    yield f"Mean over {of}. [All metrics and concepts]({suite}/leaderboard.md)."
    yield ""
    yield "| method | " + " | ".join(f"{role} {metric}" for role, metric in columns) + " | erase s |"
    yield "|---|" + "---|" * (len(columns) + 1)
    for method in document["methods"]:
        found = {(row["role"], row["metric"]): row for row in _rows(document, method, "overall")}
        cells = [_interval(found.get(column)) for column in columns]
        erase = next((row["erase_seconds"] for row in found.values()), None)
        yield f"| {method} | {' | '.join(cells)} | {'–' if erase is None else f'{erase:.1f}'} |"
    images = max((row["images"] for row in document["rows"] if row["scope"] == "overall"), default=0)
    yield ""
    yield f"Seeds {', '.join(map(str, document['seeds']))}; at most {images} pictures behind a number."
    yield ""


def _interval(row: Mapping[str, Any] | None) -> str:
    """`value [low, high]`, or the status of a number that is not there."""
    if row is None:
        return "–"
    if row["value"] is None:
        return str(row["status"])
    interval = "" if row["low"] is None else f" [{row['low']:.3f}, {row['high']:.3f}]"
    return f"{row['value']:.3f}{interval}"
