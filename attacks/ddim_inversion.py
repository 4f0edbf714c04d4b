"""DDIM inversion: the noise from which the edited model would have drawn the base model's picture."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from erasure_bench.attacks.base import Assault, AttackCard, AttackContext, Target, Try, Victim
from erasure_bench.attacks.noise_loss import latents_of
from erasure_bench.attacks.probe_steps import ABLE, sampling_timesteps
from erasure_bench.attacks.settings import at_least
from erasure_bench.attacks.telling import telling
from erasure_bench.models.detours import Detour
from erasure_bench.models.diffusion_model import DiffusionModel
from erasure_bench.models.noise import image_noise


@dataclass(frozen=True, kw_only=True)
class DDIMInversion:
    """Inverts the base model's picture with the edited model, and draws from there with the prompt.

    DDIM's steps are taken backwards, without guidance. Try i of n begins i/n of the way from the inverted
    latents to the prompt's own noise, on the great circle between them (slerp): try 0 is the inversion.
    """

    tries: int = 1

    def __post_init__(self) -> None:
        at_least(1, tries=self.tries)

    def assault(self, victim: Victim, targets: Sequence[Target], context: AttackContext) -> Assault:
        """See `Attack`. The inversion itself is chosen."""
        steps = sampling_timesteps(victim, "ddim-inversion")
        prompts = [target.prompt for target in targets]
        inverted = invert(victim.model, latents_of(victim.model, targets), prompts, steps).cpu()
        found = []
        for target, start in zip(targets, inverted, strict=True):
            noise = image_noise(target.seed, start.shape).to(start)
            found.append(
                [
                    Try(
                        asked=target.prompt,
                        detour=Detour(start=slerp(start, noise, number / self.tries)),
                        loss=number,
                    )
                    for number in range(self.tries)
                ]
            )
        return Assault(found)


@torch.no_grad()
def invert(
    model: DiffusionModel,
    latents: Tensor,
    prompts: Sequence[str],
    steps: Sequence[int],
    guidance_scale: float = 1.0,
) -> Tensor:
    """x_T [n, channels, height, width] of x₀, by DDIM's steps backwards through the timesteps `steps`.

    x_{t'} = √ᾱ' x̂₀ + √(1 − ᾱ') ε_θ(x_t, c, t'), t' the next noisier timestep (Song et al. 2021, equation 14).
    """
    embeddings = model.encode_prompts(prompts)
    alphas = model.alphas_cumprod.to(latents)
    now = alphas[0]
    for timestep in sorted(steps):
        if guidance_scale == 1:
            with telling(prompts):
                noise = model.predict_noise(latents, timestep, embeddings)
        else:
            without, asked = model.predict_noise_pair(latents, timestep, prompts)
            noise = without + guidance_scale * (asked - without)
        then = alphas[timestep]
        clean = (latents - (1 - now).sqrt() * noise) / now.sqrt()
        latents, now = then.sqrt() * clean + (1 - then).sqrt() * noise, then
    return latents


def slerp(start: Tensor, end: Tensor, share: float) -> Tensor:
    """The point `share` of the way from `start` to `end`, of one shape, along the great circle."""
    cosine = (start * end).sum() / (start.norm() * end.norm())
    angle = cosine.clamp(-1, 1).acos()
    if share == 0 or float(angle) < 1e-6:
        return start.clone()
    return (((1 - share) * angle).sin() * start + (share * angle).sin() * end) / angle.sin()


DDIM_INVERSION = AttackCard(
    name="ddim-inversion",
    title="DDIM inversion: the noise that the picture would have come from",
    paper="Rusanovsky et al., Memories of Forgotten Concepts, CVPR 2025, arXiv:2412.00782; "
    "M-ErasureBench, 2025",
    formula="x_T by DDIM's steps backwards from x₀ with ε_θ of the edited model; then its picture",
    build=DDIMInversion,
    quick={"tries": 2},
    presets={"official": {}, "microworld": {}},
    control="fresh-noise",
    scheduler=ABLE,
    chosen_by="order: the inversion itself",
)
