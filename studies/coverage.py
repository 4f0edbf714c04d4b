"""`python -m studies.coverage`: how often the intervals hold the true value, and how wide they are.

Writes `results/statistics/coverage.csv`, one row for each scenario of `studies.coverage_scenarios` and for
each column of the committed leaderboards whose prompts are drawn anew (`real`), and `coverage.md`. The bar is
at least .93 in nine scenarios of ten and .90 in all. *Former* is the bootstrap that stood here before,
percentiles of resamples of prompts within each concept, tried on a part of the simulations.

With several training seeds the true value is the mean over all of them; with one, the mean given its weights.
"""

import argparse
import sys
from collections.abc import Iterator
from dataclasses import fields
from functools import cache
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from erasure_bench.bench.statistics.cells import Cells, Groups
from erasure_bench.bench.statistics.intervals import Ends, Scale, change_intervals, level_intervals
from erasure_bench.bench.statistics.moments import moments
from erasure_bench.bench.storage.atomic import write_text
from studies.coverage_scenarios import SIMULATIONS, Scenario, Simulated, scenarios, simulate

Values = NDArray[np.float64]
RESAMPLES, SEED = 1000, 20230712
FEWEST = 8
"""Prompts in common that make a population of their own."""
COVERED = ("coverage", "width", "former_coverage", "former_width")
OF_FORMER = 250
"""Simulations on which the former method is tried: it takes longer than all else."""
NINE_IN_TEN, ALL = 0.93, 0.90
SCALES: dict[str, Scale] = {"share": "share", "probability": "bounded", "count": "count", "cosine": "free"}
METRICS = {"class_accuracy": "share", "class_probability": "probability", "clip_cosine": "cosine"}
BOUNDS = {"share": (0.0, 1.0), "probability": (0.0, 1.0), "count": (0.0, np.inf), "cosine": (0.0, 1.0)}


def cells(scores: Values, shared: bool) -> tuple[Cells, Groups]:
    """Of scores [simulations, concepts, prompts, seeds]: each simulation is a number."""
    simulations, concepts, prompts, seeds = scores.shape
    strata = simulations * concepts
    cluster = np.arange(prompts) if shared else np.arange(prompts * concepts).reshape(concepts, prompts)
    cluster = np.broadcast_to(cluster, (simulations, concepts, prompts))
    found = Cells.of(
        np.arange(strata).repeat(prompts * seeds),
        cluster.reshape(-1).repeat(seeds),
        np.tile(np.arange(seeds), strata * prompts),
        scores.reshape(-1),
        strata,
    )
    return found, Groups(np.arange(simulations).repeat(concepts), np.zeros(simulations, dtype=bool))


def ends_of(made: Simulated, of: str, shared: bool) -> Ends:
    """The project's intervals of values or of changes."""
    own, groups = cells(made.scores, shared)
    if of == "count":
        groups = Groups(groups.number, np.ones(groups.count, dtype=bool))
    level = moments(own, groups)
    if made.base is None:
        return level_intervals(level, SCALES[of], BOUNDS[of])
    base = moments(cells(made.base, shared)[0].untrained(np.ones(own.strata, dtype=bool)), groups)
    change = moments(cells(made.scores - made.base, shared)[0], groups)
    return change_intervals(level, base, change, SCALES[of], BOUNDS[of])


def former_ends(scores: Values, total: bool) -> Ends:
    """Percentiles of means over prompts that are resampled within each concept; seeds are averaged."""
    simulations, concepts, prompts, _ = scores.shape
    of_prompt = scores.mean(axis=3)
    resampled = np.zeros((simulations, RESAMPLES))
    for concept in range(concepts):
        resampled += of_prompt[:, concept] @ _resamples(prompts, concept)
    resampled *= prompts / concepts if total else 1 / concepts
    low, high = np.quantile(resampled, [0.025, 0.975], axis=1)
    return Ends(low, high)


@cache
def _resamples(prompts: int, concept: int) -> Values:
    """[prompts, resamples]: how much of a resample each prompt is."""
    random = np.random.default_rng([SEED, prompts, concept])
    return np.ascontiguousarray(
        random.multinomial(prompts, np.full(prompts, 1 / prompts), RESAMPLES).T / prompts
    )


def measured(made: Simulated, of: str, shared: bool) -> dict[str, float]:
    """Coverage and median width of both methods."""
    change = made.scores if made.base is None else made.scores - made.base
    few, row = change[:OF_FORMER], {}
    for name, ends in (("", ends_of(made, of, shared)), ("former_", former_ends(few, of == "count"))):
        truth = made.truth[: len(ends.low)]
        hit = (ends.low <= truth + 1e-9) & (truth - 1e-9 <= ends.high)
        row[f"{name}coverage"] = float(hit.mean())
        row[f"{name}width"] = float(np.median(ends.high - ends.low))
    return row


def made_up(simulations: int, only: str = "") -> Iterator[dict[str, Any]]:
    """One row for each scenario of the grid."""
    for number, scenario in enumerate(scenarios()):
        if not scenario.family.startswith(only):
            continue
        made = simulate(scenario, np.random.default_rng([SEED, number]), simulations)
        of = scenario.family.removeprefix("change of ")
        yield {**vars(scenario), **measured(made, of, scenario.shared)}


def real(folder: Path, simulations: int) -> Iterator[dict[str, Any]]:
    """Rows for each method, role and metric of the committed scores of seed 0 that are not all the same.

    The prompts there are taken for all that there are, as many as there are of each concept are drawn with
    replacement: jointly where the concepts have prompts in common. The base model's row comes first.
    """
    for path in sorted(folder.glob("*/scores.parquet")):
        table = pd.read_parquet(path)
        baseline = str(table["method"].iloc[0])
        table = table[(table["seed"] == 0) & table["metric"].isin(METRICS)]
        means = table.groupby(["metric", "role", "method", "concept", "prompt_id"])["value"].mean()
        for number, name in enumerate(means.groupby(level=[0, 1, 2]).groups):
            metric, role, method = map(str, cast(tuple[Any, ...], name))
            own, shared = _population(means.loc[metric, role, method])
            base, _ = _population(means.loc[metric, role, baseline])
            count, prompts = own.shape
            chosen = np.random.default_rng([SEED, number]).integers(
                prompts, size=(simulations, 1 if shared else count, prompts)
            )
            chosen = np.broadcast_to(chosen, (simulations, count, prompts))
            drawn, drawn_base = (np.take_along_axis(all_[None], chosen, 2)[..., None] for all_ in (own, base))
            level = Simulated(drawn, None, np.full(simulations, own.mean()))
            change = Simulated(drawn, drawn_base, np.full(simulations, (own - base).mean()))
            about = {
                "kind": f"{path.parent.name} {role} {method}",
                "level": float(own.mean()),
                "concepts": count,
                "shared": shared,
                "seeds": 1,
                "seed_effect": "none",
                "prompts": prompts,
            }
            of = METRICS[metric]
            if np.ptp(own, axis=1).max() > 0:
                yield {"family": f"real {of}", **about, **measured(level, of, shared)}
            if np.ptp(own - base, axis=1).max() > 0:
                row = {"family": f"real change of {of}", "base": float(base.mean()), **about}
                yield row | measured(change, of, shared)


def _population(values: pd.Series) -> tuple[Values, bool]:
    """[concepts, prompts]: the prompts that all have in common, or as many as the concept with the fewest
    has; and whether they are the same ones."""
    common = values.unstack("concept").dropna()
    if len(common) >= FEWEST:
        return common.to_numpy().T, True
    concepts = [one.to_numpy() for _, one in values.groupby(level=0)]
    return np.stack([one[: min(map(len, concepts))] for one in concepts]), False


SHOWN = (
    *("family", "kind", "level", "base", "concepts", "shared", "seeds", "seed_effect", "prompts"),
    "coverage",
)
HEAD = """# Do the intervals cover?

Made by `python -m studies.coverage`: {scenarios:,} scenarios, {simulations:,} simulations each, nominal
95 %. The true value is the mean over all prompts that could have been written, for the concepts that are
there; with 3 training seeds over all seeds as well, with one seed given the weights that it trained.
*Former* is the percentile bootstrap of prompts within each concept. The bar is .93 in nine scenarios of
ten and .90 in all. The Monte Carlo error of a coverage of .95 is ± .007 (one standard error). *Real*:
columns of the committed leaderboards, seed 0, their prompts taken for all that there are and drawn anew,
where they are not all the same.

| estimated | scenarios | ≥ .93 | ≥ .90 | worst | median | width | former: ≥ .93 | worst | median | width |
|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|
"""
TAIL = """
The ten scenarios with the lowest coverage:

"""


def page(found: pd.DataFrame, simulations: int) -> str:
    """The result in Markdown."""
    families = [*found.groupby("family", sort=False), ("**all**", found)]
    lowest = [f"| {' | '.join(SHOWN)} |", "|" + "---|" * len(SHOWN)]
    for _, row in found.nsmallest(10, "coverage").iterrows():
        lowest.append(f"| {' | '.join(_text(row[name]) for name in SHOWN)} |")
    return (
        HEAD.format(scenarios=len(found), simulations=simulations)
        + "\n".join(f"| {name} | {len(rows)} | {_figures(rows)} |" for name, rows in families)
        + "\n"
        + TAIL
        + "\n".join(lowest)
        + "\n"
    )


def _figures(rows: pd.DataFrame) -> str:
    coverage, former = rows["coverage"], rows["former_coverage"]
    return " | ".join(
        (
            f"{(coverage >= NINE_IN_TEN).mean():.1%}",
            f"{(coverage >= ALL).mean():.1%}",
            *(f"{figure:.3f}" for figure in (coverage.min(), coverage.median(), rows["width"].median())),
            f"{(former >= NINE_IN_TEN).mean():.1%}",
            *(f"{figure:.3f}" for figure in (former.min(), former.median(), rows["former_width"].median())),
        )
    )


def _text(value: Any) -> str:
    if isinstance(value, float):
        return "" if np.isnan(value) else f"{value:.3g}"
    return str(value)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m studies.coverage", description=__doc__)
    parser.add_argument("--simulations", type=int, default=SIMULATIONS)
    parser.add_argument("--only", default="", help="families that begin so")
    parser.add_argument("--scores", type=Path, default=Path("results/microworld"))
    parser.add_argument("--out", type=Path, default=Path("results/statistics"))
    given = parser.parse_args()
    rows = [*made_up(given.simulations, given.only)]
    if not given.only or given.only == "real":
        rows += real(given.scores, given.simulations)
    found = pd.DataFrame(rows, columns=[*(field.name for field in fields(Scenario)), *COVERED])
    given.out.mkdir(parents=True, exist_ok=True)
    write_text(
        given.out / "coverage.csv", found.to_csv(index=False, float_format="%.4f", lineterminator="\n")
    )
    write_text(given.out / "coverage.md", page(found, given.simulations))
    print(f"{len(found)} scenarios: {given.out / 'coverage.md'}", file=sys.stderr)


if __name__ == "__main__":
    main()
