"""Erased Stable Diffusion (ESD).

Gandikota, Materzynska, Fiotto-Kaufman, Bau: Erasing Concepts from Diffusion Models, ICCV 2023.
The denoiser is fine-tuned to predict, for the concept's prompt, what guidance *away* from the
concept would have predicted (equations 7 and 8):

    ε* = ε_∅ − η (ε_c − ε_∅)                  both terms from the frozen base model
    L = ‖ε_θ(x_t, c, t) − ε*‖²                x_t: a partly denoised latent of the concept's prompt
"""

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import torch
from pydantic import NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt
from torch import Generator, Tensor
from torch.nn.functional import mse_loss

from erasure_bench.errors import BenchError
from erasure_bench.methods.base import EraseContext, MethodCard, Need
from erasure_bench.methods.edit import Edit, check_concepts, new_edit
from erasure_bench.methods.machinery.lots import integers
from erasure_bench.methods.machinery.on_the_way import away_from
from erasure_bench.methods.machinery.parameters import UNetGroup
from erasure_bench.methods.machinery.precision import (
    TrainingPrecision,
    in_precision,
    precision_of,
    trained_tensors,
)
from erasure_bench.methods.machinery.training import FORWARD_AND_BACKWARD, FineTune, OptimiserName
from erasure_bench.methods.machinery.trajectories import trajectories
from erasure_bench.models.denoiser import Denoiser
from erasure_bench.models.image_families import DENOISERS
from erasure_bench.models.sampling import partly_denoised, sample_latents
from erasure_bench.prompt_suites.concepts import Concept
from erasure_bench.prompt_suites.suite import SchedulerName

ANCHOR = "anchor"


@dataclass(frozen=True, kw_only=True)
class ESD:
    """Settings of ESD; the defaults are the official diffusers code's for SD 1.4, but for `precision`.

    What is trained: `parameters` decides the variant: cross-attention (ESD-x) for what a prompt
    names, the rest (ESD-u) for what a prompt only suggests. `eta` is η. `phrases` says whether a
    concept's canonical phrase is erased or each of its target phrases in turn. With `erase_from`, a
    text or `anchor` for the concept's own, the concept is erased from the pictures of that text alone:
    it takes the place of c in what is sampled and in what is trained, and

        ε* = ε_from − (1 + η) (ε_c − ε_∅)

    On which latents: x_t is reached by `denoise_steps` steps of `scheduler` with `guidance_scale`,
    stopped at a step drawn uniformly, by the frozen `base` or by the model as it is being `edited`.
    It is scored at the sampler's own timestep there, or at one drawn uniformly from the interval
    of T / `denoise_steps` timesteps that the step stands for. `steps_ahead` further steps are taken
    before scoring, at most to the end: the compvis code's latents are 2 steps cleaner than the
    timestep says, as its sampler leaves out the noisiest timestep and stops one step late.
    `image_size` is in pixels, None for the model's own.

    How: in `precision`, the model's own or another, `steps` steps of `optimiser` at `learning_rate`,
    each on `batch_size` latents that share a timestep; `micro_batch` of them at a time, if given, and
    with `gradient_checkpointing` in less memory and more time. With `trajectories` above 0, that many
    images per phrase are sampled once and every step draws its latents from along them, which is many
    times faster than sampling anew and gives less varied latents.
    """

    parameters: UNetGroup
    eta: float = 1.0
    phrases: Literal["canonical", "all"] = "canonical"
    erase_from: str | None = None
    sampled_by: Literal["base", "edited"] = "base"
    denoise_steps: PositiveInt = 50
    guidance_scale: float = 3.0
    scheduler: SchedulerName = "pndm"
    timestep: Literal["sampler", "interval"] = "sampler"
    steps_ahead: NonNegativeInt = 0
    image_size: PositiveInt | None = None
    precision: TrainingPrecision = "model"
    steps: NonNegativeInt = 200
    optimiser: OptimiserName = "adam"
    learning_rate: PositiveFloat = 5e-5
    weight_decay: NonNegativeFloat = 0.0
    batch_size: PositiveInt = 1
    micro_batch: PositiveInt | None = None
    trajectories: NonNegativeInt = 0
    gradient_checkpointing: bool = False

    def __post_init__(self) -> None:
        if self.steps_ahead and self.timestep == "sampler":
            raise BenchError(
                "steps_ahead above 0 needs timestep=interval, as the sampler's own is where x_t is"
            )
        if self.trajectories and (self.sampled_by, self.timestep) != ("base", "sampler"):
            raise BenchError(
                "trajectories above 0 need sampled_by=base and timestep=sampler: "
                "latents and targets are computed once, before training"
            )
        if self.trajectories and self.erase_from is not None:
            raise BenchError("erase_from needs trajectories=0: sampling along them asks for one text only")

    def erase(self, model: Denoiser, concepts: Sequence[Concept], context: EraseContext) -> Edit:
        """The UNet parameters that no longer know the concepts; each latent draws one of them."""
        check_concepts(concepts)
        erased = self.erased(concepts)
        trained = in_precision(model, self.precision)
        base = trained.frozen_copy()
        with FineTune(
            trained,
            self.parameters,
            learning_rate=self.learning_rate,
            steps=self.steps,
            context=context,
            optimiser=self.optimiser,
            weight_decay=self.weight_decay,
            gradient_checkpointing=self.gradient_checkpointing,
            own_precision=trained is not model,
        ) as tuning:
            lessons = self._lessons(base, trained, erased, tuning.generator)
            for _ in tuning:
                tuning.minimise(losses(trained, next(lessons), self.micro_batch or self.batch_size))
        return new_edit(
            "esd",
            dataclasses.replace(self, precision=precision_of(trained)),
            model,
            concepts,
            tensors=trained_tensors(model, trained, self.parameters, tuning.tensors),
            cost=tuning.cost,
            losses=tuning.losses,
        )

    def erased(self, concepts: Sequence[Concept]) -> tuple["Erased", ...]:
        """The phrases to erase, and from what."""
        return tuple(
            Erased(phrase, self._erased_from(concept, phrase))
            for concept in concepts
            for phrase in (concept.targets if self.phrases == "all" else (concept.target,))
        )

    def _erased_from(self, concept: Concept, phrase: str) -> str:
        if self.erase_from is None:
            return phrase
        return concept.anchor if self.erase_from == ANCHOR else self.erase_from

    def needs(self, concepts: Sequence[Concept], context: EraseContext) -> tuple[Need, ...]:
        """Trajectories, if any, and the steps, which sample their own latents where there are none."""
        trained = FORWARD_AND_BACKWARD * self.batch_size
        if self.trajectories:
            drawn = self.trajectories * len(self.erased(concepts))
            pictures = Need(unit="pictures", count=drawn, passes=2 * self.denoise_steps)
            return pictures, Need(unit="steps", count=self.steps, passes=trained)
        # Half of the way to a picture on average, and both terms of the target, all of them guided.
        sampled = self.batch_size * 2 * (self.denoise_steps / 2 + 1)
        return (Need(unit="steps", count=self.steps, passes=trained + sampled),)

    def _lessons(
        self,
        base: Denoiser,
        model: Denoiser,
        erased: Sequence["Erased"],
        generator: Generator,
    ) -> Iterator["Lesson"]:
        if self.trajectories:
            return self._along_trajectories(base, [one.phrase for one in erased], generator)
        return self._sampled_anew(base, base if self.sampled_by == "base" else model, erased, generator)

    def _sampled_anew(
        self,
        base: Denoiser,
        sampled_by: Denoiser,
        erased: Sequence["Erased"],
        generator: Generator,
    ) -> Iterator["Lesson"]:
        """As the official codes do it: every lesson samples its own latents."""
        concepts = base.encode_prompts([one.phrase for one in erased])
        origins = base.encode_prompts([one.origin for one in erased])
        while True:
            chosen = integers(generator, 0, len(erased), self.batch_size)
            (step,) = integers(generator, 0, self.denoise_steps, 1)
            seeds = integers(generator, 0, 2**62, self.batch_size)
            latents, timestep = self._partly_denoised(
                sampled_by, [erased[row].origin for row in chosen], seeds, step
            )
            if self.timestep == "interval":
                (timestep,) = integers(generator, *self.interval(step, base.num_train_timesteps), 1)
            with torch.no_grad():
                pair = base.predict_noise_pair(latents, timestep, concepts[chosen])
                if self.erase_from is None:
                    target = away_from(*pair, self.eta)
                else:
                    origin = base.predict_noise(latents, timestep, origins[chosen])
                    target = erased_from(origin, *pair, self.eta)
            yield Lesson(latents, timestep, origins[chosen], target)

    def _along_trajectories(
        self, base: Denoiser, prompts: Sequence[str], generator: Generator
    ) -> Iterator["Lesson"]:
        """Lessons from latents sampled once: sampling already asked the base for ε_∅ and ε_c on them.

        They are sampled at once and not with the first lesson: a training that goes on from a checkpoint
        must find the generator where it was.
        """
        embeddings = base.encode_prompts(prompts)
        owners = [index for index in range(len(prompts)) for _ in range(self.trajectories)]
        visited = trajectories(
            base,
            [prompts[owner] for owner in owners],
            integers(generator, 0, 2**62, len(owners)),
            steps=self.denoise_steps,
            guidance_scale=self.guidance_scale,
            scheduler=self.scheduler,
            height=self.image_size,
            width=self.image_size,
        )

        def lessons() -> Iterator[Lesson]:
            while True:
                rows = integers(generator, 0, len(owners), self.batch_size)
                (step,) = integers(generator, 0, self.denoise_steps, 1)
                at = visited[step]
                target = away_from(at.unconditional[rows], at.conditional[rows], self.eta)
                yield Lesson(at.latents[rows], at.timestep, embeddings[[owners[row] for row in rows]], target)

        return lessons()

    def _partly_denoised(
        self, model: Denoiser, prompts: Sequence[str], seeds: Sequence[int], step: int
    ) -> tuple[Tensor, int]:
        """Latents [n, channels, height, width] `steps_ahead` beyond `step`, and the timestep they are at."""
        settings: dict[str, Any] = {
            "steps": self.denoise_steps,
            "guidance_scale": self.guidance_scale,
            "scheduler": self.scheduler,
            "height": self.image_size,
            "width": self.image_size,
        }
        stop = step + self.steps_ahead
        if stop < self.denoise_steps:
            latents, timestep = partly_denoised(model, prompts, seeds, stop=stop, **settings)
        else:
            latents, timestep = sample_latents(model, prompts, seeds, **settings), 0
        return latents, timestep

    def interval(self, step: int, num_train_timesteps: int) -> tuple[int, int]:
        """Timesteps [first, last) that sampling step `step` (0 is the noisiest) stands for."""
        left = self.denoise_steps - step
        first, last = (round(n / self.denoise_steps * num_train_timesteps) for n in (left - 1, left))
        return first, last


class Erased(NamedTuple):
    """A phrase, and the text whose pictures it is erased from: mostly itself."""

    phrase: str
    origin: str


class Lesson(NamedTuple):
    """Latents and targets [n, channels, height, width], their timestep, prompts [n, tokens, width]."""

    latents: Tensor
    timestep: int
    embeddings: Tensor
    target: Tensor


def erased_from(origin: Tensor, unconditional: Tensor, conditional: Tensor, eta: float) -> Tensor:
    """ε_from − (1 + η) (ε_c − ε_∅), which is `away_from` where ε_from is ε_c; all of one shape."""
    return origin - (1 + eta) * (conditional - unconditional)


def losses(model: Denoiser, lesson: Lesson, micro_batch: int) -> Iterator[Tensor]:
    """The mean squared error over the whole lesson (equation 8), as one summand for each micro-batch."""
    count = len(lesson.latents)
    for start in range(0, count, micro_batch):
        part = slice(start, start + micro_batch)
        predicted = model.predict_noise(lesson.latents[part], lesson.timestep, lesson.embeddings[part])
        yield mse_loss(predicted, lesson.target[part]) * (len(predicted) / count)


def eta_from_negative_guidance(negative_guidance: float) -> float:
    """η of the diffusers code's `--negative_guidance`, which erases from the concept itself.

    Its target is ε_c − ng (ε_c − ε_∅) = ε_∅ − (ng − 1)(ε_c − ε_∅).
    """
    return negative_guidance - 1.0


OFFICIAL: dict[str, Any] = {
    "precision": "bfloat16",
    "eta": eta_from_negative_guidance(2.0),
    "sampled_by": "base",
    "scheduler": "pndm",
    "timestep": "sampler",
    "steps": 200,
    "learning_rate": 5e-5,
}
PAPER: dict[str, Any] = {
    "precision": "float32",
    "eta": 1.0,
    "sampled_by": "edited",
    "scheduler": "ddim",
    "timestep": "interval",
    "steps_ahead": 2,
    "steps": 1000,
    "learning_rate": 1e-5,
}
MICROWORLD: dict[str, Any] = {
    "precision": "model",
    "scheduler": "ddim",
    "denoise_steps": 20,
    "trajectories": 16,
    "batch_size": 8,
    "steps": 100,
    "learning_rate": 2e-4,
}


DIGITS_DDPM: dict[str, Any] = {
    "precision": "model",
    "scheduler": "ddim",
    "guidance_scale": 2.0,
    "denoise_steps": 20,
    "trajectories": 16,
    "batch_size": 8,
    "steps": 200,
    "learning_rate": 3e-4,
}
"""Of the built-in denoiser of digits; where the class enters alone, it takes a larger rate."""


def _card(
    name: str,
    parameters: UNetGroup,
    *,
    paper: dict[str, Any] | None,
    microworld: dict[str, Any] | None = None,
    digits: dict[str, Any] | None = None,
    notes: str = "",
) -> MethodCard:
    presets = {"official": OFFICIAL, "microworld": MICROWORLD | (microworld or {})}
    presets["digits-ddpm"] = DIGITS_DDPM | (digits or {})
    if paper is not None:
        presets["paper"] = PAPER | paper
    return MethodCard(
        name=name,
        title=f"Erased Stable Diffusion, {name}",
        paper="Gandikota et al., Erasing Concepts from Diffusion Models, ICCV 2023, arXiv:2303.07345",
        formula="min_θ ‖ε_θ(x_t, c, t) − [ε_∅ − η (ε_c − ε_∅)]‖²",
        build=ESD,
        settings={"parameters": parameters},
        presets=presets,
        quick={"steps": 2, "denoise_steps": 4, "image_size": None},
        many_concepts=True,
        families=DENOISERS,
        notes=" ".join([notes, NOTES]).strip(),
    )


NOTES = (
    "Preset official is the diffusers code (25613d2). It trains in bf16, weights and Adam's moments alike, "
    "where most updates of 5e-5 are rounded away: the weights move less than half as far as in fp32 "
    "(--method-option precision=float32). Its edit is what that code saves, the trained weights in bf16; "
    "latents stay fp32 between the network's calls. That code also samples at 1024 × 1024 pixels whatever "
    "the model; here the size is the model's own (--method-option image_size=1024). Its --erase_from is "
    "erase_from. Preset paper is the compvis code (a2189e9), which trains in fp32; its --seperator is "
    "phrases=all. Left out: SDXL."
)

ESD_X = _card(
    "esd-x",
    "xattn",
    paper={},
    microworld={"learning_rate": 4e-4},
    digits={"learning_rate": 2e-3},
    notes="Trains the cross-attention.",
)
ESD_X_STRICT = _card(
    "esd-x-strict",
    "xattn-strict",
    paper=None,
    microworld={"learning_rate": 4e-4, "steps": 200},
    digits={"learning_rate": 0.03},
    notes="Trains the cross-attention's keys and values.",
)
ESD_U = _card(
    "esd-u",
    "u",
    paper={"parameters": "noxattn"},
    microworld={"eta": 4.0, "steps": 300, "trajectories": 32},
    notes="Trains all but the cross-attention; preset paper also trains norms, and leaves out the time "
    "embedding and the last convolution.",
)
ESD_ALL = _card(
    "esd-all",
    "all",
    paper={"parameters": "full"},
    microworld={"eta": 4.0, "steps": 150, "trajectories": 32},
    notes="Trains every Linear and Conv2d; preset paper also trains norms.",
)
