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


def base_in_step(victim: Victim, what: str) -> DiffusionModel:
    """The base model, whose x_t are the victim's as well.

    Raises BenchError for a row of another base model that has other latents or another noise schedule.
    """
    base, model = base_of(victim), victim.model
    one, other = base.vae.state_dict(), model.vae.state_dict()
    alike = base.vae is model.vae or (
        one.keys() == other.keys() and all(torch.equal(tensor, other[name]) for name, tensor in one.items())
    )
    if not alike or not torch.equal(base.alphas_cumprod, model.alphas_cumprod):
        raise BenchError(
            f"{what} hands the base model's latents on: {model.name} has another autoencoder or noise "
            f"schedule than {base.name}"
        )
    return base


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
    """x₀ [n, channels, height, width] of the base model's pictures, drawn as the victim draws.

    Raises BenchError where the two draw pictures of different sizes.
    """
    model, victims = base_of(victim), victim.model
    if model.resolution != victims.resolution:
        raise BenchError(
            f"the base model {model.name} draws {model.resolution} pixels a side, {victims.name} "
            f"{victims.resolution}: it cannot learn from its pictures"
        )
    drawing = Drawing(
        scheduler=victim.scheduler, steps=victim.steps, guidance_scale=guidance_scale, eta=victim.eta
    )
    own = dataclasses.replace(context, seed=SEED, cache=context.base_cache)
    pictures = base_images(model, prompts, own, drawing)
    return torch.cat([victims.encode_images(as_floats(batch)) for batch in pictures.split(32)])
