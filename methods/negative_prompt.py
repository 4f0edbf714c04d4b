"""Negative prompt: classifier-free guidance away from the concept instead of away from nothing.

ε = ε_neg + s_g (ε_p − ε_neg), where ε_neg is predicted for the concept's words. At a guidance scale of at
most 1 diffusers ignores the negative prompt, and so does this: ε = ε_p.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from erasure_bench.methods.base import EraseContext, MethodCard, Need
from erasure_bench.methods.edit import Edit, new_edit
from erasure_bench.methods.machinery.steering import steered_away_from
from erasure_bench.models.denoiser import Denoiser
from erasure_bench.models.guidance import ClassifierFree
from erasure_bench.models.image_families import DENOISERS
from erasure_bench.prompt_suites.concepts import Concept


@dataclass(frozen=True, kw_only=True)
class NegativePrompt:
    """Samples with the concept's words as negative prompt; several concepts are joined by commas."""

    def uses_seed(self) -> bool:
        """The seed changes nothing."""
        return False

    def needs(self, concepts: Sequence[Concept], context: EraseContext) -> tuple[Need, ...]:
        """Nothing that takes time."""
        return ()

    def erase(self, model: Denoiser, concepts: Sequence[Concept], context: EraseContext) -> Edit:
        """An edit of the sampling alone: no weight changes.

        Raises BenchError for several concepts of a model that is asked by classes.
        """
        text = steered_away_from(model, concepts)
        return new_edit("negative-prompt", self, model, concepts, guidance=ClassifierFree(text))


NEGATIVE_PROMPT = MethodCard(
    name="negative-prompt",
    title="Negative prompt",
    paper="AUTOMATIC1111, stable-diffusion-webui, 2022; guidance of Ho and Salimans, 2022, arXiv:2207.12598",
    formula="ε = ε_neg + s_g (ε_p − ε_neg)",
    build=NegativePrompt,
    presets={"official": {}},
    many_concepts=True,
    families=DENOISERS,
    notes="At inference time. Without effect where the guidance scale is at most 1, as in diffusers. Models "
    "that are asked by classes: one concept at a time.",
)
