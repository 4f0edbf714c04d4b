"""What attacks find in the tiny model: what they want drawn, their losses, the weights they put in."""

import functools
import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from erasure_bench.attacks.base import Assault, AttackContext, Target, Victim
from erasure_bench.attacks.registry import attack_card
from erasure_bench.bench.identity.fingerprints import Json
from erasure_bench.bench.identity.fingerprints.inputs import CONCEPTS, GENERAL_PROMPTS, noise, tiny_model
from erasure_bench.bench.identity.fingerprints.numbers import sketch
from erasure_bench.bench.identity.fingerprints.settings import built, defaults_of
from erasure_bench.bench.identity.ids import plain
from erasure_bench.bench.identity.table import Numbers
from erasure_bench.models.detours import Detour
from erasure_bench.models.guidance import ClassifierFree
from erasure_bench.prompt_suites.concepts import Concept

OF = CONCEPTS[:2]
"""An instance, whose prompts are its phrases, and a style, whose prompts are of other things."""
SHIFT = 0.02
"""How far the attacked model's weights are from the base model's."""


def version(name: str) -> str:
    """The version in the card."""
    return attack_card(name).version


def defaults(name: str) -> Json:
    """The settings of the attack's class that nobody needs to name."""
    return defaults_of(attack_card(name).build)


def cases(name: str) -> Mapping[str, Json]:
    """Every preset, made cheap by the card's own `quick` settings."""
    card = attack_card(name)
    return {
        preset: plain({**card.settings, **settings, **card.quick})
        for preset, settings in card.presets.items()
    }


def measure(name: str, settings: Json) -> Numbers:
    """What it comes to on the tiny model with changed weights. Raises NoLonger for settings that are none."""
    attack = built(attack_card(name).build, settings)
    base, model = tiny_model("float32"), _edited()
    numbers: dict[str, list[float] | str] = {}
    for concept in OF:
        victim = Victim(
            model=model, guidance=ClassifierFree(), concept=concept, scheduler="ddim", steps=4, base=base
        )
        context = AttackContext(seed=1, general_prompts=GENERAL_PROMPTS)
        own = {key: tensor.detach().clone() for key, tensor in model.named_tensors().items()}
        found = attack.assault(victim, _targets(concept), context)
        numbers |= {f"float32 {concept.kind} {what}": value for what, value in _of(found, own).items()}
    return numbers


@functools.cache
def _edited() -> Any:
    """The tiny model as an edit might leave it."""
    model = tiny_model("float32").frozen_copy()
    with torch.no_grad():
        for key, tensor in model.named_tensors().items():
            tensor += SHIFT * tensor.std(unbiased=False) * noise(key, tuple(tensor.shape))
    return model


def _targets(concept: Concept) -> list[Target]:
    random = np.random.default_rng(0)
    return [
        Target(
            prompt=prompt,
            seed=seed,
            guidance_scale=3.0,
            picture=random.integers(0, 256, (64, 64, 3), dtype=np.uint8),
        )
        for seed, prompt in enumerate((concept.target, f"a red boat beside {concept.target}"))
    ]


def _of(found: Assault, base: Mapping[str, Tensor]) -> dict[str, list[float] | str]:
    tries = [each for of_target in found.tries for each in of_target]
    said = [
        (each.asked, each.told, each.seed, each.middle, str(each.detour and each.detour.steps))
        for each in tries
    ]
    tensors: dict[str, Tensor] = {}
    for number, each in enumerate(tries):
        detour = each.detour or Detour()
        parts = {
            "embedding": each.embedding,
            "start": detour.start,
            "known": detour.known.latents if detour.known else None,
            "free": detour.known.free if detour.known else None,
        }
        tensors |= {f"{number} {part}": value for part, value in parts.items() if value is not None}
    numbers: dict[str, list[float] | str] = {
        "said": json.dumps(said),
        "chosen": sketch({"losses": torch.tensor([float(each.loss) for each in tries])}),
    }
    if tensors:
        numbers["drawn from"] = sketch(tensors)
    if found.losses:
        numbers["losses"] = sketch({"losses": torch.tensor(list(found.losses))})
    if found.tensors:
        changes = {key: new.double() - base[key].cpu().double() for key, new in found.tensors.items()}
        numbers["weights"] = sketch(changes)
    return numbers
