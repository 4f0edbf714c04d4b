"""`python -m studies.devices_agree RUN OTHER...`: the same cells drawn on two devices, score by score.

`RUN` and the others are folders of runs of one suite; what both sides have of a method, concept and seed, by
the same id, is compared: the same method, settings, prompts and noise, and an edit that each side has made
for itself. For each metric that a picture has: the pictures, the share whose score is the same to 1e-6, the
median, 99th percentile and largest difference; and what the suite's number is on either side. Writes
`results/microworld/devices.{csv,md}`.
"""

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from erasure_bench.bench.reporting.evidence import DEVICE, joined
from erasure_bench.bench.reporting.record import key_of, read_record
from erasure_bench.bench.reporting.results import SCORES
from erasure_bench.bench.storage.atomic import write_text
from erasure_bench.bench.words.showing import in_markdown
from erasure_bench.errors import BenchError

NAME = "devices"
CELL = ["method", "concept", "seed"]
PICTURE = [*CELL, "role", "evaluator", "metric", "prompt_id", "image_index"]
SAME = 1e-6
SHOWN = (
    "class_accuracy",
    "class_probability",
    "clip_score",
    "ssim_distance",
    "coherence",
    "near_duplicate",
    "memorized",
)
"""Metrics that the page has; the table has all."""


def together(one: Path, others: Sequence[Path]) -> pd.DataFrame:
    """The scores of the cells that both sides have, as columns `one` and `other`, with the index `PICTURE`.

    Raises BenchError where they have no cell in common.
    """
    here = _cells(one)
    there: dict[Any, str] = {}
    sides = []
    for folder in others:
        there |= _cells(folder)
        sides.append(pd.read_parquet(folder / SCORES))
    common = [key for key, name in here.items() if there.get(key) == name]
    if not common:
        raise BenchError(f"{one}: none of its cells is in {', '.join(map(str, others))} under the same id")
    cells = pd.MultiIndex.from_tuples(common, names=CELL)
    first, second = (
        scores[pd.MultiIndex.from_frame(scores[CELL]).isin(cells)].drop_duplicates(PICTURE)
        for scores in (pd.read_parquet(one / SCORES), pd.concat(sides))
    )
    return pd.concat(
        [first.set_index(PICTURE)["value"], second.set_index(PICTURE)["value"]], axis=1, keys=["one", "other"]
    )


def _cells(folder: Path) -> dict[Any, str]:
    return {key_of(cell): cell["id"] for cell in read_record(folder)["cells"]}


def compared(scores: pd.DataFrame) -> pd.DataFrame:
    """One row for each evaluator, metric and method: pictures, differences, and the means of both sides."""
    found: list[Mapping[str, Any]] = []
    for (evaluator, metric, method), rows in scores.groupby(["evaluator", "metric", "method"], sort=False):
        both = rows.dropna()
        apart = (both["one"] - both["other"]).abs()
        if apart.empty:
            continue
        found.append(
            {
                "evaluator": evaluator,
                "metric": metric,
                "method": method,
                "pictures": len(apart),
                "missing_on_one_side": int((rows["one"].isna() != rows["other"].isna()).sum()),
                "same": float((apart <= SAME).mean()),
                "median": float(apart.median()),
                "percentile_99": float(apart.quantile(0.99)),
                "largest": float(apart.max()),
                "one": float(both["one"].mean()),
                "other": float(both["other"].mean()),
            }
        )
    return pd.DataFrame(found)


def drawn_on(folders: Sequence[Path]) -> str:
    """Devices and libraries that the runs name."""
    found = joined(read_record(folder)["drawn_with"] for folder in folders)
    return ", ".join(" ".join(names if what == DEVICE else [what, *names]) for what, names in found.items())


def page(table: pd.DataFrame, suite: str, one: str, other: str) -> str:
    """The table for people."""
    lines = [
        "# The same cells on two devices",
        "",
        f"{in_markdown(suite)}, each edit made and each picture drawn anew on either side: {one}; {other}.",
        f"Same: to {SAME:g}. Differences are of one picture's score; the last two columns are means over the",
        f"pictures on either side. All metrics: {NAME}.csv.",
        "",
        "| metric | method | pictures | same | median | 99 % | largest | mean | mean there |",
        "|---|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for row in table[table["metric"].isin(SHOWN)].to_dict("records"):
        name = f"{row['evaluator']}: {row['metric']}"
        lines.append(
            f"| {in_markdown(name)} | {in_markdown(row['method'])} | {row['pictures']} | {row['same']:.3f} "
            f"| {row['median']:.1e} | {row['percentile_99']:.1e} | {row['largest']:.1e} "
            f"| {row['one']:.4f} | {row['other']:.4f} |"
        )
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m studies.devices_agree", description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("others", type=Path, nargs="+")
    parser.add_argument("--out", type=Path, default=Path("results/microworld"))
    given = parser.parse_args()
    try:
        table = compared(together(given.run, given.others))
        suite = str(read_record(given.run)["suite"])
        text = page(table, suite, drawn_on([given.run]), drawn_on(given.others))
        write_text(given.out / f"{NAME}.csv", table.to_csv(index=False, float_format="%.6g"))
        write_text(given.out / f"{NAME}.md", text)
    except BenchError as error:
        parser.error(str(error))


if __name__ == "__main__":
    main()
