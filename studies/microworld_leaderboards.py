"""`python -m studies.microworld_leaderboards`: every method on every suite of the built-in model.

Writes `results/microworld/<suite>/leaderboard.{md,csv,json}` and `run.json`, and one summary over the
suites that are there, `results/microworld/LEADERBOARD.md`. Several of these may run at once, each with
suites of its own.
"""

import argparse
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from methods.registry import METHODS
from prompt_suites.registry import suite_card, suite_names
from studies.running import bench_run

MODEL = "microworld"
SUMMARY = "LEADERBOARD.md"
KEEP = ("leaderboard.md", "leaderboard.csv", "leaderboard.json", "run.json")
ERASED, KEPT = ("target", "implicit"), ("neighbour", "retention")


def reported_suites() -> list[str]:
    """The suites made for the built-in model that tables report on."""
    cards = [suite_card(name) for name in suite_names()]
    return [card.name for card in cards if card.model == MODEL and card.reported]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m studies.microworld_leaderboards", description=__doc__)
    parser.add_argument("--suites", help="comma list; all reported ones by default")
    parser.add_argument("--methods", default=",".join(METHODS))
    parser.add_argument("--seeds", default="0")
    parser.add_argument("--limit", type=int)
    parser.add_argument("--work", type=Path, default=Path(".bench/study"))
    parser.add_argument("--out", type=Path, default=Path("results/microworld"))
    given = parser.parse_args()
    for suite in given.suites.split(",") if given.suites else reported_suites():
        folder = given.work / suite
        bench_run(
            *("--suite", suite, "--methods", given.methods, "--seeds", given.seeds),
            *(("--limit", str(given.limit)) if given.limit else ()),
            *("--store", str(given.work / "store"), "--out", str(folder)),
        )
        (given.out / suite).mkdir(parents=True, exist_ok=True)
        for name in KEEP:
            shutil.copyfile(folder / name, given.out / suite / name)
        (given.out / SUMMARY).write_text(summary(documents(given.out)), encoding="utf-8")


def documents(out: Path) -> dict[str, dict[str, Any]]:
    """The leaderboards in `out` by suite: those of this call and of earlier ones."""
    paths = {suite: out / suite / "leaderboard.json" for suite in reported_suites()}
    return {suite: json.loads(path.read_text("utf-8")) for suite, path in paths.items() if path.exists()}


def summary(documents: dict[str, dict[str, Any]]) -> str:
    """Two tables over the suites (what is gone, what is kept), then one for each suite with intervals."""
    lines = [
        "# The built-in model: every method on every suite",
        "",
        "A model organism: nothing here is a result on Stable Diffusion. Made by",
        "`python -m studies.microworld_leaderboards`.",
        "",
        "## Erased",
        "",
        "How much of the oracle's probability of the concept is gone, 1 − p / p_none, where prompts ask for",
        "the concept (target) or evoke it (implicit). Mean over the suite's concepts; 1 is best.",
        "",
        *_overview(documents, ERASED, "class_probability", _share_gone),
        "## Kept",
        "",
        "Change, in points of 100, of the share of neighbours and of unrelated subjects (retention) that the",
        "oracle still recognises. Mean over the suite's concepts; 0 is best.",
        "",
        *_overview(documents, KEPT, "class_accuracy", _points),
    ]
    for suite, document in documents.items():
        lines += _suite_table(suite, document)
    return "\n".join(lines)


def _overview(
    documents: dict[str, dict[str, Any]],
    roles: tuple[str, ...],
    metric: str,
    shown: Callable[[dict[str, Any]], str],
) -> list[str]:
    """One row for each method, one column for each suite and role."""
    columns = [
        (suite, role)
        for suite, document in documents.items()
        for role in roles
        if any(row["role"] == role and row["metric"] == metric for row in document["rows"])
    ]
    names = [f"{suite.removeprefix(MODEL + '-')} {role}" for suite, role in columns]
    lines = ["| method | " + " | ".join(names) + " |", "|---|" + "---:|" * len(columns)]
    methods = dict.fromkeys(method for document in documents.values() for method in document["methods"])
    for method in methods:
        cells = []
        for suite, role in columns:
            row = _overall(documents[suite], method).get((role, metric))
            cells.append("–" if row is None else shown(row) if row["value"] is not None else row["status"])
        lines.append(f"| {method} | " + " | ".join(cells) + " |")
    return [*lines, ""]


def _share_gone(row: dict[str, Any]) -> str:
    if row["change"] is None:
        return "–"
    base = row["value"] - row["change"]
    return f"{-row['change'] / base:.2f}" if base else "–"


def _points(row: dict[str, Any]) -> str:
    return "–" if row["change"] is None else f"{100 * row['change']:+.1f}".replace("-", "−")


def _overall(document: dict[str, Any], method: str) -> dict[tuple[str, str], dict[str, Any]]:
    return {
        (row["role"], row["metric"]): row
        for row in document["rows"]
        if (row["method"], row["scope"], row["evaluator"]) == (method, "overall", "classifier")
    }


def _suite_table(suite: str, document: dict[str, Any]) -> list[str]:
    wanted = (
        *((role, "class_probability") for role in ERASED),
        *((role, "class_accuracy") for role in KEPT),
    )
    columns = [
        (role, metric) for role, metric in wanted if any(row["role"] == role for row in document["rows"])
    ]
    lines = [
        f"## {suite}",
        "",
        f"Mean over {len(document['concepts'])} concepts [95 % interval, bootstrap over prompts]. "
        f"[All metrics and concepts]({suite}/leaderboard.md).",
        "",
        "| method | " + " | ".join(f"{role} {metric}" for role, metric in columns) + " | erase s |",
        "|---|" + "---|" * (len(columns) + 1),
    ]
    for method in document["methods"]:
        found = _overall(document, method)
        cells = [interval(found.get(column)) for column in columns]
        erase = next((row["erase_seconds"] for row in found.values()), None)
        lines.append(f"| {method} | {' | '.join(cells)} | {'–' if erase is None else f'{erase:.1f}'} |")
    images = max((row["images"] for row in document["rows"] if row["scope"] == "overall"), default=0)
    return [*lines, "", f"Seeds {document['seeds']}; at most {images} pictures behind a number.", ""]


def interval(row: dict[str, Any] | None) -> str:
    """`value [low, high]`, or the status of a number that is not there."""
    if row is None:
        return "–"
    if row["value"] is None:
        return str(row["status"])
    return f"{row['value']:.3f} [{row['low']:.3f}, {row['high']:.3f}]"


if __name__ == "__main__":
    main()
