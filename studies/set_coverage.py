"""`python -m studies.set_coverage`: how often the intervals of measures of a set hold the true value.

Features are Gaussian, with a part that a prompt's pictures share, so that KID's, CMMD's and FID's value for
all prompts that could be written is known in closed form. Writes `results/statistics/set-coverage.csv`, one
row for each scenario and measure, and `set-coverage.md`. An interval is held against two values:

- *here*: the statistic's mean over sets of this size, which tables of equal size are compared by;
- *at last*: what it tends to with ever more prompts. What a small set adds (the bias) is in no interval.

The pictures are the edited model's, the reference is the base model's of the same prompts and noises (`base`)
or of other noises (`other-seeds`), or a folder that is taken as given.
"""

import argparse
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from erasure_bench.bench.statistics.intervals import level_intervals
from erasure_bench.bench.statistics.jackknife import in_groups, shares
from erasure_bench.bench.statistics.moments import moments
from erasure_bench.bench.storage.atomic import write_text
from erasure_bench.evaluators.cmmd import CMMD, SCALE, SIGMA
from erasure_bench.evaluators.diversity import near_duplicates
from erasure_bench.evaluators.fidelity import Fidelity
from erasure_bench.evaluators.measuring import Failure
from erasure_bench.evaluators.sets import BASE, NO_PROMPT, OTHER_NOISE, OTHER_SEEDS, FeatureSet
from studies.coverage import cells

Values = NDArray[np.float64]
Reference = Literal["base", "other-seeds", "folder"]
Edit = Literal["nothing", "little", "much"]

SIMULATIONS, SEED = 200, 20240607
FEATURES = 32
OF_PROMPT = 0.5
"""Correlation of two pictures of one prompt."""
IN_FOLDER = 96
SPREAD = np.linspace(1.4, 0.3, FEATURES)
"""Standard deviations of the features."""
CENTRE = np.full(FEATURES, 0.5)
SHIFT = {"nothing": 0.0, "little": 0.4, "much": 1.2}
"""How far an edit moves the first features, in standard deviations."""
MOVED = 8
KEPT = {"nothing": 1.0, "little": 0.9, "much": 0.4}
"""Correlation of the noise's part before and after the edit; with `much` the prompts' part halves."""
UNIT = float(np.sqrt(np.square(SPREAD).sum() + np.square(CENTRE).sum()))
"""CMMD is of embeddings of length 1: the same features by this."""
PROMPTS = (12, 24, 48, 96)
COPIED = (0.1, 0.5)
"""The share of pictures that are one and the same, for `diversity`."""


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """What is drawn and what it is held against."""

    reference: Reference
    edit: Edit
    prompts: int
    pictures: int = 1


class Gaussian(NamedTuple):
    """Independent features: means and variances [features]."""

    mean: Values
    variance: Values


def scenarios() -> Iterator[Scenario]:
    """The grid. Beside the same noises an edit that changes nothing leaves 0 and no doubt."""
    for reference, edit, prompts in product(("base", "other-seeds", "folder"), SHIFT, PROMPTS):
        if (reference, edit) != ("base", "nothing"):
            yield Scenario(reference=reference, edit=edit, prompts=prompts)  # type: ignore[arg-type]
    for reference, edit in product(("base", "other-seeds"), ("little", "much")):
        yield Scenario(reference=reference, edit=edit, prompts=24, pictures=4)  # type: ignore[arg-type]


def drawn_from(edit: Edit) -> Gaussian:
    """The distribution of an edited model's pictures."""
    mean = CENTRE + np.where(np.arange(FEATURES) < MOVED, SHIFT[edit], 0.0) * SPREAD
    return Gaussian(mean, (OF_PROMPT * _of_prompt(edit) ** 2 + 1 - OF_PROMPT) * SPREAD**2)


def _of_prompt(edit: Edit) -> float:
    return 0.5 if edit == "much" else 1.0


def draw(one: Scenario, random: np.random.Generator, folder: Values) -> tuple[FeatureSet, FeatureSet]:
    """The edited model's pictures, and the reference."""
    count = one.prompts * one.pictures
    prompts = np.repeat(np.arange(one.prompts), one.pictures)
    of_prompt = np.sqrt(OF_PROMPT) * random.standard_normal((one.prompts, FEATURES))[prompts]
    noise, new, other = np.sqrt(1 - OF_PROMPT) * random.standard_normal((3, count, FEATURES))
    kept = KEPT[one.edit]
    own = drawn_from(one.edit).mean + SPREAD * (
        _of_prompt(one.edit) * of_prompt + kept * noise + np.sqrt(1 - kept**2) * new
    )
    codes = in_groups(one.prompts)[prompts]
    noises = np.arange(count)
    pictures = FeatureSet(own.astype(np.float32), codes, noises)
    if one.reference == "folder":
        none = np.full(len(folder), NO_PROMPT)
        return pictures, FeatureSet(folder.astype(np.float32), none, np.full(len(folder), OTHER_NOISE))
    same = one.reference == "base"
    base = CENTRE + SPREAD * (of_prompt + (noise if same else other))
    codes_of_noise = noises if same else np.full(count, OTHER_NOISE)
    return pictures, FeatureSet(base.astype(np.float32), codes, codes_of_noise)


def limits(one: Scenario, folder: Values) -> dict[str, float]:
    """KID, CMMD and FID of all prompts that could be written, in closed form; of a folder as it is."""
    own, base = drawn_from(one.edit), drawn_from("nothing")
    if one.reference != "folder":
        return {
            "kid": _cubic(own, own) + _cubic(base, base) - 2 * _cubic(own, base),
            "cmmd": SCALE * (_gaussian(own, own) + _gaussian(base, base) - 2 * _gaussian(own, base)),
            "fid": _frechet(own, base.mean, np.diag(base.variance)),
        }
    cubic = (folder @ folder.T / FEATURES + 1) ** 3
    off = (cubic.sum() - cubic.trace()) / (len(folder) * (len(folder) - 1))
    short = folder / UNIT
    apart = np.square(short[:, None] - short[None]).sum(axis=-1)
    points = [Gaussian(point, np.zeros(FEATURES)) for point in folder]
    across = np.mean([_cubic(own, point) for point in points])
    near = np.mean([_gaussian(own, point) for point in points])
    return {
        "kid": float(_cubic(own, own) + off - 2 * across),
        "cmmd": float(SCALE * (_gaussian(own, own) + np.exp(-apart / (2 * SIGMA**2)).mean() - 2 * near)),
        "fid": _frechet(own, folder.mean(axis=0), np.cov(folder.T)),
    }


def _cubic(one: Gaussian, other: Gaussian) -> float:
    """E (x·y / d + 1)³ of independent x and y, by the moments of x·y given y."""
    mean = one.mean @ other.mean
    spread = np.square(one.mean) @ other.variance
    # given y, x·y is normal about one.mean·y with the variance Σ one.variance y²
    variance = one.variance @ (other.variance + other.mean**2)
    with_mean = mean * variance + 2 * (one.variance * one.mean * other.mean) @ other.variance
    first, second = mean, mean**2 + spread + variance
    third = mean**3 + 3 * mean * spread + 3 * with_mean
    return float(1 + 3 * first / FEATURES + 3 * second / FEATURES**2 + third / FEATURES**3)


def _gaussian(one: Gaussian, other: Gaussian) -> float:
    """E exp(−‖x − y‖² / 2σ²) of independent x and y, each by `UNIT`."""
    variance = (one.variance + other.variance) / UNIT**2 / SIGMA**2
    squared = np.square((one.mean - other.mean) / UNIT) / SIGMA**2
    return float(np.exp(-0.5 * (squared / (1 + variance)).sum()) / np.sqrt(np.prod(1 + variance)))


def _frechet(own: Gaussian, mean: Values, covariance: Values) -> float:
    root = np.sqrt(own.variance)
    middle = np.linalg.eigvalsh(root[:, None] * covariance * root[None])
    traces = own.variance.sum() + np.trace(covariance) - 2 * np.sqrt(np.maximum(middle, 0)).sum()
    return float(np.square(own.mean - mean).sum() + traces)


def measured(one: Scenario, simulations: int, random: np.random.Generator) -> list[dict[str, Any]]:
    """A row for each measure: how often its interval holds, how wide it is, and the bias."""
    fidelity, cmmd = Fidelity(network="of the study"), CMMD()
    folder = CENTRE + SPREAD * random.standard_normal((IN_FOLDER, FEATURES))
    reference = {"base": BASE, "other-seeds": OTHER_SEEDS}.get(one.reference, "folder")
    found: dict[str, list[Values]] = {}
    for _ in range(simulations):
        sets = draw(one, random, folder)
        short = tuple(FeatureSet(each.values / np.float32(UNIT), each.prompts, each.noises) for each in sets)
        for evaluator, (pictures, beside) in ((fidelity, sets), (cmmd, short)):
            group = in_groups(one.prompts)
            values = evaluator.statistics(pictures, beside)
            without = evaluator.without_each(pictures, beside, range(int(group.max()) + 1))
            for name, value in values.items():
                assert not isinstance(value, Failure), value
                found.setdefault(name, []).append(shares(value, without[name], group))
    known = limits(one, folder)
    bounds = {metric.name: metric.bounds for metric in (*fidelity.metrics, *cmmd.metrics)}
    return [
        vars(one)
        | {"reference": reference, "measure": name}
        | _row(np.stack(values), bounds[name], known.get(name))
        for name, values in found.items()
    ]


def _row(of_prompts: Values, bounds: tuple[float, float], limit: float | None) -> dict[str, float]:
    """Of shares [simulations, prompts]."""
    own, groups = cells(of_prompts[:, None, :, None], False)
    low, high = level_intervals(moments(own, groups), "statistic", bounds)
    values = of_prompts.mean(axis=1)
    row = {"mean": float(values.mean()), "sd": float(values.std(ddof=1))}
    row |= {"none": float(np.isnan(low).mean()), "width": _width(low, high)}
    row |= {"here": _held(low, high, float(values.mean()))}
    if limit is not None:
        row |= {"limit": limit, "bias": float(values.mean()) - limit, "at_last": _held(low, high, limit)}
    return row


def _width(low: Values, high: Values) -> float:
    width = (high - low)[~np.isnan(low)]
    return float(np.median(width)) if len(width) else np.nan


def _held(low: Values, high: Values, value: float) -> float:
    """Of the intervals that there are; NaN where there are none."""
    there = ~np.isnan(low)
    return float(((low <= value) & (value <= high))[there].mean()) if there.any() else np.nan


def repeating(prompts: int, copied: float, simulations: int, random: np.random.Generator) -> dict[str, Any]:
    """A row of `diversity`: each picture is one and the same with a chance of `copied`.

    It repeats another if it is a copy and not the only one: copied · (1 − (1 − copied)ⁿ⁻¹) in the mean.
    """
    names = [str(number) for number in range(prompts)]
    is_copy = random.random((simulations, prompts)) < copied
    thumbnails = random.random((simulations, prompts, 48)).astype(np.float32)
    thumbnails[is_copy] = 0.5
    repeats = np.stack([near_duplicates(one, names) for one in thumbnails]).astype(np.float64)
    own, groups = cells(repeats[:, None, :, None], False)
    low, high = level_intervals(moments(own, groups), "share", (0.0, 1.0))
    here = copied * (1 - (1 - copied) ** (prompts - 1))
    return {
        "reference": "none",
        "edit": f"{copied:.0%} copies",
        "prompts": prompts,
        "pictures": 1,
        "measure": "near_duplicate",
        "mean": float(repeats.mean()),
        "sd": float(repeats.mean(axis=1).std(ddof=1)),
        "none": float(np.isnan(low).mean()),
        "width": _width(low, high),
        "here": _held(low, high, here),
        "limit": copied,
        "bias": float(repeats.mean()) - copied,
        "at_last": _held(low, high, copied),
    }


COLUMNS = (
    "measure",
    "reference",
    "edit",
    "prompts",
    "pictures",
    "limit",
    "mean",
    "bias",
    "sd",
    "none",
    "width",
)
HEAD = """# Do the intervals of measures of a set hold?

Made by `python -m studies.set_coverage`: {simulations} simulations a row, nominal 95 %, {features} Gaussian
features with a correlation of {of_prompt} between pictures of one prompt; the project's own KID, FID,
precision, recall, CMMD and `diversity`, their intervals by leaving out prompts. *Here*: how often an interval
holds the statistic's mean over sets of this size; *at last*: how often it holds the value for all prompts
that could be written, known in closed form. *Bias* is the mean less that value, in standard deviations of the
statistic. The Monte Carlo error of a coverage of .95 is ± {error:.3f} (one standard error). `folder`:
{folder} pictures, taken as given. Edits move a quarter of the features by {little} (*little*) or {much}
(*much*) standard deviations. *No interval*: of so many sets the statistic is the same whichever prompt is
left out.

{summary}
| measure | reference | edit | prompts | pictures each | at last: value | bias / sd | here | at last | none |
|---|---|---|---:|---:|---:|---:|---:|---:|---:|
"""


def page(found: pd.DataFrame, simulations: int) -> str:
    """The result in Markdown."""
    head = HEAD.format(
        simulations=simulations,
        features=FEATURES,
        of_prompt=OF_PROMPT,
        error=np.sqrt(0.95 * 0.05 / simulations),
        folder=IN_FOLDER,
        little=SHIFT["little"],
        much=SHIFT["much"],
        summary=summary(found),
    )
    return head + "".join(f"| {' | '.join(_line(row))} |\n" for _, row in found.iterrows())


def summary(found: pd.DataFrame) -> str:
    """One line for each measure: over its rows the least and the median of both coverages."""
    lines = ["| measure | rows | here: least | median | at last: least | median |", "|---|" + "---:|" * 5]
    for name, rows in found.groupby("measure", sort=False):
        figures = [
            "" if rows[column].isna().all() else f"{figure:.3f}"
            for column in ("here", "at_last")
            for figure in (rows[column].min(), rows[column].median())
        ]
        lines.append(f"| {name} | {len(rows)} | {' | '.join(figures)} |")
    return "\n".join(lines) + "\n"


def _line(row: Any) -> Iterator[str]:
    yield from (str(row[name]) for name in ("measure", "reference", "edit", "prompts", "pictures"))
    yield "" if np.isnan(row["limit"]) else f"{row['limit']:.3g}"
    yield "" if np.isnan(row["bias"]) else f"{row['bias'] / row['sd']:+.1f}"
    for name in ("here", "at_last"):
        yield "" if np.isnan(row[name]) else f"{row[name]:.3f}"
    yield f"{row['none']:.0%}" if row["none"] else ""


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m studies.set_coverage", description=__doc__)
    parser.add_argument("--simulations", type=int, default=SIMULATIONS)
    parser.add_argument("--out", type=Path, default=Path("results/statistics"))
    given = parser.parse_args()
    rows: list[dict[str, Any]] = []
    for number, one in enumerate(scenarios()):
        rows += measured(one, given.simulations, np.random.default_rng([SEED, number]))
        for row in rows[-5:]:
            print(*(f"{key} {value}" for key, value in row.items()), file=sys.stderr)
    for number, (copied, prompts) in enumerate(product(COPIED, PROMPTS)):
        random = np.random.default_rng([SEED, 1000 + number])
        rows.append(repeating(prompts, copied, given.simulations, random))
    found = pd.DataFrame(rows, columns=[*COLUMNS, "here", "at_last"])
    found = found.sort_values("measure", kind="stable", ignore_index=True)
    given.out.mkdir(parents=True, exist_ok=True)
    text = found.to_csv(index=False, float_format="%.4f", lineterminator="\n")
    write_text(given.out / "set-coverage.csv", text)
    write_text(given.out / "set-coverage.md", page(found, given.simulations))


if __name__ == "__main__":
    main()
