"""Retraining: the base anew, by its own recipe, on pictures of the kept classes only.

The true reference of unlearning: what a model would be that had never seen what is forgotten. No method of
erasing, and as dear as the base; other rows are as good as they come near it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from pydantic import NonNegativeInt, PositiveInt

from erasure_bench.errors import BenchError
from erasure_bench.methods.base import EraseContext, MethodCard, Need
from erasure_bench.methods.edit import Edit, check_concepts, new_edit
from erasure_bench.methods.machinery.teaching import taught, teach
from erasure_bench.methods.machinery.training import FORWARD_AND_BACKWARD
from erasure_bench.models.conditional.folder import ClassModel
from erasure_bench.models.conditional.recipes import Recipe
from erasure_bench.prompt_suites.concepts import Concept


@dataclass(frozen=True, kw_only=True)
class Retrain:
    """`steps` and `seed` of None are the base's own recipe's, and the run's seed."""

    steps: PositiveInt | None = None
    seed: NonNegativeInt | None = None

    def needs(self, concepts: Sequence[Concept], context: EraseContext) -> tuple[Need, ...]:
        """The steps, where they are said here; those of a recipe are not known without the model."""
        if self.steps is None:
            return ()
        return (Need(unit="steps", count=self.steps, passes=FORWARD_AND_BACKWARD),)

    def erase(self, model: ClassModel, concepts: Sequence[Concept], context: EraseContext) -> Edit:
        """All weights, trained from fresh ones without any picture of the concepts."""
        check_concepts(concepts)
        recipe = self.recipe(model)
        if context.training_data is None:
            raise BenchError(f"{model.name}: the pictures that it was trained on are not known")
        pictures = taught(context.training_data(), recipe)
        gone = {model.classes.index(concept.target) for concept in concepts}
        kept = pictures.of([label for label in range(len(model.classes)) if label not in gone])
        if not len(kept.labels):
            raise BenchError("nothing is left to train on without these classes (--concepts)")
        seed = context.seed if self.seed is None else self.seed
        tuning = teach(model, kept, recipe, replace(context, seed=seed))
        return new_edit(
            "retrain", self, model, concepts, tensors=tuning.tensors, cost=tuning.cost, losses=tuning.losses
        )

    def recipe(self, model: ClassModel) -> Recipe:
        """The base's own, with `steps` instead of its own where they are given."""
        if model.description.recipe is None:
            raise BenchError(f"{model.name}: how it was trained is not written down, so it cannot be again")
        own = Recipe.model_validate(model.description.recipe)
        return own if self.steps is None else own.model_copy(update={"steps": self.steps})


RETRAIN = MethodCard(
    name="retrain",
    title="Retrained on the kept classes",
    paper="",
    formula="θ = train(data without the concepts)",
    build=Retrain,
    presets={"official": {}},
    quick={"steps": 2},
    many_concepts=True,
    training_data=True,
    families=("class-ddpm", "class-vae"),
    notes="A reference and no erasure. Needs the pictures that the base was trained on (--data-dir).",
)
