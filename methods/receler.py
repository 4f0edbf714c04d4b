"""Receler: reliable concept erasing with lightweight erasers.

Huang, Huang, Chen, Chang: Receler: Reliable Concept Erasing of Text-to-Image Diffusion Models via Lightweight
Erasers, ECCV 2024. The network stays as it is; after every cross-attention a small eraser is added,

    h ← h + o,  o = up(GELU(down(h)))

which leads the concept away whatever soft prompt s follows it, and does nothing where the concept is not:

    s* = argmin_s ‖ε_θ(x_t, c ⊕ s) − ε_c‖²
    L  = ‖ε_θ(x_t, c ⊕ s*) − [ε_∅ − η (ε_c − ε_∅)]‖² + λ mean over layers of Σ (o (1 − m))² / Σ (1 − m)

m is 1 where the base model's cross-attention looks at the concept's tokens, ε_∅ and ε_c are the base model's.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import torch
from pydantic import NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt
from torch import Generator, Tensor, nn
from torch.nn.functional import interpolate, mse_loss

from erasure_bench.methods.base import EraseContext, MethodCard, Need
from erasure_bench.methods.edit import Edit, check_concepts, new_edit
from erasure_bench.methods.machinery.adapters import Adapters, adapted
from erasure_bench.methods.machinery.adversary import Adversary
from erasure_bench.methods.machinery.attention_maps import attention_maps, looked_at
from erasure_bench.methods.machinery.on_the_way import OnTheWay, Ways, WayThere, away_from
from erasure_bench.methods.machinery.parameters import cross_attentions
from erasure_bench.methods.machinery.training import FORWARD_AND_BACKWARD, Training
from erasure_bench.models.diffusion_model import DiffusionModel
from erasure_bench.prompt_suites.concepts import Concept

PLACE: Literal["after"] = "after"
ACTIVATION: Literal["gelu"] = "gelu"


@dataclass(frozen=True, kw_only=True)
class Receler(WayThere):
    """Settings of Receler; the numbers of preset official are the official code's for SD 1.4.

    The erasers: `rank` inner units after each cross-attention; `eta` is η. They take `steps` steps of Adam at
    `learning_rate` on `batch_size` latents that share a timestep.

    The adversary: `soft_tokens` vectors in the text embeddings, right after the concept's own tokens and as
    many as fit, which begin uniform in [0, 1) and go on from step to step: `attack_steps` steps of Adam a
    step, at `attack_rate` with `attack_decay`. With 0 of them there is none: the phrase alone is erased.

    The mask: m is 1 where the mean of the base model's maps of `mask_side` × `mask_side` positions, scaled to
    [0, 1] for each latent, is at least `mask_threshold`. `mask_weight` is λ; what is outside the mask counts
    per position, its channels summed, or as the mean of its `values`. What the other settings mean,
    `WayThere` says.
    """

    rank: PositiveInt = 128
    eta: float = 1.0
    soft_tokens: NonNegativeInt = 16
    attack_steps: NonNegativeInt = 50
    attack_rate: PositiveFloat = 0.1
    attack_decay: NonNegativeFloat = 0.1
    mask_side: PositiveInt = 16
    mask_threshold: NonNegativeFloat = 0.1
    mask_weight: NonNegativeFloat = 0.1
    outside_mask: Literal["positions", "values"] = "positions"
    steps: NonNegativeInt = 500
    learning_rate: PositiveFloat = 3e-4
    batch_size: PositiveInt = 1

    def unused_settings(self) -> Mapping[str, str]:
        """Those of no adversary or one that takes no step, and of a mask without weight."""
        unused: dict[str, str] = {}
        if not self.soft_tokens:
            unused |= dict.fromkeys(("attack_steps", "attack_rate", "attack_decay"), "with soft_tokens=0")
        elif not self.attack_steps:
            unused |= dict.fromkeys(("attack_rate", "attack_decay"), "with attack_steps=0")
        if not self.mask_weight:
            unused |= dict.fromkeys(("mask_side", "mask_threshold", "outside_mask"), "with mask_weight=0")
        return unused

    def erase(self, model: DiffusionModel, concepts: Sequence[Concept], context: EraseContext) -> Edit:
        """The erasers; each step is about one of the concepts."""
        check_concepts(concepts)
        base = model.frozen_copy()
        drawn = erasers(model.unet, self.rank, Generator().manual_seed(context.seed))
        start = {name: tensor.to(model.dtype) for name, tensor in drawn.items()}
        parameters = {
            name: nn.Parameter(tensor.to(model.device, copy=True)) for name, tensor in start.items()
        }
        with Training(
            parameters,
            device=model.device,
            learning_rate=self.learning_rate,
            steps=self.steps,
            context=context,
        ) as tuning:
            generator = tuning.generator
            ways = [Ways(self, base, model, [concept.target], generator) for concept in concepts]
            tokens = [own_tokens(model, concept.target) for concept in concepts]
            adversaries = [self._adversary(way.embeddings, generator) for way in ways]
            for number, adversary in enumerate(adversaries):
                tuning.carry(f"adversary {number}", adversary)
            with erased(model, parameters) as residuals:
                for step in tuning:
                    turn = step % len(concepts)
                    seen = ways[turn].draw(self.batch_size, generator)
                    prompt = ways[turn].embeddings
                    self.attack(model, adversaries[turn], seen, prompt, tokens[turn])
                    masks = self.masks(base, seen, prompt, tokens[turn]) if self.mask_weight else None
                    after = followed(prompt, adversaries[turn].value.detach(), tokens[turn])
                    loss = self.away(model, seen, after)
                    if masks is not None:
                        loss = loss + self.mask_weight * outside(residuals, masks, self.outside_mask)
                    residuals.clear()
                    tuning.minimise([loss])
        tensors = {name: tuning.tensors.get(name, tensor) for name, tensor in start.items()}
        return new_edit(
            "receler",
            self,
            model,
            concepts,
            attachments=[Adapters(tensors=tensors, place=PLACE, activation=ACTIVATION)],
            cost=tuning.cost,
            losses=tuning.losses,
        )

    def needs(self, concepts: Sequence[Concept], context: EraseContext) -> tuple[Need, ...]:
        """Latents, if they are sampled beforehand, and the steps with the adversary's."""
        attacked = self.attack_steps if self.soft_tokens else 0
        each = FORWARD_AND_BACKWARD * (1 + attacked) + (self.mask_weight > 0) + self.passes
        steps = Need(unit="steps", count=self.steps, passes=each * self.batch_size)
        return (*self.walks_needed(len(concepts)), steps)

    def attack(
        self, model: DiffusionModel, adversary: Adversary, seen: OnTheWay, prompt: Tensor, tokens: int
    ) -> list[float]:
        """Lets the soft prompt bring the concept back on these latents; its loss at every step."""
        if not self.soft_tokens:
            return []

        def brought_back(value: Tensor) -> Tensor:
            predicted = model.predict_noise(seen.latents, seen.timestep, followed(prompt, value, tokens))
            return mse_loss(predicted, seen.conditional)

        return [adversary.descend(brought_back) for _ in range(self.attack_steps)]

    def _adversary(self, prompt: Tensor, generator: Generator) -> Adversary:
        """A soft prompt for text embeddings [1, length, width], as it begins."""
        vectors = torch.rand(self.soft_tokens, prompt.shape[2], generator=generator)
        return Adversary(
            vectors.to(prompt.device), learning_rate=self.attack_rate, weight_decay=self.attack_decay
        )

    def away(self, model: DiffusionModel, seen: OnTheWay, prompt: Tensor) -> Tensor:
        """The first term of L."""
        predicted = model.predict_noise(seen.latents, seen.timestep, prompt)
        return mse_loss(predicted, away_from(seen.unconditional, seen.conditional, self.eta))

    def masks(self, base: DiffusionModel, seen: OnTheWay, prompt: Tensor, tokens: int) -> Tensor:
        """m [n, 1, mask_side, mask_side] of the latents; raises BenchError where no map has that size."""
        with attention_maps(base.unet) as maps, torch.no_grad():
            base.predict_noise(seen.latents, seen.timestep, prompt)
        return looked_at(maps, slice(1, 1 + tokens), self.mask_side, self.mask_threshold)


def erasers(unet: nn.Module, rank: int, generator: Generator) -> dict[str, Tensor]:
    """One eraser for every cross-attention, as new: down as torch draws a Linear, up 0; fp32, on the CPU."""
    tensors = {}
    for name, attention in cross_attentions(unet).items():
        width = attention.get_submodule("to_out.0").get_parameter("weight").shape[0]
        bound = width**-0.5
        tensors[f"{name}.down"] = (2 * torch.rand(rank, width, generator=generator) - 1) * bound
        tensors[f"{name}.down_bias"] = (2 * torch.rand(rank, generator=generator) - 1) * bound
        tensors[f"{name}.up"] = torch.zeros(width, rank)
        tensors[f"{name}.up_bias"] = torch.zeros(width)
    return tensors


@contextmanager
def erased(model: DiffusionModel, tensors: Mapping[str, Tensor]) -> Iterator[list[Tensor]]:
    """The model with the erasers at work, and a list of each one's o in the last pass, in order."""
    residuals: list[Tensor] = []
    before: dict[str, Tensor] = {}

    def first(name: str) -> Any:
        return lambda module, inputs, output: before.__setitem__(name, output)

    def last(name: str) -> Any:
        return lambda module, inputs, output: residuals.append(output - before.pop(name))

    attentions = cross_attentions(model.unet)
    # All passes of the sampling and of the adversary together would not fit on a GPU.
    hooks = [model.unet.register_forward_pre_hook(lambda module, inputs: residuals.clear())]
    hooks += [module.register_forward_hook(first(name)) for name, module in attentions.items()]
    try:
        # Hooks run in the order in which they came: ours see the output before and after the erasers'.
        with adapted(model, tensors, place=PLACE, activation=ACTIVATION):
            hooks += [module.register_forward_hook(last(name)) for name, module in attentions.items()]
            yield residuals
    finally:
        for hook in hooks:
            hook.remove()


def outside(
    residuals: Sequence[Tensor], masks: Tensor, counted: Literal["positions", "values"] = "positions"
) -> Tensor:
    """Mean over residuals [n, positions, width] of Σ (o (1 − m))² / Σ (1 − m); m [n, 1, side, side].

    Of `values`, each residual's is divided by its width.
    """
    terms = []
    for residual in residuals:
        side = math.isqrt(residual.shape[1])
        free = 1 - interpolate(masks, size=(side, side), mode="nearest").flatten(2).transpose(1, 2)
        term = (residual.float() * free).square().sum() / free.sum().clamp(min=1.0)
        terms.append(term / residual.shape[2] if counted == "values" else term)
    return torch.stack(terms).mean()


def followed(prompt: Tensor, vectors: Tensor, tokens: int) -> Tensor:
    """Text embeddings [1, length, width] with as many vectors as fit after start and `tokens` more."""
    first = 1 + tokens
    count = min(len(vectors), prompt.shape[1] - first)
    return torch.cat([prompt[:, :first], vectors[None, :count].to(prompt), prompt[:, first + count :]], 1)


def own_tokens(model: DiffusionModel, text: str) -> int:
    """How many tokens a text has beside those of start and end."""
    length = model.tokenizer.model_max_length
    return len(model.tokenizer(text, truncation=True, max_length=length).input_ids) - 2


CODE: dict[str, Any] = {"rank": 128, "steps": 500, "outside_mask": "values"}
MICROWORLD: dict[str, Any] = {
    "sampled_by": "base",
    "timestep": "sampler",
    "denoise_steps": 20,
    "trajectories": 16,
    "rank": 32,
    "soft_tokens": 8,
    "eta": 2.0,
    "attack_steps": 2,
    "mask_side": 8,
    "mask_weight": 3e-5,
    "steps": 100,
    "batch_size": 8,
    "learning_rate": 5e-3,
}

RECELER = MethodCard(
    name="receler",
    title="Receler",
    paper="Huang et al., Receler: Reliable Concept Erasing of Text-to-Image Diffusion Models via Lightweight "
    "Erasers, ECCV 2024, arXiv:2311.17717",
    formula="min over erasers of ‖ε_θ(x_t, c ⊕ s*) − [ε_∅ − η (ε_c − ε_∅)]‖² + λ ‖o (1 − m)‖², "
    "s* = argmin_s ‖ε_θ(x_t, c ⊕ s) − ε_c‖²",
    build=Receler,
    presets={
        "official": CODE | {"soft_tokens": 0},
        "paper": CODE,
        "microworld": MICROWORLD,
    },
    quick={"steps": 2, "denoise_steps": 4, "attack_steps": 2, "rank": 4, "mask_side": 8},
    many_concepts=True,
    notes="The network keeps its weights: the edit is erasers that stay in it, which plain diffusers cannot "
    "hold. Preset official is the code (3ccedc9) in its numbers and in what it does: it writes its soft "
    "prompt into a copy of the text embeddings, so that none ever reaches the network and no adversary is "
    "trained against (soft_tokens=0). Preset paper has the soft prompt in its place, with that code's "
    "numbers: 16 tokens, 50 steps of Adam a step, going on from step to step; the erasers learn on the soft "
    "prompt of after its last step. η is 1, as the code's target is ε_∅ − (ε_c − ε_∅), the erasers have "
    "biases, and what is outside the mask is a mean over channels (the built-in model's preset sums them).",
)
