"""img2img: the base model's picture, noised part of the way and denoised by the edited model."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from erasure_bench.attacks.base import Assault, AttackCard, AttackContext, Target, Try, Victim
from erasure_bench.attacks.noise_loss import latents_of
from erasure_bench.attacks.probe_steps import ABLE, sampling_timesteps
from erasure_bench.attacks.settings import at_least
from erasure_bench.models.detours import Detour, Steps
from erasure_bench.models.noise import image_noise


@dataclass(frozen=True, kw_only=True)
class Img2Img:
    """`tries` strengths in equal steps from `strongest` down to `weakest`; of the sampler's steps the last
    strength · steps are taken, with the prompt. At a strength of 1 nothing is left of the picture but what
    the noise schedule leaves."""

    tries: int = 3
    strongest: float = 0.9
    weakest: float = 0.5

    def __post_init__(self) -> None:
        at_least(1, tries=self.tries)
        if not 0 < self.weakest <= self.strongest <= 1:
            raise ValueError(f"weakest={self.weakest:g}, strongest={self.strongest:g}: above 0, at most 1")

    @property
    def strengths(self) -> list[float]:
        """From the strongest."""
        span = (self.strongest - self.weakest) / max(self.tries - 1, 1)
        return [self.strongest - number * span for number in range(self.tries)]

    def assault(self, victim: Victim, targets: Sequence[Target], context: AttackContext) -> Assault:
        """See `Attack`. The strongest is chosen: it owes least to the picture."""
        steps = sampling_timesteps(victim, "img2img")
        latents = latents_of(victim.model, targets)
        return Assault(
            [
                [self._drawn(victim, target, clean, steps, strength) for strength in self.strengths]
                for target, clean in zip(targets, latents, strict=True)
            ]
        )

    def _drawn(
        self, victim: Victim, target: Target, clean: Tensor, steps: Sequence[int], strength: float
    ) -> Try:
        first = min(len(steps) - round(strength * len(steps)), len(steps) - 1)
        noise = image_noise(target.seed, clean.shape).to(clean)
        with torch.no_grad():
            start = victim.model.add_noise(clean[None], noise[None], steps[first])[0]
        detour = Detour(steps=Steps(first=first), start=start.cpu())
        return Try(asked=target.prompt, detour=detour, loss=-strength)


IMG2IMG = AttackCard(
    name="img2img",
    title="img2img: the base model's picture, noised part of the way",
    paper="SDEdit: Meng et al., ICLR 2022, arXiv:2108.01073; no paper has a standard for erased concepts",
    formula="x_t = √ᾱ_t x₀ + √(1 − ᾱ_t) ε at the strength's step, x₀ the base model's picture",
    build=Img2Img,
    quick={"tries": 2},
    presets={"official": {}, "microworld": {}},
    control="fresh-noise",
    scheduler=ABLE,
    chosen_by="order: the strongest",
    notes="ε is the noise that the base model drew the picture from, not another one as in SDEdit: x_t stays "
    "near the way that the base model took. A weak strength gives the picture back whatever the model: read "
    "it beside the unrelated edit.",
)
