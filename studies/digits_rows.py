"""Selective Amnesia as `studies.digits` runs it: λ from 1 to 100, a term left out, the naive way, a remap.

Each is the registered method with one thing changed in every preset: what the base model's own preset says of
the rest holds for all of them alike.
"""

from dataclasses import replace
from typing import Any

from erasure_bench.methods.base import MethodCard
from erasure_bench.methods.selective_amnesia.amnesia import CONCEPT, SA


def variant(name: str, title: str, **changed: Any) -> MethodCard:
    """SA with these settings in every preset."""
    presets = {preset: {**settings, **changed} for preset, settings in SA.presets.items()}
    return replace(SA, name=name, title=f"Selective Amnesia, {title}", presets=presets)


LAMBDA_1 = variant("sa-lambda-1", "λ = 1", ewc_weight=1.0)
LAMBDA_10 = variant("sa-lambda-10", "λ = 10", ewc_weight=10.0)
LAMBDA_50 = variant("sa-lambda-50", "λ = 50", ewc_weight=50.0)
LAMBDA_100 = variant("sa-lambda-100", "λ = 100", ewc_weight=100.0)
WITHOUT_REPLAY = variant("sa-without-replay", "λ = 100, without replay", ewc_weight=100.0, replay=False)
WITHOUT_EWC = variant("sa-without-ewc", "without EWC", ewc=False)
REMAP = variant("sa-remap", "λ = 100, to the next class", ewc_weight=100.0, surrogate=(CONCEPT,))
NAIVE = variant(
    "naive", "the naive way: −ELBO of the class alone", forget="negative-elbo", replay=False, ewc=False
)
