"""A run's leaderboard for the page's scripts: rows, methods, roles, metrics, bars."""

from typing import Any

from erasure_bench.bench.reporting.collapsed import of_documents_rows
from erasure_bench.bench.site.reading import ReportedRun
from erasure_bench.bench.site.scripts import columnar
from erasure_bench.bench.statistics.bars import ENOUGH_GONE, MOST_LOST
from erasure_bench.bench.words.showing import one_line
from erasure_bench.prompt_suites.suite import ERASED_ROLES, ROLES

COLUMNS = (
    *("method", "scope", "concept", "role", "evaluator", "metric", "title", "unit", "better", "aggregate"),
    *("headline", "value", "low", "high", "worst", "images", "prompts", "missing", "change", "change_low"),
    *("change_high", "status", "reason", "erase_seconds", "seconds_per_image", "gone", "gone_low"),
    *("gone_high", "verdict", "detectable", "best", "second", "rank", "rank_low", "rank_high", "collapsed"),
)
"""What the scripts are given of each row of `bench.reporting.leaderboard.Row`."""


def numbers(run: ReportedRun) -> dict[str, Any]:
    """All of the leaderboard; names and reasons are made safe to show."""
    document = run.document
    rows = [
        {column: _shown(row[column]) for column in COLUMNS}
        for row in document["rows"]
        if row["role"] in ROLES
    ]
    overall = [row for row in document["rows"] if row["scope"] == "overall"]
    collapsed = of_documents_rows(overall)
    return {
        "methods": [
            {"name": one_line(method), "collapsed": method in collapsed} for method in document["methods"]
        ],
        "baseline": one_line(document["baseline"]),
        "concepts": [one_line(concept) for concept in document["concepts"]],
        "roles": [
            {"name": role, "erased": role in ERASED_ROLES}
            for role in ROLES
            if any(row["role"] == role for row in rows)
        ],
        "front": document.get("front"),
        "bars": {"enough_gone": ENOUGH_GONE, "most_lost": MOST_LOST},
        "rows": columnar(rows, COLUMNS),
    }


def _shown(value: Any) -> Any:
    return one_line(value) if isinstance(value, str) else value
