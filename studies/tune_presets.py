"""`python -m studies.tune_presets METHOD [OPTIONS …]`: choose a `microworld` preset on validation concepts.

Each OPTIONS, such as "eta=4 steps=150", is a candidate: the method's present preset for the built-in model
with these options changed; none is the preset itself. A candidate erases every concept of
`microworld-validation`, which no suite reports on. Its merit is the harmonic mean of

    erased = 1 − p / p_none       p: probability of the concept where it is asked for or evoked
    kept   = a / a_none           a: share of neighbours and of unrelated subjects still recognised

both from the oracle, averaged over concepts, clipped to [0, 1]. Candidates go to
`results/microworld/tuning.csv` with all of their settings that differ from the official ones, so that a later
change of the preset changes no row's meaning: `--again` makes the method's rows anew from them.
"""

import argparse
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from erasure_bench.bench.planning.chosen import plain_settings
from erasure_bench.bench.planning.config import options as parse_options
from erasure_bench.errors import BenchError
from erasure_bench.methods.registry import build_method
from studies.leaderboard_summary import ERASED, KEPT
from studies.running import bench_run

SUITE = "microworld-validation"
PRESET = "microworld"
PROBABILITY, ACCURACY = "class_probability", "class_accuracy"
Options = Mapping[str, str]
Rows = list[dict[str, Any]]


def whole(method: str, changes: Options) -> dict[str, str]:
    """All settings of a candidate that differ from the official preset's, as text.

    Raises BenchError for options that the method does not take.
    """
    official = plain_settings(method, build_method(method))
    own = plain_settings(method, build_method(method, PRESET, changes))
    return {name: str(value) for name, value in own.items() if value != official[name]}


def as_text(settings: Options) -> str:
    """Such as `eta=4.0 steps=150`."""
    return " ".join(f"{name}={value}" for name, value in sorted(settings.items()))


def from_text(text: str) -> dict[str, str]:
    """The settings that `as_text` wrote, or a user typed."""
    return parse_options(text.split(), "OPTIONS")


def values(rows: Rows, method: str, metric: str, roles: tuple[str, ...]) -> pd.DataFrame:
    """The oracle's metric of each concept and role that is there: columns concept, role, value."""
    found = [
        (row["concept"], row["role"], row["value"])
        for row in rows
        if (row["method"], row["scope"], row["evaluator"], row["metric"])
        == (method, "concept", "classifier", metric)
        and row["role"] in roles
    ]
    return pd.DataFrame(found, columns=["concept", "role", "value"])


def merit(rows: Rows, method: str) -> dict[str, float]:
    """erased, kept and their harmonic mean."""

    def relative(metric: str, roles: tuple[str, ...]) -> float:
        own, base = (
            values(rows, name, metric, roles).groupby("role")["value"].mean().mean()
            for name in (method, "none")
        )
        return min(max(float(own / base), 0.0), 1.0)

    erased = 1 - relative(PROBABILITY, ERASED)
    kept = relative(ACCURACY, KEPT)
    return {"erased": erased, "kept": kept, "merit": 2 * erased * kept / (erased + kept or 1.0)}


def by_concept(rows: Rows, method: str) -> dict[str, float]:
    """The probability that is left of each concept, and the share of what was to be kept of it."""
    left = values(rows, method, PROBABILITY, ERASED).groupby("concept")["value"].mean()
    kept = values(rows, method, ACCURACY, KEPT).groupby("concept")["value"].mean()
    return {f"left of {name}": value for name, value in left.items()} | {
        f"kept beside {name}": value for name, value in kept.items()
    }


def try_out(method: str, settings: Options, given: argparse.Namespace) -> dict[str, Any]:
    """One candidate on the validation concepts, as a row of the table."""
    words = [word for item in settings.items() for word in ("--method-option", f"{method}.{'='.join(item)}")]
    document = bench_run(
        *("--suite", SUITE, "--methods", method, "--preset", "official", "--evaluators", "classifier"),
        *("--limit", str(given.limit)),
        *("--store", str(given.work / "store"), "--out", str(given.work / "run")),
        *words,
    )
    rows: Rows = document["rows"]
    seconds = pd.Series([row["erase_seconds"] for row in rows if row["method"] == method])
    return {
        "method": method,
        "settings": as_text(settings),
        "prompts": given.limit,
        **merit(rows, method),
        "erase_seconds": seconds.mean(),
        **by_concept(rows, method),
    }


def merged(known: pd.DataFrame, tried: Iterable[Mapping[str, Any]]) -> pd.DataFrame:
    """The table with new rows in the place of those of the same settings; the best of each method first."""
    table = pd.concat([known, pd.DataFrame(list(tried))], ignore_index=True)
    table = table.drop_duplicates(["method", "settings", "prompts"], keep="last")
    return table.sort_values(["method", "merit"], ascending=[True, False], ignore_index=True)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m studies.tune_presets", description=__doc__)
    parser.add_argument("method")
    parser.add_argument("candidates", nargs="*", metavar="OPTIONS")
    parser.add_argument(
        "--again", action="store_true", help="also every row that the table has of the method"
    )
    parser.add_argument("--limit", type=int, default=6, help="prompts of each role and concept")
    parser.add_argument("--work", type=Path, default=Path(".bench/tuning"))
    parser.add_argument("--out", type=Path, default=Path("results/microworld/tuning.csv"))
    given = parser.parse_args()
    known = pd.read_csv(given.out, keep_default_na=False) if given.out.exists() else pd.DataFrame()
    try:
        settings = [whole(given.method, from_text(text)) for text in given.candidates]
    except BenchError as error:
        parser.error(str(error))
    if given.again and not known.empty:
        settings += [from_text(text) for text in known.loc[known["method"] == given.method, "settings"]]
    for candidate in settings or [whole(given.method, {})]:
        row = try_out(given.method, candidate, given)
        print(row, file=sys.stderr, flush=True)
        known = merged(known, [row])
        given.out.parent.mkdir(parents=True, exist_ok=True)
        known.to_csv(given.out, index=False, float_format="%.4f")
    print(known[known["method"] == given.method].to_string(index=False))


if __name__ == "__main__":
    main()
