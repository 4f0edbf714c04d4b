"""`python -m studies.prompts_needed`: how many prompts a column needs for its order of methods to come again.

For every suite, role and headline metric of `results/microworld`: of two independent repetitions of the
whole study, each with n prompts for each concept and k seeds, how well do the orders of the methods agree
(Kendall's τ-b)? The smallest n that gives .9 is what is needed. Beside it what prompts cost, so that suites
can have as many as their boards can bear. Writes `results/statistics/prompts_needed.{csv,md}`.

Scores of a column are split into what the methods are, what prompts and training seeds do to them, and what
is left (two-way analysis of variance, prompts × seeds, of all methods together). Repetitions are drawn from
that, normally distributed. As the spread of the methods' means is partly chance, they are moved together
until their spread is what is left of it without (method of moments). Prompts that several concepts share
are one.
"""

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pandas import DataFrame

from erasure_bench.bench.reporting.record import read_record
from erasure_bench.bench.reporting.results import SCORES
from erasure_bench.bench.reporting.run_file import RUN
from erasure_bench.bench.statistics.ranks import retest
from erasure_bench.bench.storage.atomic import write_text
from erasure_bench.errors import BenchError
from studies import bars_needed
from studies.microworld_leaderboards import PACKED, reported_suites

GRID = (4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384)
SHOWN = (12, 24, 48, 96)
SEEDS = (1, 3)
ENOUGH = 0.9
REPETITIONS = 200
SIGNIFICANT = 0.05
_DECIMALS = 9

Values = NDArray[np.float64]


class Column(NamedTuple):
    """One role and metric of a suite: `scores` [prompts, seeds, methods], their means the table's numbers.

    `prompts` is how many there are for each concept, `scores.shape[0]` how many different ones.
    `groups` counts the concepts, those with prompts in common as one.
    """

    suite: str
    role: str
    evaluator: str
    metric: str
    title: str
    concepts: int
    prompts: float
    groups: int
    scores: Values


@dataclass(frozen=True)
class Spread:
    """Where the numbers of a column come from: `mean` [methods] and covariances [methods, methods].

    A prompt adds `prompt` to the numbers, a training seed the variances `seed` [methods], a picture `rest`.
    """

    mean: Values
    prompt: Values
    seed: Values
    rest: Values

    def of_mean(self, prompts: float, seeds: int) -> Values:
        """The covariance of the means over so many different prompts and seeds."""
        return self.prompt / prompts + np.diag(self.seed) / seeds + self.rest / (prompts * seeds)


def columns(suite: str, folder: Path) -> Iterator[Column]:
    """The headline columns of a suite's results; the base model is no rival."""
    baseline = read_record(folder)["baseline"]
    table = pd.read_csv(folder / PACKED)
    shown = table[table["headline"] & (table["scope"] == "overall")]
    scores = pd.read_parquet(folder / SCORES)
    scores = scores[(scores["method"] != baseline) & ~scores["repeated"].astype(bool)]
    keys = ["role", "evaluator", "metric"]
    for role, evaluator, metric, title in shown[[*keys, "title"]].drop_duplicates().itertuples(index=False):
        own = (scores["evaluator"] == evaluator) & (scores["metric"] == metric)
        found = scores[own & (scores["role"] == role)]
        yield Column(suite, str(role), str(evaluator), str(metric), str(title), *_laid_out(found))


def _laid_out(scores: DataFrame) -> tuple[int, float, int, Values]:
    """Concepts, prompts for each, groups of concepts, and the scores as in `Column`.

    What a prompt adds to the mean over concepts of means over prompts: the sum of its deviations from the
    concepts' means, each weighed as that concept's prompts are, so that prompts of few and of many concepts
    stand side by side.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    wide = scores.pivot_table("value", ["concept", "prompt_id"], ["seed", "method"], aggfunc="mean")
    if scores["value"].isna().any() or wide.isna().to_numpy().any():
        raise BenchError("scores are missing: how many prompts are needed is said of whole results alone")
    concept, _ = pd.factorize(wide.index.get_level_values("concept"))
    prompt, ids = pd.factorize(wide.index.get_level_values("prompt_id"))
    seeds = scores["seed"].nunique()
    values = wide.to_numpy().reshape(len(wide), seeds, -1)
    sizes = np.bincount(concept)
    means = np.stack([values[concept == one].mean(axis=(0, 1)) for one in range(len(sizes))])
    weighed = (values - means[concept, None]) * (len(ids) / (sizes[concept] * len(sizes)))[:, None, None]
    total = np.zeros((len(ids), *values.shape[1:]))
    np.add.at(total, prompt, weighed)
    edges = coo_array(
        (np.ones(len(wide)), (concept, prompt + len(sizes))), shape=(len(sizes) + len(ids),) * 2
    )
    groups, _ = connected_components(edges, directed=False)
    return len(sizes), float(sizes.mean()), int(groups), total + means.mean(axis=0)


def spread_of(scores: Values, groups: int) -> Spread:
    """The parts of scores [prompts, seeds, methods] with several seeds; the means' own spread without chance.

    A method's training seed counts where it shows (F test at .05): where nothing is trained it must not.
    """
    from scipy.stats import f

    prompts, seeds, methods = scores.shape
    mean = scores.mean(axis=(0, 1))
    by_prompt, by_seed = scores.mean(axis=1) - mean, scores.mean(axis=0) - mean
    left = scores - mean - by_prompt[:, None] - by_seed[None]
    freedom = (prompts - groups) * (seeds - 1)
    rest = np.einsum("psm,psn->mn", left, left) / freedom
    prompt = _positive((by_prompt.T @ by_prompt) / (prompts - groups) - rest / seeds)
    of_seeds, of_rest = prompts * (by_seed**2).sum(axis=0) / (seeds - 1), np.diag(rest)
    shows = f.sf(of_seeds / np.maximum(of_rest, 1e-15), seeds - 1, freedom) < SIGNIFICANT
    seed = np.where(shows, (of_seeds - of_rest) / prompts, 0.0)
    found = Spread(mean, prompt, seed, rest)
    centred = np.eye(methods) - 1 / methods
    chance = np.trace(centred @ found.of_mean(prompts, seeds)) / (methods - 1)
    seen = mean.var(ddof=1)
    kept = max(0.0, 1 - chance / seen) ** 0.5 if seen > 0 else 0.0
    return Spread(mean.mean() + kept * (mean - mean.mean()), prompt, seed, rest)


def agreement(spread: Spread, prompts: float, seeds: int, *, same_prompts: bool = False) -> float:
    """Mean τ-b between two repetitions with so many different prompts; NaN where all methods are equal."""
    rng = np.random.default_rng(0)
    shape = (REPETITIONS, len(spread.mean))
    shared = np.zeros(shape)
    own = spread.of_mean(prompts, seeds)
    if same_prompts:
        shared = rng.normal(size=shape) @ _root(spread.prompt / prompts).T
        own = own - spread.prompt / prompts
    root = _root(own).T
    one, other = (spread.mean + shared + rng.normal(size=shape) @ root for _ in range(2))
    taus = [retest(np.stack(pair, axis=1).round(_DECIMALS)) for pair in zip(one, other, strict=True)]
    known = [tau for tau in taus if tau is not None]
    return float(np.mean(known)) if known else np.nan


def needed(spread: Spread, seeds: int, distinct: float) -> int | None:
    """The fewest prompts for each concept, of `GRID`, that give `ENOUGH`; `distinct` different ones for each.

    None where not even the most do.
    """
    low, high = 0, len(GRID)
    while low < high:
        middle = (low + high) // 2
        enough = agreement(spread, GRID[middle] * distinct, seeds) >= ENOUGH
        low, high = (low, middle) if enough else (middle + 1, high)
    return GRID[low] if low < len(GRID) else None


def row_of(column: Column) -> dict[str, Any]:
    """What the table says of a column."""
    spread = spread_of(column.scores, column.groups)
    present, own_seeds, methods = column.scores.shape
    distinct = present / column.prompts
    return {
        "suite": column.suite,
        "role": column.role,
        "evaluator": column.evaluator,
        "metric": column.metric,
        "title": column.title,
        "methods": methods,
        "concepts": column.concepts,
        "prompts": column.prompts,
        "distinct": present,
        "between_seeds": retest(column.scores.mean(axis=0).T),
        "between_seeds_expected": agreement(spread, present, 1, same_prompts=True),
        "now": agreement(spread, present, own_seeds),
        **{
            f"tau_{prompts}_prompts_{seeds}_seeds": agreement(spread, prompts * distinct, seeds)
            for seeds in SEEDS
            for prompts in SHOWN
        },
        **{f"needed_{seeds}_seeds": needed(spread, seeds, distinct) for seeds in SEEDS},
    }


class Cost(NamedTuple):
    """What a suite's results took: cells (method, concept, seed), and seconds of training on one core."""

    suite: str
    cells: int
    training: float


def cost_of(suite: str, folder: Path) -> Cost:
    """From a suite's run.json."""
    cells = read_record(folder)["cells"]
    return Cost(suite, len(cells), sum(cell["cost"]["erase_seconds"] or 0.0 for cell in cells))


class Means(NamedTuple):
    """What there is to spend: hours on so many cores, on all of which together so many pictures are drawn."""

    hours: float
    cores: int
    pictures_per_second: float

    def hours_for(self, costs: Sequence[Cost], prompts: float) -> float:
        """Hours for all cells with so many prompts of all roles together; training is one core's work."""
        training = sum(cost.training for cost in costs) / self.cores
        return (training + sum(cost.cells for cost in costs) * prompts / self.pictures_per_second) / 3600

    def affordable(self, costs: Sequence[Cost]) -> int:
        """The most prompts for each concept, all roles together, that take no longer."""
        fixed, one = self.hours_for(costs, 0), self.hours_for(costs, 1)
        return max(0, int((self.hours - fixed) / (one - fixed)))


def page(table: DataFrame, costs: Sequence[Cost], means: Means) -> str:
    """The study in Markdown."""
    return (
        "\n".join(
            [
                HEAD,
                *_by_column(table),
                *_by_suite(table),
                *_check(table),
                *bars_needed.section(),
                *_trade(costs, means),
            ]
        )
        + "\n"
    )


HEAD = f"""# How many prompts a column needs

Made by `python -m studies.prompts_needed` from the scores in `results/microworld`. Needed are the fewest
prompts for each concept with which two independent repetitions, other prompts, other noise, other training
seeds, order the methods with a mean τ-b of {ENOUGH}. Every number is in `prompts_needed.csv`.
"""

SPLITS = (
    {"target": 12, "anchor": 10, "neighbour": 12, "retention": 16},
    {"target": 24, "anchor": 10, "neighbour": 24, "retention": 24},
    {"target": 24, "anchor": 12, "neighbour": 24, "retention": 48},
    {"target": 24, "anchor": 12, "neighbour": 24, "retention": 96},
    {"target": 48, "anchor": 12, "neighbour": 48, "retention": 96},
)
"""Prompts for each concept and role, whose cost the page states."""


def _by_column(table: DataFrame) -> Iterator[str]:
    most = SEEDS[-1]
    yield "## By role and metric\n"
    yield (
        f"Medians over suites; in brackets the least and the most, > {GRID[-1]}: not even with so many. "
        f"*Now* is with the prompts that there are; τ is with {most} seeds.\n"
    )
    heads = [*(f"needed, {seeds} seed{'s' * (seeds > 1)}" for seeds in SEEDS), "prompts now", "τ now"]
    heads += [f"τ of {prompts}" for prompts in SHOWN]
    yield f"| role | metric | suites | {' | '.join(heads)} |"
    yield "|---|---|---:|" + "---:|" * len(heads)
    for (role, title), rows in table.groupby(["role", "title"], sort=False):
        cells = [_range(rows[f"needed_{seeds}_seeds"]) for seeds in SEEDS]
        cells.append(f"{rows['prompts'].min():.0f} to {rows['prompts'].max():.0f}")
        taus = ("now", *(f"tau_{prompts}_prompts_{most}_seeds" for prompts in SHOWN))
        cells += [f"{rows[tau].median():.2f}" for tau in taus]
        yield f"| {role} | {title} | {len(rows)} | {' | '.join(cells)} |"
    yield ""


def _range(found: pd.Series) -> str:
    """Median [least, most], where None is more than the most that was tried."""
    counts = found.fillna(np.inf)
    middle = float(counts.quantile(interpolation="higher"))
    return f"{_count(middle)} [{_count(counts.min())}, {_count(counts.max())}]"


def _count(count: float) -> str:
    return f"> {GRID[-1]}" if np.isinf(count) else f"{count:.0f}"


def _by_suite(table: DataFrame) -> Iterator[str]:
    yield f"## By suite\n\nNeeded with {SEEDS[-1]} seeds.\n"
    suites = list(table["suite"].unique())
    yield f"| role | metric | {' | '.join(suites)} |"
    yield "|---|---|" + "---:|" * len(suites)
    for (role, title), rows in table.groupby(["role", "title"], sort=False):
        by_suite = rows.set_index("suite")[f"needed_{SEEDS[-1]}_seeds"].fillna(np.inf)
        cells = [_count(by_suite[suite]) if suite in by_suite else "–" for suite in suites]
        yield f"| {role} | {title} | {' | '.join(cells)} |"
    yield ""


def _check(table: DataFrame) -> Iterator[str]:
    """What the model says of something that was seen."""
    both = table.dropna(subset=["between_seeds", "between_seeds_expected"])
    seen, expected = both["between_seeds"], both["between_seeds_expected"]
    apart = (seen - expected).abs()
    yield "## Is that right?\n"
    yield (
        "What can be seen is how seeds agree on the same prompts, with the prompts that there are: over "
        f"{len(both)} columns τ-b is {seen.mean():.2f} in the mean and {seen.median():.2f} in the median, by "
        f"the same model {expected.mean():.2f} and {expected.median():.2f}. Column by column the two differ "
        f"by {apart.median():.2f} in the median, by at most {apart.quantile(0.9):.2f} in nine of ten."
    )
    yield ""


def _trade(costs: Sequence[Cost], means: Means) -> Iterator[str]:
    cells = sum(cost.cells for cost in costs)
    training = sum(cost.training for cost in costs) / 3600
    yield "## What can be had\n"
    yield (
        f"{cells:,} edits (methods × concepts × seeds, {len(costs)} suites) took {training:.1f} hours of one "
        f"core to train. On {means.cores} cores, with {means.pictures_per_second:g} pictures a second, "
        f"{means.hours:g} hours hold {means.affordable(costs)} prompts for each concept, all roles together. "
        f"One prompt more for each concept costs {cells / means.pictures_per_second / 60:.1f} minutes.\n"
    )
    roles = list(SPLITS[0])
    yield f"| {' | '.join(roles)} | together | hours |"
    yield "|" + "---:|" * (len(roles) + 2)
    for split in SPLITS:
        together = sum(split.values())
        hours = means.hours_for(costs, together)
        yield f"| {' | '.join(str(split[role]) for role in roles)} | {together} | {hours:.1f} |"
    yield "\nBy suite, where each takes its share of the hours by its number of edits:\n"
    yield "| suite | edits | hours | of these training | prompts for each concept |"
    yield "|---|---:|---:|---:|---:|"
    for cost in costs:
        share = means._replace(hours=means.hours * cost.cells / cells)
        training = cost.training / 3600 / means.cores
        told = f"{cost.cells} | {share.hours:.1f} | {training:.1f} | {share.affordable([cost])}"
        yield f"| {cost.suite} | {told} |"


def _positive(covariance: Values) -> Values:
    """The nearest covariance: differences of estimates may have negative variances."""
    root = _root(covariance)
    found: Values = root @ root.T
    return found


def _root(covariance: Values) -> Values:
    sizes, directions = np.linalg.eigh(covariance)
    root: Values = directions * np.sqrt(np.maximum(sizes, 0.0))
    return root


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m studies.prompts_needed", description=__doc__)
    parser.add_argument("--results", type=Path, default=Path("results/microworld"))
    parser.add_argument("--out", type=Path, default=Path("results/statistics"))
    parser.add_argument("--hours", type=float, default=10.0, help="that the whole study may take")
    parser.add_argument("--cores", type=int, default=2)
    parser.add_argument("--pictures-per-second", type=float, default=8.0, help="on all cores together")
    given = parser.parse_args()
    folders = {suite: given.results / suite for suite in reported_suites()}
    found = {suite: folder for suite, folder in folders.items() if (folder / RUN).exists()}
    if not found:
        parser.error(
            f"--results {given.results}: no suite's run.json; python -m studies.microworld_leaderboards"
        )
    try:
        rows = [row_of(column) for suite, folder in found.items() for column in columns(suite, folder)]
        costs = [cost_of(suite, folder) for suite, folder in found.items()]
    except BenchError as error:
        parser.error(str(error))
    table = DataFrame(rows)
    given.out.mkdir(parents=True, exist_ok=True)
    whole = table.astype({f"needed_{seeds}_seeds": "Int64" for seeds in SEEDS}).round(3)
    write_text(given.out / "prompts_needed.csv", whole.to_csv(index=False, lineterminator="\n"))
    means = Means(given.hours, given.cores, given.pictures_per_second)
    write_text(given.out / "prompts_needed.md", page(table, costs, means))


if __name__ == "__main__":
    main()
