"""Selective Amnesia as `studies.digits` runs it: λ from 1 to 100, a term left out, the naive way, a remap.

Each is the registered method with one thing changed in every preset: what the base model's own preset says of
the rest holds for all of them alike, λ included where it is not the thing that changes.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from erasure_bench.methods.base import MethodCard
from erasure_bench.methods.selective_amnesia.amnesia import CONCEPT, SA

ONE: Mapping[str, float] = {"digits-ddpm": 0.001}
"""What a λ of 1 is with a preset, where it is not 1: λ means something else with another network and loss;
the preset of `digits-ddpm`, 0.01, stands where the official code of CIFAR-10's DDPM has 10."""


def variant(name: str, title: str, **changed: Any) -> MethodCard:
    """SA with these settings in every preset."""
    presets = {preset: {**settings, **changed} for preset, settings in SA.presets.items()}
    return replace(SA, name=name, title=f"Selective Amnesia, {title}", presets=presets)


def with_lambda(weight: float) -> MethodCard:
    """SA with this λ, counted as the paper counts it."""
    presets = {
        preset: {**settings, "ewc_weight": weight * ONE.get(preset, 1.0)}
        for preset, settings in SA.presets.items()
    }
    name = f"sa-lambda-{weight:g}"
    return replace(SA, name=name, title=f"Selective Amnesia, λ = {weight:g}", presets=presets)


LAMBDA_1, LAMBDA_10, LAMBDA_50, LAMBDA_100 = map(with_lambda, (1.0, 10.0, 50.0, 100.0))
WITHOUT_REPLAY = variant("sa-without-replay", "without replay", replay=False)
WITHOUT_EWC = variant("sa-without-ewc", "without EWC", ewc=False)
REMAP = variant("sa-remap", "to the next class", surrogate=(CONCEPT,))
NAIVE = variant(
    "naive", "the naive way: −ELBO of the class alone", forget="negative-elbo", replay=False, ewc=False
)
