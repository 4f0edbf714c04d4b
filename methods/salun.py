"""Saliency Unlearning (SalUn).

Fan, Liu, Zhang, Wong, Wei, Liu: SalUn: Empowering Machine Unlearning via Gradient-based Weight Saliency in
Both Image Classification and Generation, ICLR 2024. Only the weights that the forgetting loss is most
sensitive to are trained, m_i = 1 for the share of them with the largest

    g = | Σ_batches ∇_θ ℓ_f(θ*) |         ℓ_f = −‖ε − [(1 + w) ε_θ(x_t, c_f) − w ε_θ(x_t, ∅)]‖²

so that a picture of the concept is seen as its anchor, while other pictures stay what they are:

    L = ‖ε_θ(x_t, c_f) − sg ε_θ(x_t, c_r)‖² + α ‖ε_θ(x'_t, c') − ε‖²         θ ← θ − lr · Adam(m ∘ ∇L)
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from pydantic import NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt
from torch import Generator, Tensor, nn
from torch.nn.functional import mse_loss

from erasure_bench.errors import BenchError
from erasure_bench.methods.base import EraseContext, MethodCard, Need
from erasure_bench.methods.edit import Edit, check_concepts, new_edit
from erasure_bench.methods.machinery.base_images import as_floats
from erasure_bench.methods.machinery.examples import Example, Noised, noised
from erasure_bench.methods.machinery.forget_remain import ForgetAndRemain
from erasure_bench.methods.machinery.gradient_limits import masked
from erasure_bench.methods.machinery.parameters import UNetGroup
from erasure_bench.methods.machinery.retargeting import losses
from erasure_bench.methods.machinery.training import FORWARD_AND_BACKWARD, FineTune
from erasure_bench.models.diffusion_model import DiffusionModel
from erasure_bench.prompt_suites.concepts import Concept


@dataclass(frozen=True, kw_only=True)
class SalUn(ForgetAndRemain):
    """Settings of SalUn; the defaults are the official code's for a class of things in SD 1.4.

    `mask_share` of the weights are trained, those with the largest g over all of `parameters` together,
    taken on every picture to forget once. `mask_guidance` is w: 0 is the plain loss of the paper.
    `remain_weight` is α. What the other settings mean, `ForgetAndRemain` says.
    """

    parameters: UNetGroup = "full"
    mask_share: PositiveFloat = 0.5
    mask_guidance: NonNegativeFloat = 7.5
    remain_weight: NonNegativeFloat = 0.5
    steps: NonNegativeInt = 500
    batch_size: PositiveInt = 8

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.mask_share <= 1:
            raise BenchError(f"mask_share={self.mask_share:g}: valid: above 0, to 1 (all weights)")

    def needs(self, concepts: Sequence[Concept], context: EraseContext) -> tuple[Need, ...]:
        """The pictures of both sets, the mask, in which each picture to forget counts once, and the steps."""
        pictures = self.pictures_needed(concepts, context)
        count = self.images * len(concepts)
        mask = Need(unit="pictures in the mask", count=count, passes=2 * FORWARD_AND_BACKWARD)
        passes = (2 * FORWARD_AND_BACKWARD + 1) * self.batch_size
        return (*pictures, mask, Need(unit="steps", count=self.steps, passes=passes))

    def erase(self, model: DiffusionModel, concepts: Sequence[Concept], context: EraseContext) -> Edit:
        """The UNet's salient weights, for which the concepts' prompts mean their anchors."""
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
            shown = self.batches(model, material.forgotten, tuning.generator)
            salient = saliency(model, tuning.parameters, shown, self.mask_guidance, self.micro_batch)
            masks = top_share(salient, self.mask_share)
            with masked(tuning.parameters, masks):
                for _ in tuning:
                    forgotten = self.about_forgotten(model, material, tuning.generator)
                    remembered = self.about_remembered(model, material, tuning.generator)
                    weighed = remembered._replace(weights=self.remain_weight * remembered.weights)
                    lessons = [forgotten, weighed]
                    tuning.minimise(losses(model, model, lessons, self.micro_batch or self.batch_size))
        return new_edit(
            "salun", self, model, concepts, tensors=tuning.tensors, cost=tuning.cost, losses=tuning.losses
        )

    def batches(
        self, model: DiffusionModel, examples: Sequence[Example], generator: Generator
    ) -> Iterator[tuple[Noised, list[str]]]:
        """Every picture to forget once, with noise on it, and its prompt."""
        for start in range(0, len(examples), self.batch_size):
            some = examples[start : start + self.batch_size]
            images = as_floats(torch.stack([one.image for one in some]))
            yield noised(model, images, generator, self.drawn_latents), [one.targets[0] for one in some]


def saliency(
    model: DiffusionModel,
    parameters: Mapping[str, nn.Parameter],
    batches: Iterable[tuple[Noised, Sequence[str]]],
    guidance: float,
    micro_batch: int | None = None,
) -> dict[str, Tensor]:
    """g of every parameter, which must require gradients: |Σ_batches ∇ℓ_f|, with w = `guidance`.

    Of a batch `micro_batch` pictures go through the network at a time, if given.
    """
    for (latents, noise, timesteps), prompts in batches:
        count = len(latents)
        for start in range(0, count, micro_batch or count):
            part = slice(start, start + (micro_batch or count))
            seen, when = latents[part], timesteps[part]
            predicted = model.predict_noise(seen, when, prompts[part])
            if guidance:
                unconditional = model.predict_noise(seen, when, "")
                predicted = (1 + guidance) * predicted - guidance * unconditional
            (-mse_loss(predicted, noise[part]) * (len(seen) / count)).backward()
    found = {}
    for name, parameter in parameters.items():
        found[name] = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad.abs()
        parameter.grad = None
    return found


def top_share(values: Mapping[str, Tensor], share: float) -> dict[str, Tensor]:
    """True for the ⌊share · n⌋ largest of all n `values` together; of equal ones for the first."""
    every = torch.cat([value.flatten().float().cpu() for value in values.values()])
    count = int(share * len(every))
    chosen = torch.zeros(len(every), dtype=torch.bool)
    if count:
        smallest = every.kthvalue(len(every) - count + 1).values
        chosen = every > smallest
        equal = (every == smallest).nonzero().flatten()
        chosen[equal[: count - int(chosen.sum())]] = True
    sizes = [value.numel() for value in values.values()]
    return {
        name: part.reshape(value.shape).to(value.device)
        for (name, value), part in zip(values.items(), chosen.split(sizes), strict=True)
    }


OFFICIAL: dict[str, Any] = {"remain": "general", "remain_weight": 0.5, "steps": 500}
NUDITY: dict[str, Any] = {"remain": "anchor", "remain_weight": 0.1, "steps": 100}
PAPER: dict[str, Any] = OFFICIAL | {"mask_guidance": 0.0}
MICROWORLD: dict[str, Any] = {
    "images": 48,
    "denoise_steps": 20,
    "guidance_scale": 4.0,
    "drawn_latents": False,
    "steps": 60,
    "learning_rate": 2e-4,
}

SALUN = MethodCard(
    name="salun",
    title="Saliency Unlearning",
    paper="Fan et al., SalUn: Empowering Machine Unlearning via Gradient-based Weight Saliency in Both Image "
    "Classification and Generation, ICLR 2024, arXiv:2310.12508",
    formula="min over the salient θ of ‖ε_θ(x_t, c_f) − sg ε_θ(x_t, c_r)‖² + α ‖ε_θ(x'_t, c') − ε‖²",
    build=SalUn,
    presets={"official": OFFICIAL, "official-nudity": NUDITY, "paper": PAPER, "microworld": MICROWORLD},
    quick={"images": 4, "denoise_steps": 2, "steps": 2, "batch_size": 2},
    many_concepts=True,
    general_prompts=True,
    notes="Preset official is the code (a6e89fd) for a class of things: 5 epochs, taken here as 500 steps on "
    "800 pictures, α 0.5; official-nudity its recipe for nudity: one epoch on 800 pictures of either set, α "
    "0.1. There a class is relabelled as the next one of ten, and the other nine remain: here it becomes its "
    "anchor, and pictures of general prompts remain. Its pictures to forget of nudity all have one prompt; "
    "here they have the concept's. As in that code the mask is taken from a guided prediction, which the "
    "paper's formula does not have (preset paper: mask_guidance=0), and the sign is lost after the sum over "
    "batches only. Left out: masks as a file of their own.",
)
