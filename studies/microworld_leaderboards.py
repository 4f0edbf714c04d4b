"""`python -m studies.microworld_leaderboards`: every method on every suite of the built-in model.

Writes `results/microworld/<suite>/leaderboard.{md,csv,json}` and `run.json`, and one summary over the
suites, `results/microworld/README.md`.
"""

import argparse
import shutil
from pathlib import Path
from typing import Any

from methods.registry import METHODS
from prompt_suites.registry import suite_card, suite_names
from studies.running import bench_run

MODEL = "microworld"
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
    documents = {}
    for suite in given.suites.split(",") if given.suites else reported_suites():
        folder = given.work / suite
        documents[suite] = bench_run(
            *("--suite", suite, "--methods", given.methods, "--seeds", given.seeds),
            *(("--limit", str(given.limit)) if given.limit else ()),
            *("--store", str(given.work / "store"), "--out", str(folder)),
        )
        (given.out / suite).mkdir(parents=True, exist_ok=True)
        for name in KEEP:
            shutil.copyfile(folder / name, given.out / suite / name)
        (given.out / "README.md").write_text(summary(documents), encoding="utf-8")


def summary(documents: dict[str, dict[str, Any]]) -> str:
    """One Markdown table: methods by suites, erased and kept, each with its interval."""
    lines = [
        "# The built-in model: every method on every suite",
        "",
        "Oracle probability of the erased concept where prompts ask for it (target) or evoke it (implicit):",
        "lower is better. Share of neighbours and unrelated subjects still recognised: higher is better.",
        "Mean over the suite's concepts [95 % interval over prompts]. A model organism: nothing here is a",
        "result on Stable Diffusion.",
        "",
    ]
    for suite, document in documents.items():
        columns = [
            (role, metric)
            for role, metric in (
                *((role, "class_probability") for role in ERASED),
                *((role, "class_accuracy") for role in KEPT),
            )
            if any(row["role"] == role for row in document["rows"])
        ]
        lines += [f"## {suite}", "", f"[All metrics and concepts]({suite}/leaderboard.md)", ""]
        lines.append(
            "| method | " + " | ".join(f"{role} {metric}" for role, metric in columns) + " | erase s |"
        )
        lines.append("|---|" + "---|" * (len(columns) + 1))
        for method in document["methods"]:
            found = {
                (row["role"], row["metric"]): row
                for row in document["rows"]
                if (row["method"], row["scope"], row["evaluator"]) == (method, "overall", "classifier")
            }
            cells = [interval(found.get(column)) for column in columns]
            erase = next((row["erase_seconds"] for row in found.values()), None)
            lines.append(f"| {method} | {' | '.join(cells)} | {'–' if erase is None else f'{erase:.1f}'} |")
        images = max((row["images"] for row in document["rows"] if row["scope"] == "overall"), default=0)
        lines += ["", f"Seeds {document['seeds']}; at most {images} pictures behind a number.", ""]
    return "\n".join(lines)


def interval(row: dict[str, Any] | None) -> str:
    """`value [low, high]`, or the status of a number that is not there."""
    if row is None:
        return "–"
    if row["value"] is None:
        return str(row["status"])
    return f"{row['value']:.3f} [{row['low']:.3f}, {row['high']:.3f}]"


if __name__ == "__main__":
    main()
