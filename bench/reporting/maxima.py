"""Expected maxima over prompts, of the metrics that ask for them (`Metric.maximum_over`)."""

from typing import NamedTuple

from pandas import DataFrame, Series

from erasure_bench.bench.reporting.tabled import Measured
from erasure_bench.bench.statistics.expected_maximum import expected_maximum


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
    own = scores[~scores["repeated"].astype(bool)]
    for evaluator, metric in measured.metrics:
        if metric.maximum_over is None:
            continue
        of_metric = own[(own["evaluator"] == evaluator) & (own["metric"] == metric.name)]
        for role, better in metric.better.items():
            for method in measured.methods:
                chosen = of_metric[(of_metric["role"] == role) & (of_metric["method"] == method)]
                shares = _shares(chosen)
                planned = sum(measured.pictures.get((method, name, role), 0) for name in measured.roles)
                if len(shares):
                    mean, std = expected_maximum(shares.to_numpy(float), metric.maximum_over)
                    found.append(
                        Maximum(
                            method,
                            role,
                            evaluator,
                            metric.name,
                            metric.title,
                            better,
                            metric.maximum_over,
                            len(shares),
                            max(int(chosen["value"].isna().sum()), planned - int(chosen["value"].count())),
                            mean,
                            std,
                        )
                    )
    return found


def too_few(scores: DataFrame, measured: Measured) -> list[str]:
    """Which maxima are left out because every prompt has a single picture, and how to have them."""
    own = scores[~scores["repeated"].astype(bool)]
    notes = []
    for evaluator, metric in measured.metrics:
        if metric.maximum_over is None:
            continue
        scored = own[(own["evaluator"] == evaluator) & (own["metric"] == metric.name) & own["value"].notna()]
        if len(scored) and not len(_shares(scored)):
            notes.append(
                f"{evaluator}: the expected maximum of {metric.title} over {metric.maximum_over} prompts is "
                f"left out: of one picture a prompt has no share. Draw several (--images 10, as SLD does)."
            )
    return notes


def _shares(scores: DataFrame) -> Series:
    """Of each method's prompts with two pictures or more."""
    of_prompts = scores.groupby(["method", "concept", "prompt_id"])["value"]
    return of_prompts.mean()[of_prompts.count() >= 2]
