"""What changed from one run to another: the same row, prompts and noise in both, paired picture by picture.

The older run's row stands where a leaderboard has the base model, the newer one's where it has a method, so
that every number, interval and count is made as in a leaderboard.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from itertools import combinations, product
from typing import Literal, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pandas import DataFrame

from erasure_bench.bench.comparing.finished import FinishedRun
from erasure_bench.bench.reporting.collapsed import DAGGER
from erasure_bench.bench.reporting.leaderboard import Row, rows_of
from erasure_bench.bench.reporting.rivals import key_of, keys_of
from erasure_bench.bench.reporting.tabled import OVERALL, Measured, Tabled, tabled, width_of
from erasure_bench.bench.reporting.verdicts import judged
from erasure_bench.bench.running.failures import Failure
from erasure_bench.bench.statistics.bars import MOST_LOST
from erasure_bench.bench.statistics.best import holm
from erasure_bench.bench.statistics.cells import Cells, Codes, Groups, sums
from erasure_bench.bench.statistics.equivalence import equivalence_p
from erasure_bench.bench.statistics.paired import PairedTest, TestName, paired_test
from erasure_bench.errors import BenchError, UnknownName
from erasure_bench.evaluators.base import Metric
from erasure_bench.prompt_suites.suite import ROLES, Role

BEFORE, AFTER = "before", "after"
ALL = "all"
"""Every two rows of a run."""
KEY = ["concept", "seed", "role", "evaluator", "metric", "prompt_id", "image_index"]
"""What a score of one run and its partner in the other have in common."""


class Pair(NamedTuple):
    """The same row of both runs; their names differ where the user says so."""

    before: str
    after: str

    @property
    def name(self) -> str:
        return self.after if self.before == self.after else f"{self.before} → {self.after}"


class Change(NamedTuple):
    """One number of both runs: `before` and `after` are their rows, `after.change` is the paired difference.

    `p` is the two-sided p value of `test`: a paired permutation test, McNemar's exact one where each prompt
    has one picture that scores 1 or 0; `p_holm` is the same after Holm over all changes that were asked for.
    `effect` and `turned` are `statistics.paired.PairedTest`'s. `same_p` is that of the test that the change
    is smaller than `margin` either way, `same_p_holm` after Holm over the same; None where the metric has no
    finite range. `equal`: every picture has the very same score in both.
    """

    method: str
    before: Row
    after: Row
    p: float | None
    p_holm: float | None
    effect: float | None
    equal: bool
    test: TestName | None = None
    turned: tuple[int, int] | None = None
    margin: float | None = None
    same_p: float | None = None
    same_p_holm: float | None = None

    @property
    def worse(self) -> float | None:
        """The change in the direction that the metric calls worse; None where it has none."""
        sign = {"lower": 1.0, "higher": -1.0}.get(self.after.better)
        return None if sign is None or self.after.change is None else sign * self.after.change

    @property
    def worse_ends(self) -> tuple[float, float] | None:
        """The interval of `worse`."""
        low, high = self.after.change_low, self.after.change_high
        if self.worse is None or low is None or high is None:
            return None
        return (low, high) if self.after.better == "lower" else (-high, -low)


class Comparison(NamedTuple):
    """All changes, and in words what could not be compared and why, or is to be known of it.

    `margin` is that of equivalence, in shares of a metric's range.
    """

    changes: tuple[Change, ...]
    left_out: tuple[str, ...]
    margin: float


def pairs_of(
    before: FinishedRun, after: FinishedRun, asked: Iterable[str] = (), where: str = "--methods"
) -> tuple[Pair, ...]:
    """The rows to compare: `asked` names such as `sa` or `sa=sa-tuned`, else all that both runs have.

    `where` they were asked for, for errors.
    """
    names = list(asked) or [name for name in after.methods if name in before.methods]
    pairs = []
    for name in names:
        old, _, new = name.partition("=")
        pair = Pair(old, new or old)
        for run, row in ((before, pair.before), (after, pair.after)):
            if row not in run.methods:
                raise UnknownName(f"row of {run.folder}", row, run.methods, where)
        pairs.append(pair)
    if not pairs:
        raise BenchError(
            f"{before.folder} and {after.folder} have no row in common: name pairs of rows, "
            "such as --methods sa=sa-tuned"
        )
    return tuple(pairs)


def pairs_within(run: FinishedRun, against: Sequence[str], asked: Iterable[str] = ()) -> tuple[Pair, ...]:
    """Rows of one run: each of `asked` (else all but the base model's) against each of `against`.

    `against` all: every two of them. No two rows are compared twice.
    """
    rows = list(asked) or [name for name in run.methods if name != run.baseline]
    all_pairs = tuple(against) == (ALL,) and ALL not in run.methods
    for flag, wanted in (("--methods", rows), ("--against", [] if all_pairs else against)):
        for name in wanted:
            if name not in run.methods:
                raise UnknownName(f"row of {run.folder}", name, run.methods, flag)
    found: dict[frozenset[str], Pair] = {}
    for pair in combinations(rows, 2) if all_pairs else product(against, rows):
        if pair[0] != pair[1]:
            found.setdefault(frozenset(pair), Pair(*pair))
    if not found:
        raise BenchError("--against names no row but the one to compare: name two (--methods, --against)")
    return tuple(found.values())


def compare(
    before: FinishedRun,
    after: FinishedRun,
    pairs: Sequence[Pair],
    *,
    asked: Callable[[Row], bool] = lambda row: True,
    margin: float = MOST_LOST,
) -> Comparison:
    """Every number that both runs have, row by row of `pairs`.

    `asked` says which numbers were asked for: Holm counts these, and no others have adjusted p values.
    `margin` is the change, in shares of a metric's range, up to which two numbers are called equivalent.

    Raises BenchError where no picture of one run has a partner in the other: suites, seeds or evaluators.
    """
    left_out = _differences(before, after)
    metrics, unlike = _shared_metrics(before, after)
    if not metrics:
        raise BenchError(
            f"{before.folder} and {after.folder} share no evaluator of the same protocol: "
            f"{'; '.join(unlike) or 'they have none in common'} (bench score adds one to a finished run)"
        )
    found: list[Change] = []
    for pair in pairs:
        found += _changes(before, after, pair, metrics, margin)
    if not any(
        change.after.pairs or "failed" in (change.before.status, change.after.status) for change in found
    ):
        raise BenchError(
            f"{before.folder} and {after.folder} have no picture of the same concept, seed and prompt: "
            f"{before.suite} and {after.suite} (--suite, --concepts, --seeds)"
        )
    return Comparison(
        _with_holm(found, asked), (*left_out, *unlike, *_collapsed(before, after, pairs)), margin
    )


def _changes(
    before: FinishedRun,
    after: FinishedRun,
    pair: Pair,
    metrics: Sequence[tuple[str, Metric]],
    margin: float,
) -> list[Change]:
    old = before.scores[before.scores["method"] == pair.before]
    new = after.scores[after.scores["method"] == pair.after]
    failures = _renamed(before, pair.before, BEFORE), _renamed(after, pair.after, AFTER)
    asked = [
        [key[1:] for key in run.models if key[0] == row]
        for run, row in ((before, pair.before), (after, pair.after))
    ]
    seeds = sorted({seed for _, seed in asked[0]} & {seed for _, seed in asked[1]})
    of_old = {name for name, _ in asked[0]}
    concepts = [name for name in dict.fromkeys(name for name, _ in asked[1]) if name in of_old]
    chosen = [_of(frame, concepts, seeds) for frame in (old, new)]
    roles = _roles(chosen, failures, concepts)
    if not roles:
        return []
    scores = pd.concat(
        [frame.assign(method=name) for frame, name in zip(chosen, (BEFORE, AFTER), strict=True)],
        ignore_index=True,
    )
    measured = Measured(
        methods=[BEFORE, AFTER],
        baseline=BEFORE,
        roles=roles,
        metrics=metrics,
        seeds=seeds,
        pictures={},
        models={
            (name, concept, seed): run.models.get((row, concept, seed), f"{name} {concept} {seed}")
            for name, run, row in ((BEFORE, before, pair.before), (AFTER, after, pair.after))
            for concept in roles
            for seed in seeds
        },
    )
    table = tabled(scores, measured)
    rows: dict[str, dict[Name, Row]] = {BEFORE: {}, AFTER: {}}
    for row in judged(table, rows_of(table, [*failures[0], *failures[1]], {})):
        rows[row.method][key_of(row)[1:]] = row
    tests = {**_tests(table, True, margin), **_tests(table, False, margin)}
    equal = _equal(chosen[0], chosen[1])
    found = []
    for key, row in rows[AFTER].items():
        tested, room, same = tests.get(key, _Tested(None, None, None))
        old_row, new_row = replace(rows[BEFORE][key], method=pair.before), replace(row, method=pair.after)
        found.append(
            Change(
                pair.name,
                old_row,
                new_row,
                tested.p if tested else None,
                None,
                tested.effect if tested else None,
                equal.get(key, False),
                tested.test if tested else None,
                tested.turned if tested else None,
                room,
                same,
            )
        )
    return found


def _of(scores: DataFrame, concepts: Sequence[str], seeds: Sequence[int]) -> DataFrame:
    return scores[scores["concept"].isin(concepts) & scores["seed"].isin(seeds)]


def _roles(
    frames: Sequence[DataFrame], failures: Sequence[Sequence[Failure]], concepts: Sequence[str]
) -> dict[str, tuple[Role, ...]]:
    """The roles of each concept that both runs have scores of, or had but for a failure: what failed in one
    of them is no reason to compare the rest as if it were all."""
    there = [
        set(frame[["concept", "role"]].drop_duplicates().itertuples(index=False, name=None))
        for frame in frames
    ]

    def both_have(name: str, role: Role) -> bool:
        return all(
            (name, role) in scored
            or any(failure.concept == name and failure.role in (None, role) for failure in failed)
            for scored, failed in zip(there, failures, strict=True)
        )

    either = there[0] | there[1]
    found = {
        name: tuple(role for role in ROLES if (name, role) in either and both_have(name, role))
        for name in concepts
    }
    return {name: roles for name, roles in found.items() if roles}


def _renamed(run: FinishedRun, row: str, name: str) -> list[Failure]:
    return [replace(failure, method=name) for failure in run.failures if failure.method == row]


Name = tuple[str, str, str, str, str]
"""Scope, concept, role, evaluator, metric: `bench.reporting.rivals.Key` of either run's row."""


class _Tested(NamedTuple):
    """Of one number: whether there is a change, and by the p value `same` whether it is within `margin`."""

    paired: PairedTest | None
    margin: float | None
    same: float | None


def _tests(table: Tabled, overall: bool, margin: float) -> dict[Name, _Tested]:
    """The tests of each number's paired differences over its prompts."""
    groups = table.groups(overall)
    change = table.paired.change.contributions(groups)
    start = np.searchsorted(change.number, np.arange(groups.count + 1))
    single = _one_picture(table.paired.change, groups, np.diff(start))
    alike = _equivalent(table, overall, margin)
    found: dict[Name, _Tested] = {}
    for place, (key, name) in enumerate(zip(keys_of(table, overall), table.names(overall), strict=True)):
        if name.method != AFTER:
            continue
        metric = table.measured.metrics[name.metric][1]
        differences = change.amount[start[place] : start[place + 1]]
        tested = paired_test(differences, one_picture=metric.kind == "share" and bool(single[place]))
        found[key[1:]] = _Tested(tested, *alike[place])
    return found


def _one_picture(cells: Cells, groups: Groups, prompts: Codes) -> NDArray[np.bool_]:
    """[numbers]: whether each prompt has one picture of one concept and seed, and weighs as any other.

    Where concepts have unequally many prompts, those that turned are not counted as the change counts them.
    """
    number = groups.number[cells.stratum]
    pictures = sums(number, cells.pictures, groups.count)
    size = cells.prompts.in_stratum
    most = np.zeros(groups.count, dtype=np.int64)
    np.maximum.at(most, groups.number, size)
    alike = np.bincount(groups.number[size < most[groups.number]], minlength=groups.count) == 0
    single: NDArray[np.bool_] = ~groups.total & (pictures == prompts) & alike
    return single


def _equivalent(table: Tabled, overall: bool, margin: float) -> list[tuple[float | None, float | None]]:
    """Of each number the margin in the metric's unit, and the p value against a change as large."""
    changes = table.changes(overall)
    width = np.array([width_of(table.measured.metrics[name.metric][1]) for name in table.names(overall)])
    room = margin * width
    same = equivalence_p(
        lambda confidence: table.change_ends(changes, overall, confidence),
        *(changes.change.value, changes.change.clusters, room, width),
    )
    known = (changes.change.clusters > 0) & np.isfinite(changes.change.variance)
    return [
        (each, p if there else None) if math.isfinite(each) else (None, None)
        for each, p, there in zip(room.tolist(), same.tolist(), known.tolist(), strict=True)
    ]


def _equal(old: DataFrame, new: DataFrame) -> dict[Name, bool]:
    """Whether all pictures have the very same score in both, by number."""
    both = old.merge(new, on=KEY, suffixes=("_before", "_after"))
    one, other = both["value_before"], both["value_after"]
    alike = both.assign(same=(one == other) | (one.isna() & other.isna()))
    found: dict[Name, bool] = {}
    by_number = alike.groupby(["concept", "role", "evaluator", "metric"])["same"].min().reset_index()
    for concept, role, evaluator, metric, equal in by_number.itertuples(index=False, name=None):
        found["concept", concept, role, evaluator, metric] = bool(equal)
        whole = ("overall", OVERALL, role, evaluator, metric)
        found[whole] = found.get(whole, True) and bool(equal)
    return found


def _with_holm(changes: Sequence[Change], asked: Callable[[Row], bool]) -> tuple[Change, ...]:
    """With the p values of both tests adjusted, each over the changes that were asked for."""
    wanted = [asked(change.after) for change in changes]

    def adjusted(p: Sequence[float | None]) -> dict[int, float]:
        tested = [place for place, value in enumerate(p) if value is not None and wanted[place]]
        found = holm(np.array([p[place] for place in tested], float))
        return dict(zip(tested, found.tolist(), strict=True))

    told = adjusted([change.p for change in changes])
    same = adjusted([change.same_p for change in changes])
    return tuple(
        change._replace(p_holm=told.get(place), same_p_holm=same.get(place))
        for place, change in enumerate(changes)
    )


def _collapsed(before: FinishedRun, after: FinishedRun, pairs: Sequence[Pair]) -> tuple[str, ...]:
    """Whose pictures are none any more: that they are better at erasing says nothing."""
    found = {
        f"{name} of {run.folder} {DAGGER}: its pictures have collapsed: {reason}": None
        for pair in pairs
        for run, name in ((before, pair.before), (after, pair.after))
        if (reason := run.document.get("collapsed", {}).get(name))
    }
    return tuple(found)


def paired(metric: Metric) -> bool:
    """Whether pictures have scores of it: of a whole set's statistic a run's scores say nothing."""
    return metric.scale != "statistic"


def _shared_metrics(
    before: FinishedRun, after: FinishedRun
) -> tuple[list[tuple[str, Metric]], tuple[str, ...]]:
    """The metrics that both runs measured by the same protocol, and the evaluators that they did not."""
    shared, unlike = [], []
    for name, metrics in after.metrics.items():
        if name not in before.metrics:
            unlike.append(f"{name}: only in {after.folder}")
        elif before.protocols[name] != after.protocols[name]:
            unlike.append(f"{name}: another protocol in each run, so that its numbers cannot be compared")
        else:
            shared += [
                (name, metric) for metric in metrics if metric in before.metrics[name] and paired(metric)
            ]
            if of_sets := [metric.title for metric in metrics if not paired(metric)]:
                unlike.append(f"{name}: {', '.join(of_sets)} of whole sets: no picture of them has a partner")
    unlike += [f"{name}: only in {before.folder}" for name in before.metrics if name not in after.metrics]
    return shared, tuple(unlike)


def _differences(before: FinishedRun, after: FinishedRun) -> list[str]:
    """In what else the runs differ: said, as it may be what the comparison is about."""
    found = []
    if before.record["suite"] != after.record["suite"]:
        raise BenchError(
            f"{before.folder} is of {before.suite}, {after.folder} of {after.suite}: "
            "only runs of one suite have prompts in common (--suite)"
        )
    if before.suite != after.suite:
        found.append(f"suite: {before.suite} and {after.suite}; only prompts of the same id are compared")
    for name in ("concepts", "seeds"):
        of_old, of_new = before.document[name], after.document[name]
        for run, other, own in ((before, of_new, of_old), (after, of_old, of_new)):
            if lost := [str(one) for one in own if one not in other]:
                found.append(f"{name} only in {run.folder}, and not compared: {', '.join(lost)}")
    if before.record["model_digest"] != after.record["model_digest"]:
        found.append("base model: its weights differ; pictures start from the same noise all the same")
    if before.document["protocol"] != after.document["protocol"]:
        found.append("sampling protocol: it differs, which alone may change every picture")
    return found


def significant(p: float | None, level: float = 0.05) -> bool:
    """Whether a test says so; never where there was none."""
    return p is not None and not math.isnan(p) and p <= level


def is_equivalent(change: Change) -> bool:
    """Whether the test after Holm says that the change is within the margin."""
    return significant(change.same_p_holm)


def kind_of(change: Change) -> Literal["better", "worse", "other", "same"]:
    """In which direction the change goes, where the test after Holm finds one."""
    if not significant(change.p_holm):
        return "same"
    if change.worse is None:
        return "other"
    return "worse" if change.worse > 0 else "better"
