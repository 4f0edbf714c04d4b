"""Entrants that must not win: they destroy pictures, some only where they are asked for the concept.

bench run --suite microworld-instances --methods tests/entrants/noise.py:RefusesWithNoise,uce
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from erasure_bench.methods.base import EraseContext
from erasure_bench.methods.edit import Edit, check_concepts, new_edit
from erasure_bench.models.diffusion_model import DiffusionModel
from erasure_bench.models.guidance import ClassifierFree, Guided, StepNoise
from erasure_bench.prompt_suites.concepts import Concept


@dataclass(frozen=True)
class NoiseWhereNearest:
    """Follows no noise prediction where, at the first step, the prompt's is nearest to that of `texts[0]`."""

    texts: tuple[str, ...]
    unconditional_text: str = ""

    def combine(self, step: StepNoise, state: Any = None) -> Guided:
        if state is None:
            distances = torch.stack([(step.conditional - each).flatten(1).norm(dim=1) for each in step.extra])
            state = distances.argmin(dim=0) == 0
        base = ClassifierFree().combine(step).noise
        return Guided(torch.where(state[:, None, None, None], torch.zeros_like(base), base), state)


@dataclass(frozen=True)
class NoNoise:
    """ε = 0: what was noise stays noise."""

    unconditional_text: str = ""

    @property
    def texts(self) -> tuple[str, ...]:
        return ()

    def combine(self, step: StepNoise, state: Any = None) -> Guided:
        return Guided(torch.zeros_like(step.conditional), state)


@dataclass(frozen=True, kw_only=True)
class RefusesWithNoise:
    """The base model, but for the concept: there it draws noise."""

    def erase(self, model: DiffusionModel, concepts: Sequence[Concept], context: EraseContext) -> Edit:
        check_concepts(concepts)
        (concept,) = concepts[:1]
        texts = (concept.target, concept.anchor, *concept.neighbours)
        return new_edit("refuses", self, model, concepts, guidance=NoiseWhereNearest(texts))


@dataclass(frozen=True, kw_only=True)
class PredictsNothing:
    """Draws noise for everything."""

    def erase(self, model: DiffusionModel, concepts: Sequence[Concept], context: EraseContext) -> Edit:
        check_concepts(concepts)
        return new_edit("nothing", self, model, concepts, guidance=NoNoise())


@dataclass(frozen=True, kw_only=True)
class BreaksWeights:
    """Sets the UNet's weights to random numbers of the same size times `factor`; with 0 to zero."""

    factor: float = 1.0

    def erase(self, model: DiffusionModel, concepts: Sequence[Concept], context: EraseContext) -> Edit:
        check_concepts(concepts)
        generator = torch.Generator().manual_seed(context.seed)
        broken = {
            name: self.factor
            * tensor.std(correction=0).cpu()
            * torch.randn(tensor.shape, generator=generator)
            for name, tensor in model.named_tensors().items()
            if name.startswith("unet.")
        }
        return new_edit("broken", self, model, concepts, tensors=broken)
