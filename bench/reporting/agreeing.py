"""How far evaluators that answer the same question agree on a run's pictures.

Which metrics answer which question is theirs to say (`Metric.question`): no evaluator is named here.
"""

from collections.abc import Iterator, Sequence
from itertools import combinations
from typing import NamedTuple

from pandas import DataFrame, Series, concat

from erasure_bench.bench.reporting.tabled import Measured
from erasure_bench.bench.statistics.agreement import Agreement, agreement
from erasure_bench.bench.words.numbers import number
from erasure_bench.evaluators.base import Metric

_PICTURE = ["method", "concept", "seed", "role", "prompt_id", "image_index"]

_UNEDITED = [part for part in _PICTURE if part != "concept"]


class Agreed(NamedTuple):
    """Two metrics, each as EVALUATOR.METRIC, that answer `question`, and how far they agree."""

    question: str
    one: str
    other: str
    found: Agreement


def agreements(scores: DataFrame, measured: Measured) -> list[Agreed]:
    """Of every two evaluators with one question, over all methods' pictures that both have judged."""
    asked: dict[str, list[tuple[str, Metric]]] = {}
    for evaluator, metric in measured.metrics:
        if metric.question:
            asked.setdefault(metric.question, []).append((evaluator, metric))
    own = scores[~scores["repeated"].astype(bool)]
    # The base model draws a picture once, whatever concepts it is shown for.
    unedited = own["method"] == measured.baseline
    once = own[unedited].drop_duplicates([*_UNEDITED, "evaluator", "metric", "value"])
    own = concat([once, own[~unedited]])
    return [pair for question, several in asked.items() for pair in _of_question(question, several, own)]


def agreement_notes(found: Sequence[Agreed]) -> list[str]:
    """One line for each."""
    notes = []
    for one in found:
        units, ones, differ, alpha = one.found
        share = (
            f"{one.one} says yes of {ones[0]}, {one.other} of {ones[1]} of {units} pictures; {differ} differ"
        )
        how = "Krippendorff's α " + ("undefined, all alike" if alpha is None else number(alpha, 2))
        notes.append(f"{one.question} {share}, {how}.")
    return notes


def _of_question(question: str, several: Sequence[tuple[str, Metric]], scores: DataFrame) -> Iterator[Agreed]:
    answers = [(name, metric, _answers(scores, name, metric)) for name, metric in several]
    for (name, metric, one), (other_name, other_metric, other) in combinations(answers, 2):
        if name == other_name:
            continue
        left, right = one.align(other, join="inner")
        if len(left):
            found = agreement(left.to_numpy(float), right.to_numpy(float))
            yield Agreed(question, f"{name}.{metric.name}", f"{other_name}.{other_metric.name}", found)


def _answers(scores: DataFrame, evaluator: str, metric: Metric) -> Series:
    """By picture, NaN where it has no score; on the roles on which the metric means something."""
    chosen = scores[
        (scores["evaluator"] == evaluator)
        & (scores["metric"] == metric.name)
        & scores["role"].isin(list(metric.better))
    ]
    found: Series = chosen.drop_duplicates(_PICTURE).set_index(_PICTURE)["value"]
    return found
