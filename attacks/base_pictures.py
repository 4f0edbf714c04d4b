"""Pictures of the base model that an attack learns from: of the concept, or of anything but it."""

import dataclasses
from collections.abc import Sequence

import torch
from torch import Tensor

from erasure_bench.attacks.base import AttackContext, Victim
from erasure_bench.errors import BenchError
from erasure_bench.methods.machinery.base_images import Drawing, as_floats, base_images
from erasure_bench.models.diffusion_model import DiffusionModel
from erasure_bench.prompt_suites.concepts import Concept

SEED = 0
"""The pictures are the same for every seed of a run, and for all edits of a base model."""


def base_of(victim: Victim) -> DiffusionModel:
    """The base model, which the attack's card must ask for."""
    if victim.base is None:
        raise BenchError("this attack needs the base model: its card must say needs_base")
    return victim.base


def of_the_concept(concept: Concept, count: int) -> list[str]:
    """`count` prompts for the concept: its phrases, which suites may have as well, or things in its style."""
    if concept.additions and concept.anchor_prompts:
        plain = concept.anchor_prompts
        styled = (
            concept.additions[number % len(concept.additions)].format(plain[number % len(plain)])
            for number in range(count)
        )
        return list(styled)
    return [concept.targets[number % len(concept.targets)] for number in range(count)]


def of_other_things(concept: Concept, prompts: Sequence[str], count: int) -> list[str]:
    """The first `count` prompts that neither name the concept nor evoke it, over again where they are fewer.

    Raises BenchError where there is none.
    """
    phrases = {phrase.lower() for phrase in (*concept.targets, *concept.evoked_by)}
    others = [prompt for prompt in prompts if not any(phrase in prompt.lower() for phrase in phrases)]
    if not others:
        raise BenchError(f"every general prompt names {concept.name}: nothing unrelated is left")
    return [others[number % len(others)] for number in range(count)]


@torch.no_grad()
def latents(victim: Victim, prompts: Sequence[str], guidance_scale: float, context: AttackContext) -> Tensor:
    """x₀ [n, channels, height, width] of the base model's pictures, drawn as the victim draws."""
    model = base_of(victim)
    drawing = Drawing(
        scheduler=victim.scheduler, steps=victim.steps, guidance_scale=guidance_scale, eta=victim.eta
    )
    own = dataclasses.replace(context, seed=SEED, cache=context.base_cache)
    pictures = base_images(model, prompts, own, drawing)
    return torch.cat([model.encode_images(as_floats(batch)) for batch in pictures.split(32)])
