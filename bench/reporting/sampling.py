"""What an interval allows for and what it takes as given: said once, for the footnotes and the files."""

from typing import Any

from erasure_bench.bench.planning.plan import Plan
from erasure_bench.bench.statistics.intervals import CONFIDENCE
from erasure_bench.evaluators.base import Scale

ESTIMATORS: dict[Scale, str] = {
    "share": "Wilson on the effective number of pictures, Clopper and Pearson where all are equal",
    "bounded": "Beta of the same moments with one imagined prompt at each bound (Gaffke)",
    "free": "Student's t with an imagined prompt half-way to what it reaches",
    "count": "Fay and Feuer's Gamma",
    "statistic": "Student's t on the jackknife over prompts, left out of the pictures and of a reference "
    "that was drawn for them; the bias of a small set is not in it",
}
CHANGES = "MOVER of both levels' intervals; free values as their levels"


def seeds_are_sampled(plan: Plan) -> bool:
    """Whether other training seeds are allowed for: a single one says nothing of others."""
    return len(plan.config.seeds) > 1


def sampled(plan: Plan) -> str:
    """What [low, high] is, in a sentence or two."""
    concepts = len(plan.cases)
    prompts = "other prompts" + (", shared by the concepts as these are" if concepts > 1 else "")
    fixed = ["these concepts" if concepts > 1 else "this concept"]
    if seeds_are_sampled(plan):
        prompts += ", and other training seeds"
        if alike := [method.name for method in plan.methods if not (method.fixed or method.uses_seed)]:
            prompts += f" (not of {', '.join(alike)}: with any seed the same edit)"
    else:
        fixed.append("these trained weights: other training seeds are not in it (--seeds)")
    return f"[low, high]: {CONFIDENCE:.0%} interval for {prompts}; it takes as given {' and '.join(fixed)}."


def estimators(plan: Plan) -> str:
    """How the intervals of the metrics that are here were made."""
    scales = {metric.scale for evaluator in plan.evaluators for metric in evaluator.metrics}
    named = "; ".join(f"{scale}: {ESTIMATORS[scale]}" for scale in ESTIMATORS if scale in scales)
    return f"Intervals from prompts as clusters, crossed with training seeds. {named}. Changes: {CHANGES}."


def interval_record(plan: Plan) -> dict[str, Any]:
    """The same for leaderboard.json and run.json."""
    return {
        "confidence": CONFIDENCE,
        "clusters": "prompts",
        "training_seeds": "sampled" if seeds_are_sampled(plan) else "fixed",
        "concepts": "fixed",
        "estimators": {
            f"{evaluator.name}.{metric.name}": metric.scale
            for evaluator in plan.evaluators
            for metric in evaluator.metrics
        },
    }
