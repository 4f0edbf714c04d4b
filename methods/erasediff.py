"""EraseDiff.

Wu, Le, Hayat, Harandi: Erasing Undesirable Influence in Diffusion Models, CVPR 2025. Forgetting is the inner
problem of a bi-level one, remembering the outer:

    min_θ L_r(θ)   with θ ∈ argmin_φ f(φ)          f = ‖ε_θ(x_t, c_f) − sg target‖²   on pictures to forget
                                                   L_r = ‖ε_θ(x'_t, c') − ε‖²         on pictures that remain

Solved to first order: K steps φ ← φ − lr ∇f(φ) from φ = θ, then one step of θ along

    ∇L_r + λ ∇q          q(θ) = f(θ) − f(φ_K), φ_K a constant, so that ∇q = ∇f(θ)

with λ fixed, or as BOME (Liu et al. 2022) chooses it, so that q decreases as it must whatever L_r wants:

    λ = max(0, η − ⟨∇L_r, ∇q⟩ / ‖∇q‖²)
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from pydantic import NonNegativeFloat, NonNegativeInt, PositiveInt
from torch import Generator, Tensor, nn

from erasure_bench.methods.base import EraseContext, MethodCard, Need
from erasure_bench.methods.edit import Edit, check_concepts, new_edit
from erasure_bench.methods.machinery.forget_remain import ForgetAndRemain, Material
from erasure_bench.methods.machinery.parameters import UNetGroup
from erasure_bench.methods.machinery.retargeting import Lesson, losses
from erasure_bench.methods.machinery.training import FORWARD_AND_BACKWARD, FineTune
from erasure_bench.models.diffusion_model import DiffusionModel
from erasure_bench.prompt_suites.concepts import Concept


@dataclass(frozen=True, kw_only=True)
class EraseDiff(ForgetAndRemain):
    """Settings of EraseDiff; what the official code has for things and for nudity in SD 1.4, its presets
    say.

    What the concept's prompts should predict (`target`): what their `anchor`'s do, or `uniform` noise from
    [0, 1), as for the paper's models without prompts. λ is `forget_weight`, or chosen at every step
    (`multiplier` `adaptive`), with `forget_weight` as its η. `inner_steps` is K: they move q by a constant,
    which is in the loss that is reported, and nothing else. What the other settings mean, `ForgetAndRemain`
    says.
    """

    parameters: UNetGroup = "noxattn"
    target: Literal["anchor", "uniform"] = "anchor"
    multiplier: Literal["fixed", "adaptive"] = "fixed"
    forget_weight: NonNegativeFloat = 1.0
    inner_steps: NonNegativeInt = 2
    steps: NonNegativeInt = 500
    batch_size: PositiveInt = 16

    def needs(self, concepts: Sequence[Concept], context: EraseContext) -> tuple[Need, ...]:
        """The pictures of both sets, and the steps with those within them."""
        asked = self.target == "anchor"
        inner = self.inner_steps * (FORWARD_AND_BACKWARD + asked) + (self.inner_steps > 0) * (1 + asked)
        passes = (2 * FORWARD_AND_BACKWARD + asked + inner) * self.batch_size
        steps = Need(unit="steps", count=self.steps, passes=passes)
        return (*self.pictures_needed(concepts, context), steps)

    def erase(self, model: DiffusionModel, concepts: Sequence[Concept], context: EraseContext) -> Edit:
        """The UNet's weights for which the concepts' prompts mean their anchors, or noise."""
        check_concepts(concepts)
        material = self.material(model, concepts, context)
        with FineTune(
            model,
            self.parameters,
            learning_rate=self.learning_rate,
            steps=self.steps,
            context=context,
            optimiser=self.optimiser,
            weight_decay=0.0,
            gradient_checkpointing=self.gradient_checkpointing,
        ) as tuning:
            for _ in tuning:
                forgotten = self.forgotten(model, material, tuning.generator)
                remembered = self.about_remembered(model, material, tuning.generator)
                best = self.inner(model, tuning.parameters, forgotten)
                tuning.minimise(self.bilevel(model, tuning.parameters, forgotten, remembered, best))
        return new_edit(
            "erasediff", self, model, concepts, tensors=tuning.tensors, cost=tuning.cost, losses=tuning.losses
        )

    def forgotten(self, model: DiffusionModel, material: Material, generator: Generator) -> Lesson:
        """A step's pictures to forget, with what is to be predicted on them."""
        lesson = self.about_forgotten(model, material, generator)
        if self.target == "anchor":
            return lesson
        uniform = torch.rand(lesson.noise.shape, generator=generator).to(lesson.noise)
        return lesson._replace(noise=uniform, anchors=None, anchor_latents=None)

    def bilevel(
        self,
        model: DiffusionModel,
        parameters: Mapping[str, nn.Parameter],
        forgotten: Lesson,
        remembered: Lesson,
        best: float,
    ) -> Iterator[Tensor]:
        """L_r + λ (f − f(φ_K)) in summands; `best` is f(φ_K)."""
        if self.multiplier == "fixed":
            yield from self._losses(model, remembered)
            yield from self._weighed(model, forgotten, self.forget_weight)
            yield from self._constant(parameters, -self.forget_weight * best)
            return
        of_remembered = self._gradients(model, parameters, remembered)
        of_forgotten = self._gradients(model, parameters, forgotten)
        weight = multiplier(of_remembered, of_forgotten, self.forget_weight)
        yield from self._losses(model, remembered)
        yield from self._weighed(model, forgotten, weight)
        yield from self._constant(parameters, -weight * best)

    def inner(
        self, model: DiffusionModel, parameters: Mapping[str, nn.Parameter], forgotten: Lesson
    ) -> float:
        """f(φ_K): what K plain gradient steps on f from here come to; the weights are then as they were."""
        if not self.inner_steps:
            return 0.0
        start = {name: parameter.detach().clone() for name, parameter in parameters.items()}
        try:
            for _ in range(self.inner_steps):
                gradients = self._gradients(model, parameters, forgotten)
                with torch.no_grad():
                    for name, parameter in parameters.items():
                        parameter.sub_(gradients[name], alpha=self.learning_rate)
            with torch.no_grad():
                return sum(loss.item() for loss in self._losses(model, forgotten))
        finally:
            with torch.no_grad():
                for name, parameter in parameters.items():
                    parameter.copy_(start[name])

    def _gradients(
        self, model: DiffusionModel, parameters: Mapping[str, nn.Parameter], lesson: Lesson
    ) -> dict[str, Tensor]:
        for loss in self._losses(model, lesson):
            loss.backward()
        found = {}
        for name, parameter in parameters.items():
            found[name] = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
            parameter.grad = None
        return found

    def _losses(self, model: DiffusionModel, lesson: Lesson) -> Iterator[Tensor]:
        return losses(model, model, [lesson], self.micro_batch or self.batch_size)

    def _weighed(self, model: DiffusionModel, lesson: Lesson, weight: float) -> Iterator[Tensor]:
        return self._losses(model, lesson._replace(weights=weight * lesson.weights))

    def _constant(self, parameters: Mapping[str, nn.Parameter], value: float) -> Iterator[Tensor]:
        """A summand without a gradient."""
        if value:
            yield value + 0 * next(iter(parameters.values())).flatten()[0].float()


def multiplier(outer: Mapping[str, Tensor], inner: Mapping[str, Tensor], eta: float) -> float:
    """BOME's λ = max(0, η − ⟨∇L_r, ∇q⟩ / ‖∇q‖²) for these gradients; 0 where ∇q is."""
    product = sum(float((outer[name].double() * inner[name].double()).sum()) for name in inner)
    squared = sum(float(inner[name].double().square().sum()) for name in inner)
    return max(0.0, eta - product / squared) if squared else 0.0


OFFICIAL: dict[str, Any] = {
    "parameters": "full",
    "multiplier": "fixed",
    "forget_weight": 1.0,
    "inner_steps": 1,
    "steps": 120,
}
NUDITY: dict[str, Any] = {
    "parameters": "noxattn",
    "remain": "anchor",
    "multiplier": "fixed",
    "forget_weight": 1.0,
    "inner_steps": 2,
    "steps": 250,
}
PAPER: dict[str, Any] = {"multiplier": "adaptive", "forget_weight": 0.1, "inner_steps": 2}
MICROWORLD: dict[str, Any] = {
    "images": 48,
    "denoise_steps": 20,
    "guidance_scale": 4.0,
    "drawn_latents": False,
    "inner_steps": 0,
    "steps": 60,
    "batch_size": 8,
    "learning_rate": 2e-4,
}

ERASEDIFF = MethodCard(
    name="erasediff",
    title="EraseDiff",
    paper="Wu et al., Erasing Undesirable Influence in Diffusion Models, CVPR 2025, arXiv:2401.05779 (at "
    "first EraseDiff: Erasing Data Influence in Diffusion Models)",
    formula="min_θ L_r(θ) + λ (f(θ) − f(φ_K)), φ_K: K steps on f from θ",
    build=EraseDiff,
    presets={"official": OFFICIAL, "official-nudity": NUDITY, "paper": PAPER, "microworld": MICROWORLD},
    quick={"images": 4, "denoise_steps": 2, "steps": 2, "batch_size": 2},
    many_concepts=True,
    general_prompts=True,
    notes="Preset official has the numbers of the code's command for a class of things (14f4e98, "
    "sd/train_scripts/train_cls.sh): all of the UNet, K 1, λ 1 fixed, learning rate 1e-5, two epochs of "
    "lots of 16, which are 120 steps on the 960 pictures that Imagenette has of a class; official-nudity "
    "those of train_nsfw.sh: noxattn, K 2, five epochs; how many pictures an epoch has is not said there, "
    "and 250 steps are 800 of them. There both are relabelled as “a photo of a pokemon”; here they become "
    "the concept's anchor. As φ_K is a constant to the gradient, a step is one on L_r + λ f: the steps "
    "within cost time and move what is reported as the loss alone (a test shows that the weights are the "
    "same without them, as the built-in model's preset has it). There they are whole epochs of the same "
    "Adam, whose moments stay, and of the K rounds of an epoch only the last one's steps are kept; here "
    "they are plain and leave nothing. Preset paper chooses λ as BOME does, on which the paper builds (the "
    "code's own choice, with a negative lambda_bome, divides by both gradients' norms); that formula and "
    "its η of 0.1, which is an option's default there, could not be checked against the paper.",
)
