"""Guidance: how one denoising step's noise predictions become the one that is followed.

A method that changes sampling (negative prompt, SLD) is a `Guidance`: a pure function of the
step's predictions. The sampler owns the loop and carries the state from step to step.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from torch import Tensor


@dataclass(frozen=True)
class StepNoise:
    """Noise predictions of one denoising step, each of shape [n, channels, height, width].

    `extra` holds one prediction for each text in the guidance's `texts`, in that order.
    `scale` is each image's guidance scale, shaped [n, 1, 1, 1]. `index` counts the steps from 0.
    """

    unconditional: Tensor
    conditional: Tensor
    extra: tuple[Tensor, ...]
    scale: Tensor
    index: int
    steps: int


class Guided(NamedTuple):
    """The noise to follow, and what the guidance carries to the next step."""

    noise: Tensor
    state: Any = None


class Guidance(Protocol):
    """`unconditional_text` is the prompt of the step's unconditional prediction: empty, or a negative prompt.

    `texts` are the further prompts that the denoiser is asked about at every step. Guidance objects
    are frozen dataclasses of plain values, so that an edit can be saved as JSON. Everything
    is computed image by image: no value may depend on what else is in the batch.
    """

    @property
    def unconditional_text(self) -> str: ...

    @property
    def texts(self) -> tuple[str, ...]: ...

    def combine(self, step: StepNoise, state: Any) -> Guided:
        """The noise of shape [n, channels, height, width] to follow; `state` is None at the first step."""
        ...


def where_guided(step: StepNoise, noise: Tensor) -> Tensor:
    """`noise` for the images with a guidance scale above 1, ε_p for the others: diffusers' convention.

    There a scale of at most 1 means no guidance at all, neither a negative prompt's nor SLD's: the
    network is asked about the prompt alone.
    """
    return noise.where(step.scale > 1, step.conditional)


@dataclass(frozen=True)
class ClassifierFree:
    """ε_∅ + s_g (ε_p − ε_∅), Ho and Salimans 2022, for s_g above 1: what every method starts from.

    With an `unconditional_text` it is the negative prompt: away from that text instead of from nothing.
    At a scale of at most 1 it is ε_p (`where_guided`).
    """

    unconditional_text: str = ""

    @property
    def texts(self) -> tuple[str, ...]:
        """None."""
        return ()

    def combine(self, step: StepNoise, state: Any = None) -> Guided:
        """Classifier-free guidance; keeps no state."""
        return Guided(
            where_guided(step, step.unconditional + step.scale * (step.conditional - step.unconditional))
        )
