"""`python -m studies.tune_presets`: choose the methods' `microworld` presets on validation concepts.

Every candidate of GRIDS erases every concept of `microworld-validation`, which no suite reports
on. A candidate's merit is the harmonic mean of

    erased = 1 − p / p_none       p: probability of the concept where it is asked for or evoked
    kept   = a / a_none           a: share of neighbours and of unrelated subjects still recognised

both from the oracle, clipped to [0, 1]. All candidates go to `results/microworld/tuning.csv`; the best of
each method, where it is not the preset already, is to be written into the method's card by hand.
"""

import argparse
import sys
from collections.abc import Iterable, Iterator, Mapping
from itertools import product
from pathlib import Path
from typing import Any

import pandas as pd

from studies.leaderboard_summary import ERASED, KEPT
from studies.running import bench_run

SUITE = "microworld-validation"
ESD = {"steps": (100,), "learning_rate": (5e-5, 1e-4, 2e-4)}
ABLATION = {"steps": (70, 100)}
"""The rest follows the kind of concept: `methods.ablation_recipes`."""
GRIDS: dict[str, Mapping[str, tuple[object, ...]]] = {
    "esd-x": ESD,
    "esd-x-strict": ESD,
    "esd-u": ESD,
    "esd-all": ESD,
    "sld-weak": {"safety_scale": (200.0,)},
    "sld-weak-diffusers": {"safety_scale": (20.0,)},
    "sld-medium": {"threshold": (0.01, 0.03, 0.1), "momentum_scale": (0.3,)},
    "sld-strong": {"threshold": (0.025, 0.1, 0.3)},
    "sld-max": {"threshold": (1.0,)},
    "negative-prompt": {},
    "ca-model": ABLATION,
    "ca-noise": ABLATION,
    "ca-reverse": ABLATION,
    "loss-max": {"learning_rate": (1e-3, 2e-3), "penalty": (0.001, 0.003, 0.01)},
    "sa": {"learning_rate": (2e-4, 4e-4), "ewc_weight": (0.05, 0.5)},
    "uce": {"guide": ("anchor", "auto"), "keep_scale": (0.1, 0.5)},
}


def candidates(grid: Mapping[str, tuple[object, ...]]) -> Iterator[dict[str, object]]:
    """Every combination of a grid's values."""
    for values in product(*grid.values()):
        yield dict(zip(grid, values, strict=True))


def mean_value(rows: Iterable[Mapping[str, Any]], method: str, metric: str, roles: tuple[str, ...]) -> float:
    """The oracle's metric, averaged over concepts and then over the roles that are there."""
    found = pd.DataFrame(
        [
            (row["role"], row["value"])
            for row in rows
            if row["method"] == method
            and row["scope"] == "concept"
            and row["evaluator"] == "classifier"
            and row["metric"] == metric
            and row["role"] in roles
        ],
        columns=["role", "value"],
    )
    return float(found.groupby("role")["value"].mean().mean())


def merit(rows: list[dict[str, Any]], method: str) -> dict[str, float]:
    """erased, kept and their harmonic mean."""

    def relative(metric: str, roles: tuple[str, ...]) -> float:
        ratio = mean_value(rows, method, metric, roles) / mean_value(rows, "none", metric, roles)
        return min(max(ratio, 0.0), 1.0)

    erased = 1 - relative("class_probability", ERASED)
    kept = relative("class_accuracy", KEPT)
    return {"erased": erased, "kept": kept, "merit": 2 * erased * kept / (erased + kept or 1.0)}


def try_out(method: str, options: Mapping[str, object], given: argparse.Namespace) -> dict[str, float]:
    """One candidate on the validation concepts."""
    words = [
        word for key, value in options.items() for word in ("--method-option", f"{method}.{key}={value}")
    ]
    document = bench_run(
        *("--suite", SUITE, "--methods", method, "--evaluators", "classifier", "--limit", str(given.limit)),
        *(("--concepts", given.concepts) if given.concepts else ()),
        *("--store", str(given.work / "store"), "--out", str(given.work / "run")),
        *words,
    )
    seconds = [row["erase_seconds"] for row in document["rows"] if row["method"] == method]
    return {**merit(document["rows"], method), "erase_seconds": float(pd.Series(seconds).mean())}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m studies.tune_presets", description=__doc__)
    parser.add_argument("--methods", help="comma list; all by default")
    parser.add_argument("--limit", type=int, default=6, help="prompts of each role and concept")
    parser.add_argument("--concepts", help="comma list of validation concepts; all by default")
    parser.add_argument("--work", type=Path, default=Path(".bench/tuning"))
    parser.add_argument("--out", type=Path, default=Path("results/microworld/tuning.csv"))
    given = parser.parse_args()
    methods = given.methods.split(",") if given.methods else list(GRIDS)
    tried = []
    for method in methods:
        for options in candidates(GRIDS[method]):
            numbers = try_out(method, options, given)
            text = " ".join(f"{key}={value}" for key, value in options.items())
            tried.append({"method": method, "options": text} | numbers)
            print(tried[-1], file=sys.stderr, flush=True)
    known = pd.read_csv(given.out) if given.out.exists() else pd.DataFrame()
    if not known.empty:
        known = known[~known["method"].isin(methods)]
    table = pd.concat([known, pd.DataFrame(tried)]).sort_values(["method", "merit"], ascending=[True, False])
    given.out.parent.mkdir(parents=True, exist_ok=True)
    table.to_csv(given.out, index=False, float_format="%.4f")
    print(table.groupby("method").head(1).to_string(index=False))


if __name__ == "__main__":
    main()
