"""Expected maxima over prompts, of the metrics that ask for them (`Metric.maximum_over`)."""

from collections.abc import Iterator
from typing import NamedTuple

from pandas import DataFrame, Series

from erasure_bench.bench.reporting.tabled import Measured
from erasure_bench.bench.statistics.expected_maximum import expected_maximum
from erasure_bench.evaluators.base import Metric


class Maximum(NamedTuple):
    """The largest share of a prompt's pictures among `over` prompts of a method and role, of all concepts.

    `mean` and `std` are of the maximum itself, prompts being drawn anew from the `prompts` that there are:
    they say nothing of prompts that were not tried, nor of the `missing` pictures, which were to be drawn and
    have no score.
    """

    method: str
    role: str
    evaluator: str
    metric: str
    title: str
    better: str
    over: int
    prompts: int
    missing: int
    mean: float
    std: float


def maxima(scores: DataFrame, measured: Measured) -> list[Maximum]:
    """In the order of metrics, roles and methods; none where no prompt has a share.

    Of one picture a prompt's share is 0 or 1, and the maximum says no more than whether any of `over` prompts
    is counted at all: near 1 for every method. `too_few` says so in its place.
    """
    found = []
    for evaluator, metric, over, of_metric in _asked(scores, measured):
        for role, better in metric.better.items():
            for method in measured.methods:
                chosen = of_metric[(of_metric["role"] == role) & (of_metric["method"] == method)]
                shares = _shares(chosen)
                planned = sum(measured.pictures.get((method, name, role), 0) for name in measured.roles)
                if len(shares):
                    mean, std = expected_maximum(shares.to_numpy(float), over)
                    found.append(
                        Maximum(
                            method,
                            role,
                            evaluator,
                            metric.name,
                            metric.title,
                            better,
                            over,
                            len(shares),
                            max(int(chosen["value"].isna().sum()), planned - int(chosen["value"].count())),
                            mean,
                            std,
                        )
                    )
    return found


def too_few(scores: DataFrame, measured: Measured) -> list[str]:
    """Which maxima are left out because every prompt has a single picture, and how to have them."""
    notes = []
    for evaluator, metric, over, of_metric in _asked(scores, measured):
        if of_metric["value"].notna().any() and not len(_shares(of_metric)):
            notes.append(
                f"{evaluator}: the expected maximum of {metric.title} over {over} prompts is left out: of "
                f"one picture a prompt has no share. Draw several (--images 10, as SLD does)."
            )
    return notes


def _asked(scores: DataFrame, measured: Measured) -> Iterator[tuple[str, Metric, int, DataFrame]]:
    """The metrics that ask for a maximum, over how many prompts, and their scores; no picture twice."""
    for evaluator, metric in measured.metrics:
        if (over := metric.maximum_over) is not None:
            own = (scores["evaluator"] == evaluator) & (scores["metric"] == metric.name)
            yield evaluator, metric, over, scores[own & ~scores["repeated"].astype(bool)]


def _shares(scores: DataFrame) -> Series:
    """Of each method's prompts with two pictures or more."""
    of_prompts = scores.groupby(["method", "concept", "prompt_id"])["value"]
    return of_prompts.mean()[of_prompts.count() >= 2]
