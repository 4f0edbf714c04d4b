"""Adversarial preservation: EAP and AGE.

Bui, Vuong, Doan, Le, Montague, Abraham, Phung: Erasing Undesirable Concepts in Diffusion Models with
Adversarial Preservation, NeurIPS 2024. While the concept's phrase c is led away as in ESD, the concept a that
suffers most from it keeps its prediction. a is sought among many by a Gumbel-softmax with logits π:

    min_θ max_π ‖ε_θ(x_t, c) − ε*‖² + λ ‖ε_θ(x_t, a) − ε_a‖²            a = Σ_i w_i(π) e_i
    ε* = ε_0 − η (ε_c − ε_0)                                            e_i: text embeddings of candidates

with ε_0 = ε_∅. AGE (Bui et al., Fantastic Targets for Concept Erasure in Diffusion Models and Where To Find
Them, ICLR 2025) takes a for the concept's destination as well, ε_0 = ε_a. Both codes measure errors on x̂_0.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from pydantic import NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt
from torch import Generator, Tensor
from torch.nn.functional import cosine_similarity

from erasure_bench.errors import BenchError
from erasure_bench.methods.base import EraseContext, MethodCard, Need
from erasure_bench.methods.edit import Edit, check_concepts, new_edit
from erasure_bench.methods.machinery.adversary import Adversary
from erasure_bench.methods.machinery.general_prompts import silent_on
from erasure_bench.methods.machinery.on_the_way import OnTheWay, Ways, WayThere
from erasure_bench.methods.machinery.parameters import UNetGroup
from erasure_bench.methods.machinery.training import (
    FORWARD_AND_BACKWARD,
    NEVER_SMALL,
    FineTune,
    OptimiserName,
)
from erasure_bench.models.diffusion_model import DiffusionModel
from erasure_bench.prompt_suites.concepts import Concept

ENCODED_AT_ONCE = 64
SHORTEST_WORD = 3
PURE_NOISE = 1e-4
"""The least ᾱ that errors on x̂_0 are scaled by: from pure noise there is no x̂_0."""


@dataclass(frozen=True, kw_only=True)
class AdversarialPreservation(WayThere):
    """Settings of EAP and AGE.

    Where the concept is led: away from it (η is `eta`), beginning at `led_from`: the `empty` prompt's
    prediction, or the one of the adversary's `choice`; with `choice` and η 0 it becomes the choice itself.
    Errors are measured in `space`: of the predicted `noise`, or of the `image` x̂_0 that it means.

    What the adversary chooses from: the first `vocabulary_size` whole words of the model's tokenizer, or the
    `general` prompts, or a list of texts (`vocabulary`), without those in which a phrase of a concept stands
    whole (a word of a longer name may stay: "grumpy"); of these the `nearest` to the concept by the cosine of
    their text embeddings, and of these, where they are more, those nearest to the `centres` of k-means.

    How it chooses: w is drawn from a Gumbel-softmax with `temperature`: its `top` largest weights, equal in
    the forward pass where `hard`, else as they are, scaled to 1. At every step π takes `adversary_steps`
    steps of Adam at `adversary_rate`: up `both` errors, or where a is the destination, too, up that of what
    is `preserved` alone (`climbs`).

    `preserve_weight` is λ; `parameters` take `steps` steps of `optimiser` at `learning_rate` on `batch_size`
    latents that share a timestep. What the other settings mean, `WayThere` says.
    """

    parameters: UNetGroup = "noxattn"
    eta: float = 1.0
    led_from: Literal["empty", "choice"] = "empty"
    space: Literal["noise", "image"] = "noise"
    vocabulary: Literal["tokenizer", "general"] | tuple[str, ...] = "tokenizer"
    vocabulary_size: PositiveInt = 3000
    nearest: PositiveInt = 1000
    centres: PositiveInt = 100
    temperature: PositiveFloat = 2.0
    top: PositiveInt = 2
    hard: bool = True
    adversary_steps: NonNegativeInt = 1
    adversary_rate: PositiveFloat = 1e-2
    climbs: Literal["both", "preserved"] = "both"
    preserve_weight: NonNegativeFloat = 1.0
    steps: NonNegativeInt = 1000
    optimiser: OptimiserName = "adam"
    learning_rate: PositiveFloat = 1e-5
    batch_size: PositiveInt = 1
    gradient_checkpointing: bool = False

    def unused_settings(self) -> Mapping[str, str]:
        """What is for an adversary that takes steps, or chooses a destination; a given vocabulary's size."""
        unused = {}
        if self.led_from == "empty":
            unused["climbs"] = "with led_from=empty"
        if not self.adversary_steps:
            unused |= dict.fromkeys(("adversary_rate", "climbs"), "with adversary_steps=0")
        if self.vocabulary != "tokenizer":
            unused["vocabulary_size"] = f"with vocabulary={self.vocabulary}, which is taken whole"
        return unused

    def erase(self, model: DiffusionModel, concepts: Sequence[Concept], context: EraseContext) -> Edit:
        """The UNet's weights that lead the concepts' phrases away; each step is about one of them."""
        check_concepts(concepts)
        base = model.frozen_copy()
        with FineTune(
            model,
            self.parameters,
            learning_rate=self.learning_rate,
            steps=self.steps,
            context=context,
            optimiser=self.optimiser,
            weight_decay=0.0,
            gradient_checkpointing=self.gradient_checkpointing,
            never_diverged=NEVER_SMALL * max(1.0, self._scale(base, base.num_train_timesteps - 1)),
        ) as tuning:
            generator = tuning.generator
            texts = self.candidates(model, concepts, context)
            choices = [self.near(base, concept, texts) for concept in concepts]
            ways = [Ways(self, base, model, [concept.target], generator) for concept in concepts]
            adversaries = [
                Adversary(torch.zeros(len(choice.texts)), learning_rate=self.adversary_rate)
                for choice in choices
            ]
            for number, adversary in enumerate(adversaries):
                tuning.carry(f"adversary {number}", adversary)
            for step in tuning:
                turn = step % len(concepts)
                seen = ways[turn].draw(self.batch_size, generator)
                logits, phrase = adversaries[turn], ways[turn].embeddings
                embeddings = choices[turn].embeddings
                chosen = self.choose(logits.value.detach(), embeddings, generator)
                tuning.minimise([self.loss(model, base, seen, phrase, chosen)])
                for _ in range(self.adversary_steps):
                    drawn = gumbel(len(embeddings), generator)
                    climbed = partial(self.loss_of_logits, model, base, seen, phrase, embeddings, drawn)
                    logits.ascend(climbed)
        return new_edit(
            "adversarial-preservation",
            self,
            model,
            concepts,
            tensors=tuning.tensors,
            cost=tuning.cost,
            losses=tuning.losses,
        )

    def needs(self, concepts: Sequence[Concept], context: EraseContext) -> tuple[Need, ...]:
        """Latents, if they are sampled beforehand, and the steps with the adversary's."""
        each = (2 * FORWARD_AND_BACKWARD + 1) * (1 + self.adversary_steps) + self.passes
        steps = Need(unit="steps", count=self.steps, passes=each * self.batch_size)
        return (*self.walks_needed(len(concepts)), steps)

    def candidates(
        self, model: DiffusionModel, concepts: Sequence[Concept], context: EraseContext
    ) -> tuple[str, ...]:
        """The texts that the adversary may choose from; raises BenchError where there are none."""
        if self.vocabulary == "tokenizer":
            texts = whole_words(model)
        else:
            texts = context.general_prompts if self.vocabulary == "general" else self.vocabulary
        silent = tuple(texts[row] for row in silent_on(concepts, texts))
        if self.vocabulary == "tokenizer":
            silent = silent[: self.vocabulary_size]
        if not silent:
            raise BenchError(
                "no text is known for this model, or all of them name what is erased: there is nothing to "
                'preserve (--method-option vocabulary=["a dog", …])'
            )
        return silent

    def near(self, base: DiffusionModel, concept: Concept, texts: Sequence[str]) -> "Candidates":
        """Those of the texts that are nearest to the concept, spread by k-means where they are too many."""
        embeddings = _encoded(base, texts)
        own = _encoded(base, [concept.target])
        alike = cosine_similarity(embeddings.flatten(1), own.flatten(1))
        rows = alike.topk(min(self.nearest, len(texts))).indices.sort().values.tolist()
        if len(rows) > self.centres:
            rows = [rows[place] for place in spread(embeddings[rows].flatten(1), self.centres)]
        return Candidates(tuple(texts[row] for row in rows), embeddings[rows])

    def choose(self, logits: Tensor, embeddings: Tensor, generator: Generator) -> Tensor:
        """a [1, tokens, width], drawn by the logits."""
        return self._mixed(logits, embeddings, gumbel(len(embeddings), generator))

    def loss(
        self, model: DiffusionModel, base: DiffusionModel, seen: OnTheWay, phrase: Tensor, chosen: Tensor
    ) -> Tensor:
        """Both terms for x_t; `phrase` and `chosen` are text embeddings [1, tokens, width]."""
        count = len(seen.latents)
        both = torch.cat([phrase.expand(count, -1, -1), chosen.to(phrase).expand(count, -1, -1)])
        twice = seen.latents.repeat(2, 1, 1, 1)
        erased, preserved = model.predict_noise(twice, seen.timestep, both).chunk(2)
        kept = base.predict_noise(seen.latents, seen.timestep, chosen)
        origin = seen.unconditional
        if self.led_from == "choice":
            origin = kept.detach() if self.climbs == "preserved" else kept
        target = origin - self.eta * (seen.conditional - origin)
        scale = self._scale(base, seen.timestep)
        erasing, preserving = (erased - target).square().mean(), (preserved - kept).square().mean()
        return scale * (erasing + self.preserve_weight * preserving)

    def loss_of_logits(
        self,
        model: DiffusionModel,
        base: DiffusionModel,
        seen: OnTheWay,
        phrase: Tensor,
        embeddings: Tensor,
        drawn: Tensor,
        logits: Tensor,
    ) -> Tensor:
        """The same for the choice that the logits make of candidates' embeddings by Gumbel noise `drawn`."""
        return self.loss(model, base, seen, phrase, self._mixed(logits, embeddings, drawn))

    def _scale(self, base: DiffusionModel, timestep: int) -> float:
        """What squared errors of ε are on x̂_0 = (x_t − √(1−ᾱ) ε) / √ᾱ: (1 − ᾱ) / ᾱ times as much."""
        if self.space == "noise":
            return 1.0
        alpha = max(float(base.alphas_cumprod[timestep]), PURE_NOISE)
        return (1 - alpha) / alpha

    def _mixed(self, logits: Tensor, embeddings: Tensor, drawn: Tensor) -> Tensor:
        weights = weights_of(logits, drawn, self.temperature, self.top, self.hard)
        return torch.einsum("i,itw->tw", weights.to(embeddings), embeddings)[None]


class Candidates(NamedTuple):
    """Texts and their embeddings [n, tokens, width]."""

    texts: tuple[str, ...]
    embeddings: Tensor


def gumbel(count: int, generator: Generator) -> Tensor:
    """Standard Gumbel noise [count]."""
    uniform = torch.rand(count, generator=generator).clamp(1e-20, 1 - 1e-7)
    return -torch.log(-torch.log(uniform))


def weights_of(logits: Tensor, drawn: Tensor, temperature: float, top: int, hard: bool) -> Tensor:
    """w [n], summing to 1: softmax((π + g) / τ), of which the `top` largest are left.

    Where `hard` these are equal, and the gradient is all of the softmax's (straight-through).
    """
    soft = ((logits + drawn.to(logits)) / temperature).softmax(0)
    kept = torch.zeros_like(soft)
    kept[soft.topk(min(top, len(soft))).indices] = 1.0
    if hard:
        return kept / kept.sum() + (soft - soft.detach())
    return soft * kept / (soft * kept).sum()


def spread(points: Tensor, centres: int) -> list[int]:
    """Numbers of those of the points [n, width] that lie nearest to k-means' centres, each once, in order."""
    from scipy.cluster.vq import kmeans2

    values = points.double().cpu().numpy()
    found, _ = kmeans2(values, centres, minit="++", rng=np.random.default_rng(0))
    return sorted({int(((values - centre) ** 2).sum(1).argmin()) for centre in found})


def whole_words(model: DiffusionModel) -> tuple[str, ...]:
    """Words of the tokenizer's vocabulary that are one token, in its order: the most frequent first."""
    end = "</w>"
    vocabulary = sorted(model.tokenizer.get_vocab().items(), key=lambda item: item[1])
    words = [token.removesuffix(end) for token, _ in vocabulary if token.endswith(end)]
    return tuple(word for word in words if len(word) >= SHORTEST_WORD and word.isascii() and word.isalpha())


def _encoded(base: DiffusionModel, texts: Sequence[str]) -> Tensor:
    with torch.no_grad():
        return torch.cat(
            [
                base.encode_prompts(list(texts[start : start + ENCODED_AT_ONCE]))
                for start in range(0, len(texts), ENCODED_AT_ONCE)
            ]
        )


MICROWORLD: dict[str, Any] = {
    "sampled_by": "base",
    "timestep": "sampler",
    "denoise_steps": 20,
    "trajectories": 16,
    "nearest": 200,
    "centres": 50,
    "parameters": "xattn",
    "eta": 2.0,
    "steps": 120,
    "batch_size": 8,
    "learning_rate": 4e-4,
}


def _card(
    name: str,
    title: str,
    paper: str,
    formula: str,
    notes: str,
    presets: Mapping[str, Mapping[str, Any]],
) -> MethodCard:
    return MethodCard(
        name=name,
        title=title,
        paper=paper,
        formula=formula,
        build=AdversarialPreservation,
        presets=presets,
        quick={"steps": 2, "denoise_steps": 4, "vocabulary_size": 8, "nearest": 4, "centres": 3},
        many_concepts=True,
        general_prompts=True,
        notes=f"{notes} {NOTES}",
    )


ALIKE: dict[str, Any] = {
    "parameters": "xattn",
    "top": 1,
    "hard": True,
    "adversary_rate": 1e-2,
    "centres": 100,
    "eta": 1.0,
    "space": "image",
}
OFFICIAL_EAP: dict[str, Any] = ALIKE | {"nearest": 1000, "temperature": 2.0, "led_from": "empty"}
OFFICIAL_AGE: dict[str, Any] = ALIKE | {
    "nearest": 100,
    "temperature": 0.1,
    "led_from": "choice",
    "climbs": "preserved",
}
NOTES = (
    "Learning rate 1e-5, 1,000 steps of the weights and as many of the adversary in turn with them, λ 1, "
    "ESD's latents (DDIM in 50 steps, guidance 3, by the model as it is trained). Its words are the 3,000 "
    "first whole ones of the tokenizer's vocabulary, where the official code has a list of 3,000 English "
    "words; a candidate is the text nearest to each centre of k-means, which is over texts' embeddings, "
    "there over their distances to the concept alone. There what is preserved is so on latents on the way "
    "to its own pictures, from the same noise, and the adversary has fresh ones; here both have the "
    "concept's. Written from formulas and from the numbers of the commands that reproduce the paper's "
    "tables: the code has no licence."
)

EAP = _card(
    "eap",
    "Erasing with Adversarial Preservation",
    "Bui et al., Erasing Undesirable Concepts in Diffusion Models with Adversarial Preservation, "
    "NeurIPS 2024, arXiv:2410.15618",
    "min_θ max_π ‖ε_θ(x_t, c) − [ε_∅ − η (ε_c − ε_∅)]‖² + λ ‖ε_θ(x_t, a_π) − ε_a‖²",
    "The concept that suffers most keeps its prediction. Preset official has the numbers of 7222925 for "
    "things and artists (run_imagenette.sh, run_artist.sh): errors on x̂_0, the cross-attention, one hard "
    "choice among 100 of the 1,000 nearest words; official-nudity those of run_nudity.sh: noxattn, 50 of "
    "2,000. Preset paper has the errors of ε that the formula has, and could not be checked against the "
    "paper.",
    {
        "official": OFFICIAL_EAP,
        "paper": OFFICIAL_EAP | {"space": "noise"},
        "official-nudity": OFFICIAL_EAP | {"parameters": "noxattn", "centres": 50, "nearest": 2000},
        "microworld": MICROWORLD,
    },
)
AGE = _card(
    "age",
    "Adaptive Guided Erasure",
    "Bui et al., Fantastic Targets for Concept Erasure in Diffusion Models and Where To Find Them, "
    "ICLR 2025, arXiv:2501.18950",
    "min_θ max_π ‖ε_θ(x_t, c) − ε_a‖² + λ ‖ε_θ(x_t, a_π) − ε_a‖²",
    "The adversary's choice is the concept's destination, too. Preset official has the numbers of b56a903 "
    "for things (scripts/imagenette): errors on x̂_0, ε_a − (ε_c − ε_a) for a target, which the adversary "
    "does not see: it climbs the error of what is preserved alone; the cross-attention, temperature 0.1, "
    "the 100 nearest, there of ImageNet's names; official-nudity those of erasing_nudity.sh: noxattn, "
    "temperature 2; official-style those of scripts/artist: five soft weights, an adversary at 1e-3, the "
    "1,000 nearest of a list of artists. A hard choice is a single one in that code, whatever its option "
    "says of the top 2. Preset paper maps the concept to the choice itself, a mixture of two, and could not "
    "be checked against the paper.",
    {
        "official": OFFICIAL_AGE,
        "official-nudity": OFFICIAL_AGE | {"parameters": "noxattn", "temperature": 2.0},
        "official-style": OFFICIAL_AGE
        | {"hard": False, "top": 5, "temperature": 2.0, "adversary_rate": 1e-3, "nearest": 1000},
        "paper": {"led_from": "choice", "eta": 0.0, "space": "noise"},
        "microworld": MICROWORLD | {"led_from": "choice", "eta": 0.0, "steps": 80, "learning_rate": 1e-3},
    },
)
