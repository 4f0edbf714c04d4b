"""The base model as a row of its own: what every other row is compared with."""

from collections.abc import Sequence
from dataclasses import dataclass

from erasure_bench.methods.base import EraseContext, MethodCard, Need
from erasure_bench.methods.edit import Edit, new_edit
from erasure_bench.models.image_families import FAMILIES
from erasure_bench.models.image_model import ImageModel
from erasure_bench.prompt_suites.concepts import Concept


@dataclass(frozen=True, kw_only=True)
class NoErasure:
    """Erases nothing."""

    def needs(self, concepts: Sequence[Concept], context: EraseContext) -> tuple[Need, ...]:
        """Nothing that takes time."""
        return ()

    def erase(self, model: ImageModel, concepts: Sequence[Concept], context: EraseContext) -> Edit:
        """An edit that changes nothing, at no cost."""
        return new_edit("none", self, model, concepts)


NONE = MethodCard(
    name="none",
    title="base model",
    paper="",
    formula="θ = θ*",
    build=NoErasure,
    presets={"official": {}},
    many_concepts=True,
    families=FAMILIES,
    notes="Not an erasure: the base model under the same protocol.",
)
