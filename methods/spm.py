"""SPM: concept semi-permeable membranes.

Lyu, Yang, Hong, Chen, Jin, Li, Jin, Hong, Ding: One-dimensional Adapter to Rule Them All, CVPR 2024. Beside
every linear layer and convolution of the transformers stands an adapter of rank 1, up(down(z)), trained to
lead away from the concept and to leave random embeddings a as they are:

    L = ‖ε_spm(x_t, c) − [ε_∅ − η (ε_c − ε_∅)]‖² + λ mean_a ‖ε_spm(x_t, a) − ε(x_t, a)‖²

    a = ‖c‖ · U[0.8, 1.2] · g/‖g‖, g standard normal, taken with probability 1 − cos(a, c)

In use each prompt opens the adapters as far as it is near to the concept (`machinery.adapters.PromptGate`).
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import torch
from pydantic import NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt
from torch import Generator, Tensor, nn
from torch.nn.functional import mse_loss

from erasure_bench.methods.base import EraseContext, MethodCard, Need
from erasure_bench.methods.edit import Edit, check_concepts, new_edit
from erasure_bench.methods.machinery.adapters import (
    DOWN,
    UP,
    Adapters,
    Gate,
    PromptGate,
    SquaredGate,
    adapted,
    new_adapter,
)
from erasure_bench.methods.machinery.cost import Meter
from erasure_bench.methods.machinery.lots import integers
from erasure_bench.methods.machinery.training import FORWARD_AND_BACKWARD, Training
from erasure_bench.methods.machinery.trajectories import trajectories
from erasure_bench.models.diffusion_model import DiffusionModel
from erasure_bench.models.sampling import partly_denoised
from erasure_bench.prompt_suites.concepts import Concept

TRANSFORMERS = ".attentions."
SHORTEST, LONGEST = 0.8, 1.2


@dataclass(frozen=True, kw_only=True)
class SPM:
    """Settings of SPM; the numbers of preset official are the official code's.

    `rank` and `alpha` are the adapters', scaled by alpha / rank; down begins uniform in ±√(spread / inputs).
    With `gate` `prompt` they open by γ, as far as a prompt is near one of the concept's erased phrases, with
    `squared` by γ²; with `none` they are an ordinary LoRA, which is how many users load them, and which other
    tools can hold. `phrases` says whether the concept's canonical phrase is erased or all of its target
    phrases, of which each step draws one.

    x_t is reached by 1 to `denoise_steps` − 1 steps of DDIM with `guidance_scale` and the adapters at work,
    and is asked about at the timestep where the `sampler` then is, or at T − 1 − ⌊T i / n⌋ after i of n steps
    (`timestep` `even`), which stands for a little more noise. With `trajectories` above 0, that many images
    of each phrase are sampled once by the base model and every step draws its latents from along them, which
    is many times faster. `eta` is η, `anchoring` λ, `anchors` the number of random embeddings a step.

    `steps` steps of AdamW at `learning_rate`, each on `batch_size` latents that share a timestep: `warmup`
    steps of them linearly from 0, the rest along a cosine to 0, begun anew `restarts` times in all.
    """

    rank: PositiveInt = 1
    alpha: PositiveFloat = 1.0
    spread: PositiveFloat = 3.0
    gate: Literal["prompt", "squared", "none"] = "prompt"
    phrases: Literal["canonical", "all"] = "canonical"
    denoise_steps: PositiveInt = 30
    guidance_scale: float = 3.0
    timestep: Literal["sampler", "even"] = "sampler"
    trajectories: NonNegativeInt = 0
    eta: float = 1.0
    anchoring: NonNegativeFloat = 1000.0
    anchors: PositiveInt = 4
    steps: NonNegativeInt = 3000
    learning_rate: PositiveFloat = 1e-4
    batch_size: PositiveInt = 1
    warmup: NonNegativeInt = 500
    restarts: PositiveInt = 3

    def unused_settings(self) -> Mapping[str, str]:
        """Along trajectories the sampler's own timesteps are known."""
        return {"timestep": "with trajectories above 0"} if self.trajectories else {}

    def needs(self, concepts: Sequence[Concept], context: EraseContext) -> tuple[Need, ...]:
        """Latents, and the training of each concept's adapters."""
        trained = FORWARD_AND_BACKWARD * (self.batch_size + self.anchors) + self.anchors
        if not self.trajectories:
            trained += self.batch_size * 2 * (self.denoise_steps / 2 + 1)
            return (Need(unit="steps", count=self.steps * len(concepts), passes=trained),)
        drawn = self.trajectories * sum(len(self._phrases(concept)) for concept in concepts)
        pictures = Need(unit="pictures", count=drawn, passes=2 * self.denoise_steps)
        return pictures, Need(unit="steps", count=self.steps * len(concepts), passes=trained)

    def erase(self, model: DiffusionModel, concepts: Sequence[Concept], context: EraseContext) -> Edit:
        """Adapters of their own for each concept, trained one after the other, with gates of their own."""
        check_concepts(concepts)
        with Meter(model.device) as meter:
            trained = [self._trained(model, self._phrases(concept), context) for concept in concepts]
        losses = [loss for one in trained for loss in one.losses]
        attachments = [one.adapters for one in trained]
        return new_edit(
            "spm",
            self,
            model,
            concepts,
            attachments=attachments,
            cost=meter.cost(steps=len(losses)),
            losses=losses,
        )

    def factor(self, step: int) -> float:
        """What the learning rate is multiplied by in a step, from 0."""
        if step < self.warmup:
            return step / self.warmup
        progress = (step - self.warmup) / max(1, self.steps - self.warmup)
        return 0.0 if progress >= 1 else 0.5 * (1 + math.cos(math.pi * (self.restarts * progress % 1)))

    def _gate(self, phrases: Sequence[str]) -> Gate | None:
        if self.gate == "none":
            return None
        own = PromptGate(tuple(phrases))
        return SquaredGate(own) if self.gate == "squared" else own

    def _phrases(self, concept: Concept) -> tuple[str, ...]:
        return concept.targets if self.phrases == "all" else (concept.target,)

    def _trained(self, model: DiffusionModel, phrases: Sequence[str], context: EraseContext) -> "_Trained":
        start = {
            name: nn.Parameter(value)
            for name, value in start_of_adapters(model, self.rank, context.seed, self.spread)
        }
        scale = self.alpha / self.rank
        with Training(
            start,
            device=model.device,
            learning_rate=self.learning_rate,
            steps=self.steps,
            context=context,
            optimiser="adamw",
            schedule=self.factor,
        ) as tuning:
            concepts = model.encode_prompts(phrases).detach()
            lessons = self._lessons(model, phrases, tuning, start, scale)
            for _ in tuning:
                lesson = lessons()
                concept = concepts[lesson.phrase][None]
                anchors = random_anchors(concept[0], self.anchors, tuning.generator)
                tuning.minimise([self.loss(model, lesson, concept, anchors, start, scale)])
        values = {name: tuning.tensors.get(name, tensor.detach().cpu()) for name, tensor in start.items()}
        return _Trained(Adapters(tensors=values, scale=scale, gate=self._gate(phrases)), tuple(tuning.losses))

    def loss(
        self,
        model: DiffusionModel,
        lesson: "Lesson",
        concept: Tensor,
        anchors: Tensor,
        adapters: Mapping[str, Tensor],
        scale: float,
    ) -> Tensor:
        """L; `concept` is [1, tokens, width], `anchors` [n, tokens, width], adapters at γ = 1."""
        count = len(lesson.latents)
        of_anchors = lesson.latents[:1].expand(len(anchors), -1, -1, -1)
        with torch.no_grad():
            wanted = model.predict_noise(of_anchors, lesson.timestep, anchors)
        latents = torch.cat([lesson.latents, of_anchors])
        embeddings = torch.cat([concept.expand(count, -1, -1), anchors])
        with adapted(model, adapters, place="beside", scale=scale):
            found = model.predict_noise(latents, lesson.timestep, embeddings)
        away = lesson.unconditional - self.eta * (lesson.conditional - lesson.unconditional)
        return mse_loss(found[:count], away) + self.anchoring * mse_loss(found[count:], wanted)

    def _lessons(
        self,
        model: DiffusionModel,
        phrases: Sequence[str],
        tuning: Training,
        adapters: Mapping[str, Tensor],
        scale: float,
    ) -> Callable[[], "Lesson"]:
        generator = tuning.generator
        if self.trajectories:
            return self._along_trajectories(model, phrases, generator)

        def sampled_anew() -> Lesson:
            (phrase,) = integers(generator, 0, len(phrases), 1)
            (step,) = integers(generator, 1, self.denoise_steps, 1) if self.denoise_steps > 1 else (0,)
            seeds = integers(generator, 0, 2**62, self.batch_size)
            with torch.no_grad(), adapted(model, adapters, place="beside", scale=scale):
                latents, timestep = partly_denoised(
                    model,
                    [phrases[phrase]] * self.batch_size,
                    seeds,
                    steps=self.denoise_steps,
                    stop=step,
                    guidance_scale=self.guidance_scale,
                )
            if self.timestep == "even":
                timestep = evenly(step, self.denoise_steps, model.num_train_timesteps)
            with torch.no_grad():
                pair = model.predict_noise_pair(latents, timestep, phrases[phrase])
            return Lesson(phrase, latents, timestep, pair.unconditional, pair.conditional)

        return sampled_anew

    def _along_trajectories(
        self, model: DiffusionModel, phrases: Sequence[str], generator: Generator
    ) -> Callable[[], "Lesson"]:
        each = [phrase for phrase in phrases for _ in range(self.trajectories)]
        visited = trajectories(
            model,
            each,
            integers(generator, 0, 2**62, len(each)),
            steps=self.denoise_steps,
            guidance_scale=self.guidance_scale,
        )

        def along() -> Lesson:
            (phrase,) = integers(generator, 0, len(phrases), 1)
            rows = integers(generator, 0, self.trajectories, self.batch_size)
            (step,) = integers(generator, 0, self.denoise_steps, 1)
            at, own = visited[step], [phrase * self.trajectories + row for row in rows]
            return Lesson(phrase, at.latents[own], at.timestep, at.unconditional[own], at.conditional[own])

        return along


class Lesson(NamedTuple):
    """Which phrase; x_t, ε_∅ and ε_c [n, channels, height, width] of the base model; the timestep."""

    phrase: int
    latents: Tensor
    timestep: int
    unconditional: Tensor
    conditional: Tensor


class _Trained(NamedTuple):
    adapters: Adapters
    losses: tuple[float, ...]


def start_of_adapters(
    model: DiffusionModel, rank: int, seed: int, spread: float
) -> Iterator[tuple[str, Tensor]]:
    """Names and first values."""
    generator = Generator().manual_seed(seed)
    for name, module in model.unet.named_modules():
        if TRANSFORMERS not in f".{name}" or not isinstance(module, nn.Linear | nn.Conv2d):
            continue
        down, up = new_adapter(module.weight, rank, generator, spread)
        yield f"{name}.{DOWN}", down.to(model.device, model.dtype)
        yield f"{name}.{UP}", up.to(model.device, model.dtype)


def evenly(step: int, steps: int, every: int) -> int:
    """The timestep after `step` of `steps` steps on the schedule of all `every` timesteps."""
    return every - 1 - step * every // steps


def random_anchors(concept: Tensor, count: int, generator: Generator) -> Tensor:
    """`count` embeddings [n, tokens, width] for a concept's [tokens, width]: about as long, and elsewhere."""
    flat = concept.detach().float().cpu().flatten()
    found: list[Tensor] = []
    while len(found) < count:
        direction = torch.randn(len(flat), generator=generator)
        length, chance = torch.rand(2, generator=generator).tolist()
        direction = direction / direction.norm()
        if chance < 1 - float(direction @ flat / flat.norm()):
            found.append(flat.norm() * (SHORTEST + (LONGEST - SHORTEST) * length) * direction)
    return torch.stack(found).unflatten(1, concept.shape).to(concept)


CODE: dict[str, Any] = {"spread": 1.0, "timestep": "even"}
MICROWORLD: dict[str, Any] = {
    "phrases": "all",
    "denoise_steps": 20,
    "trajectories": 4,
    "steps": 60,
    "warmup": 10,
    "restarts": 1,
    "batch_size": 4,
    "learning_rate": 3e-2,
    "anchoring": 1.0,
}

SPM_CARD = MethodCard(
    name="spm",
    title="Concept Semi-Permeable Membrane",
    paper="Lyu et al., One-dimensional Adapter to Rule Them All: Concepts, Diffusion Models and Erasing "
    "Applications, CVPR 2024, arXiv:2312.16145",
    formula="‖ε_spm(c) − [ε_∅ − η (ε_c − ε_∅)]‖² + λ ‖ε_spm(a) − ε(a)‖²,  h ← h + γ(prompt) up(down(z))",
    build=SPM,
    presets={"official": CODE | {"gate": "squared"}, "paper": CODE, "microworld": MICROWORLD},
    quick={"steps": 2, "denoise_steps": 4, "warmup": 1},
    many_concepts=True,
    notes="Adapters that stay in the network and open by prompt: plain diffusers cannot hold them, and they "
    "are not exported; with gate=none they are an ordinary LoRA, are exported, and erase something else, as "
    "users who load the official files so have found. The gate is one for all rows of a picture, as there. "
    "Preset official is the code (3dd762e) in its numbers, but for AdamW in 32 bits where that code's has "
    "8, and for pictures of one size, where that code draws theirs at random; as there adapters stand "
    "beside every Linear and Conv2d of the transformers, and latents are asked about at a timestep a little "
    "noisier than theirs (timestep=even), and as there up and down are each multiplied by γ, which opens the "
    "adapters by γ² (gate=squared); preset paper has γ. With several concepts that code sums their ups and "
    "their downs apart, so that each up meets every down: here each concept's adapters stand alone. That "
    "code also stacks its prompts so that two of the four which λ holds are the empty one: here all four are "
    "drawn as the paper says. "
    "Left out: SD 2 at 768 pixels and SDXL, transfer to other models.",
)
