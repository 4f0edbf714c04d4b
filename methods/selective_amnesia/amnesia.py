"""Selective Amnesia (SA).

Heng and Soh: Selective Amnesia: A Continual Learning Approach to Forgetting in Deep Generative
Models, NeurIPS 2023. The concept's prompt c_f is trained to bring pictures x of a surrogate
distribution q, while replayed pictures x_r of the base model keep the rest, and elastic weight
consolidation keeps the weights that matter to it (equation 8):

    L = E_{q(x)} ℓ(x, c_f) + γ E ℓ(x_r, c_r) + λ Σ_i F_i (θ_i − θ*_i)²

ℓ is a term of the negative evidence lower bound, drawn uniformly; for a diffusion model its
denoising error at a timestep. F is the Fisher information (`fisher`). The paper writes F_i / 2,
the official code has no ½.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt
from torch import Generator, Tensor

from erasure_bench.errors import BenchError
from erasure_bench.methods.base import EraseContext, MethodCard, Need
from erasure_bench.methods.edit import Edit, check_concepts, new_edit
from erasure_bench.methods.machinery.base_images import Drawing, pictures_needed
from erasure_bench.methods.machinery.general_prompts import silent_on
from erasure_bench.methods.machinery.parameters import UNetGroup
from erasure_bench.methods.machinery.training import (
    FORWARD_AND_BACKWARD,
    NEVER_SMALL,
    FineTune,
    OptimiserName,
    check_ema_decay,
)
from erasure_bench.methods.selective_amnesia.elbo_lessons import Examples
from erasure_bench.methods.selective_amnesia.fisher import Fisher, check_terms
from erasure_bench.methods.selective_amnesia.forgetting import forget
from erasure_bench.methods.selective_amnesia.general_set import GeneralSet, Quirks, pictures
from erasure_bench.models.generative import GenerativeModel, PictureModel, generative_of
from erasure_bench.models.image_families import FAMILIES
from erasure_bench.models.image_model import ImageModel
from erasure_bench.models.seeds import image_seed
from erasure_bench.prompt_suites.concepts import Concept
from erasure_bench.prompt_suites.suite import SchedulerName

CONCEPT = "concept"
NOISE = "noise"
FIRST_STEPS = 10
"""Of Adam, in which the gradients' mean squares still are those of the first."""


def _one_or_list(value: Any) -> Any:
    """A method option's text as what it lists: `["a man", "a woman"]`, or a single prompt."""
    if not isinstance(value, str):
        return value
    return json.loads(value) if value.lstrip().startswith("[") else (value,)


Surrogates = Annotated[tuple[str, ...], BeforeValidator(_one_or_list)]


@dataclass(frozen=True, kw_only=True)
class SelectiveAmnesia:
    """Settings of SA; the defaults are the official code's for a celebrity in SD 1.4.

    What is forgotten: `forget` = `surrogate` is SA; `negative-elbo` is the naive alternative that
    the paper compares with, −ℓ(x, c_f) on as many pictures of the concept by the base model. A picture's
    c_f is drawn from all of a concept's target phrases, or is the `canonical` one: `forget_phrases`.

    `surrogate` is q: pictures of one or of several prompts, `surrogate_images` for each concept, all
    prompts equally often. `concept` stands for the concept's own prompt: its surrogate, else its
    anchor's prompts, else its anchor. `noise` alone means pictures of uniform noise. A list is
    written `["a man", "a woman"]`.

    What is kept: `replay` is the second term, γ its `replay_weight`; `ewc` the third, λ its
    `ewc_weight`, halved by `ewc_half`. Both live on one picture of each of the first
    `general_images` general prompts, drawn with `general_seed`, whatever the edit's own seed: the
    Fisher on the first `fisher_images` of them, replay on the first `replay_images` that name or
    evoke no concept; None is all.

    `fisher` is how F is estimated: `exact` costs T passes a picture, `fast` costs `fisher_terms`.
    `fisher_batch` of them are made at once, which changes nothing but memory.

    Pictures are drawn by `scheduler` in `sampling_steps` steps with `guidance_scale` and DDIM's
    `eta`. Training takes `steps` steps of `optimiser` on `batch_size` pictures to forget and as many
    to replay, together `micro_batch` of them at a time, if given. The edit is the weights' moving
    average with `ema_decay`, which starts from the base weights; 0 means the last weights.
    `gradient_checkpointing` and `ema_on_cpu` save GPU memory (`FineTune`); θ* and F stay on the CPU.
    `clip_norm` bounds the gradient's norm. The losses of a batch count by their mean or, as in the VAE
    code, by their sum (`batch_reduction`), which makes λ a matter of the batch.

    What the official DDPM code does besides: each replayed picture has the timestep of a forgotten one
    (`shared_terms`); the base's pictures are stretched to the whole range, each for itself
    (`stretched_pictures`); the Fisher is taken on pixels in [0, 1] instead of [−1, 1]
    (`fisher_unit_range`), with the class dropped now and then (`fisher_label_dropout`).
    """

    parameters: UNetGroup = "full"
    forget: Literal["surrogate", "negative-elbo"] = "surrogate"
    forget_phrases: Literal["canonical", "all"] = "all"
    surrogate: Surrogates = (CONCEPT,)
    surrogate_images: PositiveInt = 1000
    replay: bool = True
    replay_weight: NonNegativeFloat = 1.0
    replay_images: PositiveInt | None = None
    ewc: bool = True
    ewc_weight: NonNegativeFloat = 50.0
    ewc_half: bool = False
    general_images: PositiveInt | None = 5000
    general_seed: NonNegativeInt = 42
    fisher: Literal["exact", "fast"] = "exact"
    fisher_images: PositiveInt | None = None
    fisher_terms: PositiveInt = 50
    fisher_batch: PositiveInt = 4
    scheduler: SchedulerName = "ddim"
    sampling_steps: PositiveInt = 50
    guidance_scale: float = 7.5
    eta: NonNegativeFloat = 0.0
    steps: NonNegativeInt = 12_600
    optimiser: OptimiserName = "adamw"
    learning_rate: PositiveFloat = 1.6e-4
    weight_decay: NonNegativeFloat = 0.01
    batch_size: PositiveInt = 16
    micro_batch: PositiveInt | None = None
    gradient_checkpointing: bool = False
    ema_decay: NonNegativeFloat = 0.9999
    ema_on_cpu: bool = False
    clip_norm: PositiveFloat | None = None
    shared_terms: bool = False
    batch_reduction: Literal["mean", "sum"] = "mean"
    stretched_pictures: bool = False
    fisher_unit_range: bool = False
    fisher_label_dropout: NonNegativeFloat = 0.0

    def __post_init__(self) -> None:
        if not self.surrogate or not all(self.surrogate):
            raise BenchError(f"surrogate needs a prompt, a list of prompts, {CONCEPT} or {NOISE}")
        if NOISE in self.surrogate and len(self.surrogate) > 1:
            raise BenchError(f"surrogate={NOISE} stands alone: got {', '.join(self.surrogate)}")
        check_ema_decay(self.ema_decay)
        if self.fisher_label_dropout > 1:
            raise BenchError(f"fisher_label_dropout={self.fisher_label_dropout:g}: valid: 0 to 1")
        self.drawing()

    def unused_settings(self) -> Mapping[str, str]:
        """The settings of terms that are switched off."""
        unused: dict[str, str] = {}
        if self.forget == "negative-elbo":
            unused["surrogate"] = "with forget=negative-elbo, which draws the concept itself"
        if not self.replay:
            unused |= dict.fromkeys(("replay_weight", "replay_images", "shared_terms"), "with replay=false")
        if not self.ewc:
            unused |= dict.fromkeys(_OF_EWC, "with ewc=false")
        elif self.fisher == "exact":
            unused["fisher_terms"] = "with fisher=exact, which takes every one"
        if not (self.replay or self.ewc):
            unused |= dict.fromkeys(("general_images", "general_seed"), "with replay=false and ewc=false")
            if self.forget == "surrogate" and self.surrogate == (NOISE,):
                unused |= dict.fromkeys(_OF_DRAWING, f"with surrogate={NOISE}: nothing is drawn")
        if self.ema_decay == 0:
            unused["ema_on_cpu"] = "with ema_decay=0"
        return unused

    def erase(self, model: ImageModel, concepts: Sequence[Concept], context: EraseContext) -> Edit:
        """The UNet parameters that draw the surrogate for the concepts; each example draws one of them."""
        check_concepts(concepts)
        drawing = self.drawing()
        generative = generative_of(model, pictures(model, drawing, context, self.stretched_pictures))
        if self.ewc and self.fisher == "fast":
            check_terms(self.fisher_terms, generative.terms)
        self._check_general_prompts(model, context)
        general = self._general(context)
        remembered = self._remembered(general, generative, concepts) if self.replay else None
        fisher = self._fisher(general, generative, context) if self.ewc else {}
        forgotten = Examples.joined(
            [self.forgotten(generative, concept, context.seed) for concept in concepts]
        )
        with FineTune(
            model,
            self.parameters,
            learning_rate=self.learning_rate,
            steps=self.steps,
            context=context,
            optimiser=self.optimiser,
            weight_decay=self.weight_decay,
            ema_decay=self.ema_decay,
            ema_on_cpu=self.ema_on_cpu,
            gradient_checkpointing=self.gradient_checkpointing,
            clip_norm=self.clip_norm,
            bounded=self.forget == "surrogate",
            never_diverged=max(NEVER_SMALL, self._first_steps_penalty(fisher)),
        ) as tuning:
            forget(
                generative,
                tuning,
                forgotten,
                remembered,
                fisher,
                batch_size=self.batch_size,
                forget_weight=1.0 if self.forget == "surrogate" else -1.0,
                replay_weight=self.replay_weight,
                penalty=self.penalty,
                micro_batch=self.micro_batch,
                shared_terms=self.shared_terms,
                summed=self.batch_reduction == "sum",
            )
        return new_edit(
            "sa", self, model, concepts, tensors=tuning.tensors, cost=tuning.cost, losses=tuning.losses
        )

    def drawing(self) -> Drawing:
        """How the base model draws pictures; raises BenchError for an η that the scheduler does not have."""
        return Drawing(
            scheduler=self.scheduler,
            steps=self.sampling_steps,
            guidance_scale=self.guidance_scale,
            eta=self.eta,
        )

    def _first_steps_penalty(self, fisher: Fisher) -> float:
        """What the third term comes to after ten of Adam's first steps in one direction.

        Each moves every weight by the learning rate, whatever its gradient: a loss that begins at zero may
        rise far before it is pulled back, and has not diverged.
        """
        reach = FIRST_STEPS * self.learning_rate
        return self.penalty * reach**2 * sum(float(part.sum()) for part in fisher.values())

    @property
    def penalty(self) -> float:
        """What (θ − θ*)² is multiplied by besides F: λ or λ / 2."""
        return self.ewc_weight / 2 if self.ewc_half else self.ewc_weight

    def surrogate_prompts(self, concept: Concept) -> tuple[str, ...]:
        """The prompts whose pictures take the concept's place."""
        own = (concept.surrogate,) if concept.surrogate else concept.anchor_prompts or (concept.anchor,)
        return tuple(prompt for given in self.surrogate for prompt in (own if given == CONCEPT else (given,)))

    def forgotten(self, generative: GenerativeModel[str], concept: Concept, seed: int) -> Examples[str]:
        """What c_f is trained on for a concept, with the phrases that each example may come under."""
        phrases, prompts = self._phrases(concept), self._forgotten_prompts(concept)
        if self.forget == "negative-elbo":
            return Examples(generative.draw(prompts, seed), [(phrase,) for phrase in prompts])
        if prompts:
            examples = generative.draw(prompts, seed)
        else:
            generator = Generator().manual_seed(image_seed("surrogate noise", concept.name, 0, seed))
            examples = generative.draw_noise_examples(self.surrogate_images, generator)
        return Examples(examples, [phrases] * self.surrogate_images)

    def needs(self, concepts: Sequence[Concept], context: EraseContext) -> tuple[Need, ...]:
        """General pictures and the Fisher diagonal on them, the pictures to forget on, and the steps."""
        general = self._general(context)
        shared = [general.pictures_needed()] if self.replay or self.ewc else []
        if self.ewc:
            shared.append(
                general.fisher_needed(
                    terms=self._fisher_terms, samples=self.fisher_images, of=context.loss_terms
                )
            )
        own = [
            pictures_needed(prompts, context.seed, general.drawing)
            for concept in concepts
            if (prompts := self._forgotten_prompts(concept))
        ]
        lot = self.batch_size * (2 if self.replay else 1)
        steps = Need(unit="steps", count=self.steps, passes=FORWARD_AND_BACKWARD * lot)
        return (*shared, *own, steps)

    def _general(self, context: EraseContext) -> GeneralSet:
        prompts = context.general_prompts[: self.general_images]
        quirks = Quirks(
            unit_range=self.fisher_unit_range,
            label_dropout=self.fisher_label_dropout,
            stretched=self.stretched_pictures,
        )
        return GeneralSet(prompts=prompts, seed=self.general_seed, drawing=self.drawing(), quirks=quirks)

    def _forgotten_prompts(self, concept: Concept) -> list[str]:
        """The prompts whose pictures `forgotten` draws; none where it makes noise."""
        if self.forget == "negative-elbo":
            return _round(self._phrases(concept), self.surrogate_images)
        if self.surrogate == (NOISE,):
            return []
        return _round(self.surrogate_prompts(concept), self.surrogate_images)

    def _phrases(self, concept: Concept) -> tuple[str, ...]:
        return (concept.target,) if self.forget_phrases == "canonical" else concept.targets

    @property
    def _fisher_terms(self) -> int | None:
        return self.fisher_terms if self.fisher == "fast" else None

    def _check_general_prompts(self, model: ImageModel, context: EraseContext) -> None:
        if (self.replay or self.ewc) and not context.general_prompts:
            raise BenchError(
                f"no general prompts are known for the model {model.name}, and replay and the Fisher "
                "need them (or --method-option replay=false with --method-option ewc=false)"
            )

    def _remembered(
        self, general: GeneralSet, generative: PictureModel, concepts: Sequence[Concept]
    ) -> Examples[str]:
        rows = silent_on(concepts, general.prompts, generative.model.classes)[: self.replay_images]
        if not rows:
            names = ", ".join(concept.name for concept in concepts)
            raise BenchError(
                f"all {len(general.prompts)} general prompts speak of {names}: nothing is left to replay "
                "(--method-option general_images=… for more of them, or replay=false)"
            )
        return Examples(general.latents(generative)[rows], [(general.prompts[row],) for row in rows])

    def _fisher(
        self, general: GeneralSet, generative: PictureModel, context: EraseContext
    ) -> dict[str, Tensor]:
        return general.fisher(
            generative,
            context,
            terms=self._fisher_terms,
            samples=self.fisher_images,
            batch_size=self.fisher_batch,
        )


_OF_EWC = (
    *("ewc_weight", "ewc_half", "fisher", "fisher_images", "fisher_terms", "fisher_batch"),
    *("fisher_unit_range", "fisher_label_dropout"),
)
_OF_DRAWING = ("scheduler", "sampling_steps", "guidance_scale", "eta")


def _round(prompts: Sequence[str], count: int) -> list[str]:
    """`count` prompts, going round."""
    return [prompts[place % len(prompts)] for place in range(count)]


OFFICIAL: dict[str, Any] = {"replay_images": 1000}
PAPER: dict[str, Any] = {"replay_images": None, "ewc_half": True}
NUDITY: dict[str, Any] = {"parameters": "noxattn", "steps": 31_500}
MICROWORLD: dict[str, Any] = {
    "surrogate_images": 48,
    "general_images": 256,
    "fisher": "fast",
    "fisher_images": 128,
    "fisher_terms": 16,
    "fisher_batch": 16,
    "sampling_steps": 20,
    "guidance_scale": 4.0,
    "ewc_weight": 0.05,
    "steps": 200,
    "batch_size": 8,
    "learning_rate": 2e-4,
    "ema_decay": 0.0,
}

MNIST_VAE: dict[str, Any] = {
    "surrogate": (NOISE,),
    "surrogate_images": 20_000,
    "general_images": 50_000,
    "fisher": "exact",
    "fisher_batch": 1,
    "sampling_steps": 1,
    "guidance_scale": 1.0,
    "ewc_weight": 100.0,
    "steps": 10_000,
    "optimiser": "adam",
    "weight_decay": 0.0,
    "learning_rate": 1e-4,
    "batch_size": 256,
    "batch_reduction": "sum",
    "ema_decay": 0.0,
}
CIFAR10_DDPM: dict[str, Any] = {
    "surrogate": (NOISE,),
    "surrogate_images": 5000,
    "general_images": 5000,
    "fisher": "exact",
    "fisher_batch": 50,
    "sampling_steps": 1000,
    "eta": 1.0,
    "guidance_scale": 3.0,
    "ewc_weight": 10.0,
    "steps": 20_000,
    "optimiser": "adam",
    "weight_decay": 0.0,
    "learning_rate": 1e-4,
    "clip_norm": 1.0,
    "batch_size": 128,
    "shared_terms": True,
    "ema_decay": 0.9999,
}
DDPM_QUIRKS: dict[str, Any] = {
    "stretched_pictures": True,
    "fisher_unit_range": True,
    "fisher_label_dropout": 0.1,
}
STL10_DDPM: dict[str, Any] = {**CIFAR10_DDPM, "batch_size": 64}
OF_THE_PAPER: dict[str, Any] = {"ewc_half": True}
DIGITS_VAE: dict[str, Any] = {
    **MNIST_VAE,
    "surrogate_images": 2000,
    "general_images": 2000,
    "steps": 2000,
    "batch_size": 128,
    "learning_rate": 3e-4,
}
DIGITS_DDPM: dict[str, Any] = {
    **CIFAR10_DDPM,
    "surrogate_images": 500,
    "general_images": 500,
    "fisher": "fast",
    "fisher_images": 200,
    "fisher_terms": 20,
    "fisher_batch": 20,
    "sampling_steps": 25,
    "eta": 0.0,
    "guidance_scale": 2.0,
    "ewc_weight": 0.01,
    "steps": 400,
    "batch_size": 32,
    "learning_rate": 1e-3,
    "ema_decay": 0.0,
}

SA = MethodCard(
    name="sa",
    title="Selective Amnesia",
    paper="Heng and Soh, Selective Amnesia, NeurIPS 2023, arXiv:2305.10120",
    formula="min_θ E_q ℓ_θ(x, c_f) + γ E ℓ_θ(x_r, c_r) + λ Σ_i F_i (θ_i − θ*_i)²",
    build=SelectiveAmnesia,
    presets={
        "official": OFFICIAL,
        "official-nudity": OFFICIAL | NUDITY,
        "paper": PAPER,
        "paper-nudity": PAPER | NUDITY,
        "microworld": MICROWORLD,
        "mnist-vae": MNIST_VAE,
        "mnist-vae-paper": MNIST_VAE | OF_THE_PAPER,
        "fashion-mnist-vae": MNIST_VAE,
        "cifar10-ddpm": CIFAR10_DDPM | DDPM_QUIRKS,
        "cifar10-ddpm-paper": CIFAR10_DDPM | OF_THE_PAPER,
        "stl10-ddpm": STL10_DDPM | DDPM_QUIRKS,
        "stl10-ddpm-paper": STL10_DDPM | OF_THE_PAPER,
        "digits-vae": DIGITS_VAE,
        "digits-ddpm": DIGITS_DDPM,
    },
    quick={
        "surrogate_images": 2,
        "general_images": 4,
        "fisher_images": 1,
        "fisher_batch": 250,
        "sampling_steps": 2,
        "steps": 2,
        "batch_size": 2,
    },
    many_concepts=True,
    families=FAMILIES,
    general_prompts=True,
    notes=(
        "Preset official is the Stable Diffusion code (b736571) for a celebrity, official-nudity that for "
        "nudity: its four GPUs with a batch of 4 each are one batch of 16 here. As there, only the first "
        "1000 replay pictures are used and F has no ½; preset paper uses all of them and the ½. Unlike "
        "there, latents are the mean of the autoencoder's posterior instead of a draw from it. That code "
        "trains in fp32; here it is the model's precision (--dtype). Its average has the decay min(0.9999, "
        "(1 + n) / (10 + n)): constant, as here, because n goes on from the many updates that are counted "
        "in sd-v1-4-full-ema.ckpt; from a checkpoint without that count it would rise from 0.18 and reach "
        "0.9999 after 90,000. The exact "
        "Fisher of these presets takes 5 million forward and backward passes, once for a base model; "
        "--method-option fisher=fast takes a twentieth. The cost of an edit is that of its training: "
        "pictures and Fisher, which edits share, are not in it. "
        "Presets mnist-vae, cifar10-ddpm and stl10-ddpm are the paper's other half in its official code, "
        "with its quirks as settings; those called -paper have none of them, and the ½. Unlike there, "
        "replayed pictures and those of noise are drawn once and not at every step, in 8 bits; the DDPM's "
        "base weights are the average alone, for θ* as well, it trains without dropout, its replayed "
        "pictures are not mirrored, and its timesteps come in no antithetic pairs. Those of digits are "
        "ours: what λ means hangs on the network, and with digits-ddpm nothing is forgotten at 10."
    ),
)
