"""What Selective Amnesia's paper found of forgetting a class, held against intervals, and the page of it."""

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import pandas as pd
from scipy.stats import t

from erasure_bench.bench.words.numbers import number

Key = tuple[str, str, str]
"""Role, evaluator and metric."""
Holds = Literal["holds", "does not hold", "undecided"]

MOST = math.log(10)
NEAR_MOST = 0.9 * MOST
"""The paper's VAE comes to 2.19 of 2.30 nats; nine tenths of the maximum count as near it."""
NEAR_CHANCE = 0.2
"""Up to twice chance counts as near a tenth; the paper's VAE comes to 0.058."""
POINTS = 0.1
"""Kept classes that lose more of their mean probability than this are broken."""

P: Key = ("target", "classifier", "class_probability")
H: Key = ("target", "classifier", "entropy")
PLAIN_P: Key = ("target", "classifier@plain", "class_probability")
PLAIN_H: Key = ("target", "classifier@plain", "entropy")
KEPT: Key = ("retention", "classifier", "class_probability")
FID: Key = ("retention", "fidelity", "fid")
PRECISION: Key = ("retention", "fidelity", "precision")
RECALL: Key = ("retention", "fidelity", "recall")
RETRAINED: Key = ("retention", "fidelity@retrained", "fid")
LAMBDAS = (1, 10, 50, 100)
COLUMNS: Mapping[str, tuple[Key, int]] = {
    "P(forgotten) ↓": (P, 3),
    "H, nats (at most 2.303)": (H, 2),
    "P, plain": (PLAIN_P, 3),
    "H, plain": (PLAIN_H, 2),
    "P(kept) ↑": (KEPT, 3),
    "FID ↓": (FID, 1),
    "precision ↑": (PRECISION, 3),
    "recall ↑": (RECALL, 3),
    "FID to retrained ↓": (RETRAINED, 1),
}


class Number(NamedTuple):
    """A value with its 95 % interval."""

    value: float
    low: float
    high: float

    def text(self, decimals: int, *, signed: bool = False) -> str:
        """ "0.058 [0.041, 0.075]"; without the interval where there is none."""
        value, low, high = (number(each, decimals, signed=signed) for each in self)
        return value if math.isnan(self.low) else f"{value} [{low}, {high}]"


class Values:
    """A leaderboard's numbers over all concepts by method and key; `methods` in the table's order."""

    def __init__(self, rows: pd.DataFrame) -> None:
        overall = rows[(rows["scope"] == "overall") & (rows["status"] == "ok")]
        self.methods = list(dict.fromkeys(rows["method"]))
        names = overall[["method", "role", "evaluator", "metric"]].itertuples(index=False, name=None)
        numbers = overall[["value", "low", "high"]].to_numpy(dtype=float)
        self._numbers = {name: Number(*map(float, row)) for name, row in zip(names, numbers, strict=True)}

    @classmethod
    def read(cls, path: Path) -> "Values":
        """From `leaderboard.csv`."""
        return cls(pd.read_csv(path))

    def get(self, method: str, key: Key) -> Number | None:
        """None where it was not measured."""
        return self._numbers.get((method, *key))


class Differences:
    """How far each row lies from one row, seed by seed, with the t interval over seeds.

    A seed trains every row anew and draws other noise: the interval has both in it, for every metric alike.
    """

    def __init__(self, by_seed: Sequence[Values], against: str) -> None:
        self._by_seed, self._against = by_seed, against

    def get(self, method: str, key: Key) -> Number | None:
        """Its number minus that of the row that all are held against; None with fewer than two seeds."""
        return self.between(method, self._against, key)

    def between(self, method: str, other: str, key: Key) -> Number | None:
        """The same minus that of any other row."""
        pairs = [(values.get(method, key), values.get(other, key)) for values in self._by_seed]
        found = np.array([one.value - other.value for one, other in pairs if one and other])
        if len(found) < 2:
            return None
        reach = float(t.ppf(0.975, len(found) - 1) * found.std(ddof=1) / math.sqrt(len(found)))
        middle = float(found.mean())
        return Number(middle, middle - reach, middle + reach)


class Results(NamedTuple):
    """A suite's numbers, and how far each row lies from `sa`, the row with SA's own λ."""

    values: Values
    against_sa: Differences
    sa: str


class Finding(NamedTuple):
    """A claim, whether it holds here, and the numbers that say so."""

    claim: str
    holds: Holds
    evidence: str


def decided(found: Sequence[bool | None]) -> Holds:
    """All must be so: a single no decides, a single unknown leaves it open."""
    if any(each is False for each in found):
        return "does not hold"
    return "holds" if all(found) else "undecided"


def above(interval: Number | None, bound: float) -> bool | None:
    """Whether the whole interval is above the bound, or all of it not; None where that cannot be told."""
    if interval is None or interval.low <= bound < interval.high:
        return None
    return interval.low > bound


def below(interval: Number | None, bound: float) -> bool | None:
    """The same below."""
    return above(
        None if interval is None else Number(*(-interval.value, -interval.high, -interval.low)), -bound
    )


def findings(values: Values, against_sa: Differences, sa: str) -> Iterator[Finding]:
    """The paper's four, of which `sa` is the row of its own λ."""
    probability, entropy = values.get(sa, P), values.get(sa, H)
    yield Finding(
        f"The forgotten class falls to near chance (P below {NEAR_CHANCE}) and the entropy comes near ln 10 "
        f"(above {NEAR_MOST:.2f})",
        decided([below(probability, NEAR_CHANCE), above(entropy, NEAR_MOST)]),
        f"P {_text(probability, 3)}, H {_text(entropy, 2)}",
    )
    kept, fid = (against_sa.get("sa-without-replay", key) for key in (KEPT, FID))
    worse = [below(kept, 0.0), above(fid, 0.0)]
    yield Finding(
        "Without replay the kept classes degrade",
        "holds" if any(worse) else decided(worse),
        f"against {sa}: P(kept) {_text(kept, 3, signed=True)}, FID {_text(fid, 1, signed=True)}",
    )
    low = against_sa.get("sa-lambda-1", FID)
    yield Finding(
        "λ = 1 hurts the fidelity of the kept classes",
        decided([above(low, 0.0)]),
        f"FID against {sa} {_text(low, 1, signed=True)}, which has {_text(values.get(sa, FID), 1)}",
    )
    broken = below(against_sa.get("naive", KEPT), -POINTS)
    gone = decided([below(values.get("naive", P), NEAR_CHANCE), above(values.get("naive", H), NEAR_MOST)])
    yield Finding(
        f"The naive way fails: it forgets as little, or kept classes lose over {POINTS:g} of P",
        "holds" if broken or gone == "does not hold" else decided([broken]),
        f"P {_text(values.get('naive', P), 3)}, H {_text(values.get('naive', H), 2)}, P(kept) against {sa} "
        f"{_text(against_sa.get('naive', KEPT), 3, signed=True)}",
    )


def falls_with_lambda(differences: Differences) -> Finding:
    """Whether every larger λ leaves a better FID than the one before it, beyond the intervals."""
    steps = [
        (one, other, differences.between(f"sa-lambda-{other}", f"sa-lambda-{one}", FID))
        for one, other in pairwise(LAMBDAS)
    ]
    return Finding(
        f"FID of the kept classes falls at every step of λ from {LAMBDAS[0]} to {LAMBDAS[-1]}",
        decided([below(change, 0.0) for *_, change in steps]),
        "; ".join(f"{one} to {other}: {_text(change, 1, signed=True)}" for one, other, change in steps),
    )


def _text(found: Number | None, decimals: int, *, signed: bool = False) -> str:
    return "not measured" if found is None else found.text(decimals, signed=signed)


def page_of(results: Mapping[str, Results], made: Mapping[str, str], seeds: int) -> str:
    """The page: for each suite how it was made, the table and the findings."""
    lines = [
        "# Forgetting a class: Selective Amnesia on real digits",
        "",
        "Made by `python -m studies.digits`. The class 0 is forgotten. P and H are the mean probability of",
        "the forgotten class and the mean entropy of the prediction where the class is asked for; *plain* is",
        "the same network that was never shown noise. FID, precision and recall (k = 3) compare the kept",
        "classes with their real training pictures, and *FID to retrained* with the pictures of the model",
        "that was retrained without the class, all in the classifier's own features. "
        f"{seeds} seeds; intervals are 95 %:",
        "of a row for other draws and other training seeds, of a difference the t interval over seeds.",
        "On `digits-ddpm` λ counts in thousandths: what it means hangs on network and loss, and the preset's",
        "0.01 stands where the official code of CIFAR-10's DDPM has 10 (`studies/digits_rows.py`).",
        "",
    ]
    for suite, (values, against_sa, sa) in results.items():
        lines += [f"## {suite}", "", made[suite], ""]
        lines += [f"| row | {' | '.join(COLUMNS)} |", "|:---|" + "---:|" * len(COLUMNS)]
        for method in values.methods:
            cells = [_text(values.get(method, key), decimals) for key, decimals in COLUMNS.values()]
            lines.append(f"| {method} | {' | '.join(cells)} |")
        lines += ["", f"The paper's findings here ({sa} being SA):", ""]
        lines += [
            f"- **{one.holds}**: {one.claim}. {one.evidence}." for one in findings(values, against_sa, sa)
        ]
        trend = falls_with_lambda(against_sa)
        lines += ["", f"Beside these: **{trend.holds}**: {trend.claim}. {trend.evidence}.", ""]
    return "\n".join(lines)
