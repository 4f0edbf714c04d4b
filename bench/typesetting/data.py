"""Tables for programs: every number of the table once, with all that the run says of it."""

from typing import Any

import pandas as pd

from erasure_bench.bench.typesetting.arranged import Arranged, Panel
from erasure_bench.bench.words.showing import in_csv

OF_A_ROW = (
    "aspect",
    "evaluator",
    "metric",
    "title",
    "unit",
    "better",
    "value",
    "low",
    "high",
    "change",
    "change_low",
    "change_high",
    "detectable",
    "images",
    "prompts",
    "missing",
    "status",
    "reason",
    "verdict",
    "gone",
    "gone_low",
    "gone_high",
    "same_p",
    "best",
    "best_p",
    "second",
    "rank",
    "rank_low",
    "rank_high",
    "collapsed",
)
"""What is said of a number besides what is shown; empty where it is none of the leaderboard's."""
SHOWN = ("shown", "shown_change", "shown_interval")


def records(panel: Panel, methods: tuple[str, ...]) -> list[dict[str, Any]]:
    """The panel's cells, row by row."""
    found = []
    for index, method in enumerate(methods):
        for column in panel.columns:
            cell = column.cells[index]
            row = cell.row or {}
            found.append(
                {
                    "table": panel.heading,
                    "concept": panel.concept or row.get("concept") or "overall",
                    "group": column.role or "",
                    "heading": column.heading,
                    "method": method,
                    **dict(zip(SHOWN, (cell.value, cell.change, cell.interval), strict=True)),
                    **{name: row.get(name) for name in OF_A_ROW},
                    "aspect": row.get("aspect") or column.aspect,
                }
            )
    return found


def csv(what: Arranged) -> str:
    """A line for each number, its heading in the first; what was not measured is empty."""
    rows = [one for panel in what.panels for one in records(panel, what.methods)]
    frame = pd.DataFrame(rows).map(lambda cell: in_csv(cell) if isinstance(cell, str) else cell)
    return frame.to_csv(index=False)


def document(what: Arranged) -> dict[str, Any]:
    """In JSON's types: title, tables with their cells, how to read them, what to know."""
    return {
        "layout": what.name,
        "title": what.title,
        "methods": list(what.methods),
        "tables": [
            {
                "heading": panel.heading,
                "concept": panel.concept,
                "detectable": list(panel.detectable),
                "cells": records(panel, what.methods),
            }
            for panel in what.panels
        ],
        "legend": list(what.legend),
        "lacking": list(what.lacking),
        "notes": [*what.notes, *what.provenance],
        "failures": list(what.failures),
    }
