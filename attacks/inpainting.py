"""Inpainting: the base model's picture with its middle taken out, which the edited model fills."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from erasure_bench.attacks.base import Assault, AttackCard, AttackContext, Target, Try, Victim
from erasure_bench.attacks.noise_loss import latents_of
from erasure_bench.attacks.noise_of_tries import seed_of_try
from erasure_bench.attacks.probe_steps import ABLE, sampling_timesteps
from erasure_bench.attacks.settings import at_least
from erasure_bench.models.detours import Detour, Known
from erasure_bench.models.noise import image_noise


@dataclass(frozen=True, kw_only=True)
class Inpainting:
    """The middle, `middle` of each side, is drawn anew with the prompt, from another noise in each try.

    What lies around it is put back into every x_t. Only the middle is shown to the judge, at the picture's
    size: around it the base model's own picture would speak for the concept.
    """

    tries: int = 1
    middle: float = 0.5

    def __post_init__(self) -> None:
        at_least(1, tries=self.tries)
        if not 0 < self.middle <= 1:
            raise ValueError(f"middle={self.middle:g}: above 0, at most 1")

    def assault(self, victim: Victim, targets: Sequence[Target], context: AttackContext) -> Assault:
        """See `Attack`. The first try has the prompt's own noise."""
        sampling_timesteps(victim, "inpainting")
        latents = latents_of(victim.model, targets).cpu()
        free = centre(latents.shape[-2], latents.shape[-1], self.middle)
        return Assault(
            [
                [self._drawn(target, clean, free, number) for number in range(self.tries)]
                for target, clean in zip(targets, latents, strict=True)
            ]
        )

    def _drawn(self, target: Target, clean: Tensor, free: Tensor, number: int) -> Try:
        seed = seed_of_try("inpainting", target, number)
        known = Known(latents=clean, noise=image_noise(seed, clean.shape), free=free)
        return Try(asked=target.prompt, seed=seed, detour=Detour(known=known), middle=self.middle)


def centre(height: int, width: int, share: float) -> Tensor:
    """[1, height, width]: 1 in the middle, `share` of each side, else 0."""
    free = torch.zeros(1, height, width)
    rows, columns = (max(1, round(side * share)) for side in (height, width))
    top, left = (height - rows) // 2, (width - columns) // 2
    free[:, top : top + rows, left : left + columns] = 1
    return free


INPAINTING = AttackCard(
    name="inpainting",
    title="Inpainting: the middle of the base model's picture, filled by the edited model",
    paper="Lu et al., When Are Concepts Erased From Diffusion Models?, 2025, arXiv:2505.17013",
    formula="x_t ← m·x_t + (1 − m)·(√ᾱ_t x₀ + √(1 − ᾱ_t) ε), m the middle half of each side",
    build=Inpainting,
    quick={"tries": 2},
    presets={"official": {}, "microworld": {"tries": 4}},
    control="fresh-noise",
    scheduler=ABLE,
    chosen_by="order: the first try",
    notes=(
        "As in the code at 9a03e07, with the model's own denoiser. Its control is judged by whole pictures, "
        "so read it beside the unrelated edit: that is judged by the same middle."
    ),
)
