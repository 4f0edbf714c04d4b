"""Safe Latent Diffusion (SLD).

Schramowski, Brack, Deiseroth, Kersting: Safe Latent Diffusion, CVPR 2023. Guidance away from a
text that describes the concept, where and only where the prompt's prediction resembles it:

    μ = min(1, s_S |ε_p − ε_s|) where ε_p − ε_s < λ, else 0              (equations 5 and 6)
    γ = μ ⊙ (ε_s − ε_∅) + s_m ν                                          (equations 4 and 7)
    ν ← β_m ν + (1 − β_m) γ                                              (equation 8)
    ε = ε_∅ + s_g (ε_p − ε_∅ − γ)         from step δ on; without γ before (equation 3)

The paper prints max(1, ·); the official code clamps at 1, and so does this. Where s_g is at most 1 there is
no guidance to be made safe: ε = ε_p, as in diffusers.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from pydantic import NonNegativeFloat, NonNegativeInt, PositiveInt
from torch import Tensor

from erasure_bench.methods.base import EraseContext, MethodCard, Need
from erasure_bench.methods.edit import Edit, new_edit
from erasure_bench.methods.machinery.steering import steered_away_from
from erasure_bench.models.denoiser import Denoiser
from erasure_bench.models.guidance import Guided, StepNoise, where_guided
from erasure_bench.models.image_families import DENOISERS
from erasure_bench.prompt_suites.concepts import Concept


@dataclass(frozen=True, kw_only=True)
class SafeLatentDiffusion:
    """SLD's hyperparameters; there are no defaults, the four levels are the method cards below.

    `warmup_steps` δ, `safety_scale` s_S, `threshold` λ, `momentum_scale` s_m, `momentum_decay` β_m.
    δ was chosen for 50 sampling steps and the official code applies it to any number of them: so
    does this, unless `warmup_of_steps` is given. δ is then the same share of the sampling as
    `warmup_steps` is of `warmup_of_steps`, rounded to the nearest step.
    `text_prefix` stands before the concept's words, but before no class's name.
    """

    warmup_steps: NonNegativeInt
    safety_scale: NonNegativeFloat
    threshold: float
    momentum_scale: NonNegativeFloat
    momentum_decay: NonNegativeFloat
    warmup_of_steps: PositiveInt | None = None
    text_prefix: str = ""

    def unused_settings(self) -> Mapping[str, str]:
        """A momentum that nothing is made of decays unseen."""
        return {"momentum_decay": "with momentum_scale=0"} if self.momentum_scale == 0 else {}

    def warmup(self, steps: int) -> int:
        """δ when sampling takes `steps` steps."""
        if self.warmup_of_steps is None:
            return self.warmup_steps
        return round(self.warmup_steps * steps / self.warmup_of_steps)

    def uses_seed(self) -> bool:
        """The seed changes nothing."""
        return False

    def needs(self, concepts: Sequence[Concept], context: EraseContext) -> tuple[Need, ...]:
        """Nothing that takes time."""
        return ()

    def erase(self, model: Denoiser, concepts: Sequence[Concept], context: EraseContext) -> Edit:
        """An edit of the sampling alone: no weight changes. Several concepts are joined by commas.

        Raises BenchError for several of a model that is asked by classes.
        """
        text = steered_away_from(model, concepts, self.text_prefix)
        return new_edit("sld", self, model, concepts, guidance=SafeLatentGuidance(text, self))


@dataclass(frozen=True)
class SafeLatentGuidance:
    """SLD's step; the state that it carries is the momentum ν, shaped like the noise."""

    text: str
    level: SafeLatentDiffusion

    @property
    def unconditional_text(self) -> str:
        """The empty prompt."""
        return ""

    @property
    def texts(self) -> tuple[str, ...]:
        """The safety text, predicted at every step."""
        return (self.text,)

    def combine(self, step: StepNoise, state: Tensor | None = None) -> Guided:
        """The noise to follow and the momentum; the momentum also builds up during the warm-up."""
        (unsafe,) = step.extra
        level = self.level
        momentum = torch.zeros_like(step.conditional) if state is None else state
        safety = (
            safety_guidance(step.unconditional, step.conditional, unsafe, level)
            + level.momentum_scale * momentum
        )
        guidance = step.conditional - step.unconditional
        if step.index >= level.warmup(step.steps):
            guidance = guidance - safety
        momentum = level.momentum_decay * momentum + (1 - level.momentum_decay) * safety
        return Guided(where_guided(step, step.unconditional + step.scale * guidance), momentum)


def safety_guidance(
    unconditional: Tensor, conditional: Tensor, unsafe: Tensor, level: SafeLatentDiffusion
) -> Tensor:
    """μ ⊙ (ε_s − ε_∅): equations 4 to 6, before the momentum; all tensors of one shape."""
    difference = conditional - unsafe
    weight = (level.safety_scale * difference.abs()).clamp(max=1.0)
    weight = weight.where(difference < level.threshold, torch.zeros_like(weight))
    return weight * (unsafe - unconditional)


def _card(name: str, level: dict[str, Any], microworld: dict[str, Any], notes: str = "") -> MethodCard:
    return MethodCard(
        name=name,
        title=f"Safe Latent Diffusion, {name.removeprefix('sld-')}",
        paper="Schramowski et al., Safe Latent Diffusion, CVPR 2023, arXiv:2211.05105",
        formula="ε = ε_∅ + s_g (ε_p − ε_∅ − μ(ε_p, ε_s; s_S, λ) ⊙ (ε_s − ε_∅) − s_m ν)",
        build=SafeLatentDiffusion,
        settings=level,
        presets={"official": {}, "microworld": microworld},
        many_concepts=True,
        families=DENOISERS,
        notes=f"{notes} {NOTES}".strip(),
    )


NOTES = (
    "At inference time. Where the guidance scale is at most 1, as in two rows of I2P, classifier-free "
    "guidance is off and SLD with it, as in the official code and diffusers' pipeline; of this the paper "
    "says nothing. Those also switch it off for a safety_scale below 1 (diffusers: of at most 1), which no "
    "level has; here it is on. Models that are asked by classes: one concept at a time."
)


def _level(
    warmup_steps: int, safety_scale: float, threshold: float, momentum_scale: float, momentum_decay: float
) -> dict[str, Any]:
    return {
        "warmup_steps": warmup_steps,
        "safety_scale": safety_scale,
        "threshold": threshold,
        "momentum_scale": momentum_scale,
        "momentum_decay": momentum_decay,
    }


WEAK = _level(15, 200.0, 0.0, 0.0, 0.0)
MEDIUM = _level(10, 1000.0, 0.01, 0.3, 0.4)
STRONG = _level(7, 2000.0, 0.025, 0.5, 0.7)
MAX = _level(0, 5000.0, 1.0, 0.5, 0.7)
WEAK_DIFFUSERS = WEAK | {"safety_scale": 20.0, "text_prefix": "an image showing "}

MICROWORLD: dict[str, Any] = {"warmup_of_steps": 50}
"""The built-in model is sampled in fewer than 50 steps."""
EARLIER: dict[str, Any] = {"warmup_steps": 3, "threshold": 0.1}
"""On 8 × 8 latents the first steps decide what a picture shows, and two texts' predictions lie further
apart than Stable Diffusion's: the middle levels begin earlier and with a larger λ, chosen on validation
concepts."""

SLD_WEAK = _card("sld-weak", WEAK, MICROWORLD)
SLD_WEAK_DIFFUSERS = _card(
    "sld-weak-diffusers",
    WEAK_DIFFUSERS,
    MICROWORLD,
    notes="The weak level as a widely used diffusers port has it: s_S = 20 where the "
    "official code has 200, and 'an image showing' before the text.",
)
SLD_MEDIUM = _card("sld-medium", MEDIUM, MICROWORLD | EARLIER)
SLD_STRONG = _card("sld-strong", STRONG, MICROWORLD | EARLIER)
SLD_MAX = _card("sld-max", MAX, MICROWORLD)
