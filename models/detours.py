"""Ways of drawing that leave the usual one: from partly denoised latents, around a known picture, with noise.

A detour is what a probe without text draws by; every method is drawn by the same loop (`models.sampling`).
"""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from erasure_bench.models.denoiser import Denoiser


class StepRule(Hashable, Protocol):
    """How x_t becomes x_{t'}, in the place of the scheduler's own step."""

    def step(
        self,
        model: Denoiser,
        noise: Tensor,
        latents: Tensor,
        timestep: int,
        following: int | None,
        fresh: Tensor,
    ) -> Tensor:
        """x_{t'} [n, channels, height, width] of x_t and its guided noise prediction, of that shape.

        `following` is t', None after the last step; `fresh` is standard normal noise.
        """
        ...


@dataclass(frozen=True)
class NoisyStep:
    """DDIM's step with σ = `eta` · √var, of which `scale` times as much noise is added as is made room for.

        x_{t'} = √ᾱ' x̂₀ + √|1 − ᾱ' − σ²| ε̂ + scale · σ · z

    With eta above 1 or scale above 1 the way wanders further than the model was trained for ("noise" of
    WhenAreConceptsErased); with eta 0 it is DDIM's own step.
    """

    eta: float
    scale: float = 1.0

    def step(
        self,
        model: Denoiser,
        noise: Tensor,
        latents: Tensor,
        timestep: int,
        following: int | None,
        fresh: Tensor,
    ) -> Tensor:
        """See `StepRule`."""
        alphas = model.alphas_cumprod.to(latents)
        now = alphas[timestep]
        then = alphas[0] if following is None else alphas[following]
        clean = (latents - (1 - now).sqrt() * noise) / now.sqrt()
        variance = (1 - then) / (1 - now) * (1 - now / then)
        sigma = self.eta * variance.clamp(min=0).sqrt()
        return then.sqrt() * clean + (1 - then - sigma**2).abs().sqrt() * noise + self.scale * sigma * fresh


class Steps(NamedTuple):
    """What pictures that are drawn together share: the step that they begin with, and the rule of each."""

    first: int = 0
    rule: StepRule | None = None


@dataclass(frozen=True, eq=False)
class Known:
    """A part of the picture that is given: latents x₀, noise ε and `free` [1, height, width], 1 where the
    picture is drawn anew; the first two are [channels, height, width]."""

    latents: Tensor
    noise: Tensor
    free: Tensor


@dataclass(frozen=True, eq=False)
class Detour:
    """`start` [channels, height, width] are the latents x_t that step `steps.first` begins with, in the place
    of pure noise; `known` is put back into every x_t, as noisy as it is."""

    steps: Steps = Steps()
    start: Tensor | None = None
    known: Known | None = None


class Ways:
    """The detours of one batch; None among them is the usual way."""

    def __init__(self, detours: Sequence[Detour | None], model: Denoiser) -> None:
        self._detours = tuple(detours)
        self._model = model
        steps = {detour.steps if detour else Steps() for detour in detours} or {Steps()}
        (self.first, self.rule), *others = steps
        if others:
            raise ValueError(f"pictures of one batch take different steps: {sorted(map(str, steps))}")

    def begin(self, latents: Tensor) -> Tensor:
        """The latents to begin with: [n, channels, height, width]."""
        begun = latents.clone() if any(self._detours) else latents
        for row, detour in enumerate(self._detours):
            if detour is not None and detour.start is not None:
                begun[row] = detour.start.to(begun)
        return begun

    def after(self, latents: Tensor, timestep: int | None) -> Tensor:
        """x_t after a step, known parts put back; `timestep` is None after the last one."""
        if not any(detour and detour.known for detour in self._detours):
            return latents
        rows = []
        for row, detour in zip(latents, self._detours, strict=True):
            if detour is not None and (known := detour.known) is not None:
                given = known.latents.to(row)
                if timestep is not None:
                    given = self._model.add_noise(given[None], known.noise.to(row)[None], timestep)[0]
                row = torch.where(known.free.to(row) > 0, row, given)
            rows.append(row)
        return torch.stack(rows)
