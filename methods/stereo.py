"""STEREO: search thoroughly enough, then robustly erase once.

Srivatsan, Shamshad, Naseer, Patel, Nandakumar: STEREO: A Two-Stage Framework for Adversarially Robust Concept
Erasing from Text-to-Image Diffusion Models, CVPR 2025. First words v_1 … v_K are found that still bring the
concept back, in turns: the present word is erased as by ESD, then textual inversion finds the next one in
the model so edited,

    min_θ ‖ε_θ(x_t, v_(k−1)) − [ε_∅ − η (ε_(v_(k−1)) − ε_∅)]‖²          v_0: the concept's phrase
    v_k = argmin_v ‖ε_θ(x_t, v) − ε‖²

and then the base model is trained once to lead away from all of them, and towards an anchor a:

    min_θ ‖ε_θ(x_t, c) − [ε_∅ + s_a Δ(a) − s_n · mean_k Δ(v_k)]‖²
    Δ(p) = (ε_p − ε_∅)⊥ + ρ (ε_p − ε_∅)∥

where ⊥ and ∥ are the parts that are orthogonal and parallel to ε_p.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple

import torch
from pydantic import NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt
from torch import Generator, Tensor
from torch.nn.functional import mse_loss

from erasure_bench.methods.base import EraseContext, MethodCard, Need
from erasure_bench.methods.edit import Edit, check_concepts, new_edit
from erasure_bench.methods.machinery.base_images import Drawing, as_floats
from erasure_bench.methods.machinery.cost import Meter
from erasure_bench.methods.machinery.examples import clean_latents, draw_examples, examples_needed
from erasure_bench.methods.machinery.lots import integers
from erasure_bench.methods.machinery.on_the_way import OnTheWay, Ways, WayThere, away_from
from erasure_bench.methods.machinery.parameters import UNetGroup
from erasure_bench.methods.machinery.prompt_pairs import prompt_pairs
from erasure_bench.methods.machinery.soft_tokens import encoded, with_word, word_embeddings
from erasure_bench.methods.machinery.textual_inversion import OF_A_PERSON, OF_A_STYLE, TEMPLATES, invert
from erasure_bench.methods.machinery.training import FORWARD_AND_BACKWARD, FineTune, OptimiserName
from erasure_bench.models.diffusion_model import DiffusionModel
from erasure_bench.models.seeds import image_seed
from erasure_bench.prompt_suites.concepts import Concept


@dataclass(frozen=True, kw_only=True)
class Stereo(WayThere):
    """Settings of STEREO.

    The search: `rounds` times `search_steps` steps at `search_rate` away from the present word (η is `eta`),
    each time going on from the model before, and `inversion_steps` steps of textual inversion at
    `inversion_rate`, which begin with the concept's anchor, on `images` pictures of the concept that the base
    model draws with `picture_scale`. There the word stands in captions of a `photo`, or in those of the
    concept's `kind`: of a style paintings in the style of it, of a person portraits (`captions`). Where it
    has been found it stands `alone`, as the phrase does, or else in "a photo of" it, of a style in "a picture
    in the style of" it.

    The erasure: s_a is `towards`, s_n `away`, ρ `parallel`; a step's a is one of `anchors` anchor prompts, in
    turn. What is trained to answer so is the concept's phrase alone (`trained` `phrase`), or it and each of
    the words, as drawn (`all`). It takes `steps` steps at `learning_rate`.

    Both train `parameters` by `optimiser` on `batch_size` latents that share a timestep, on the way to the
    phrase's pictures by the base model, whatever `sampled_by`. What the other settings mean, `WayThere` says.
    """

    parameters: UNetGroup = "noxattn"
    rounds: PositiveInt = 4
    eta: float = 1.0
    search_steps: NonNegativeInt = 200
    search_rate: PositiveFloat = 5e-6
    inversion_steps: PositiveInt = 3000
    inversion_rate: PositiveFloat = 5e-3
    images: PositiveInt = 100
    picture_scale: float = 7.5
    captions: Literal["photo", "kind"] = "photo"
    alone: bool = False
    towards: NonNegativeFloat = 1.0
    away: NonNegativeFloat = 3.0
    parallel: float = 1.0
    anchors: PositiveInt = 10
    trained: Literal["phrase", "all"] = "phrase"
    steps: NonNegativeInt = 200
    optimiser: OptimiserName = "adamw"
    learning_rate: PositiveFloat = 2e-5
    batch_size: PositiveInt = 1
    gradient_checkpointing: bool = False

    def unused_settings(self) -> Mapping[str, str]:
        """Who draws latents; and what a search without steps, or a target without anchors, has no use for."""
        unused = {"sampled_by": "on latents that are always the base model's"}
        if not self.search_steps:
            unused |= dict.fromkeys(("search_rate", "eta"), "with search_steps=0")
        if not self.towards:
            unused["anchors"] = "with towards=0"
        if not (self.towards or self.away):
            unused["parallel"] = "with towards=0 and away=0"
        return unused

    def erase(self, model: DiffusionModel, concepts: Sequence[Concept], context: EraseContext) -> Edit:
        """The UNet's weights that lead away from the concepts' phrases and from all words found for them.

        Every concept has a search of its own; the steps of the erasure are about one after the other.
        """
        check_concepts(concepts)
        base = model.frozen_copy()
        clean = [self._pictures(model, concept, context) for concept in concepts]
        losses: list[float] = []
        with Meter(model.device) as meter:
            plans = []
            for concept, pictures in zip(concepts, clean, strict=True):
                walked = Generator().manual_seed(image_seed("on the way", concept.name, 0, context.seed))
                ways = Ways(self, base, base, [concept.target], walked)
                found = self.search(base, concept, ways, pictures, context)
                losses += found.losses
                words = torch.cat([ways.embeddings, *found.words])
                plans.append(Plan(ways, words, self._anchors(base, concept)))
            with self._tuning(model, self.learning_rate, self.steps, context) as tuning:
                for step in tuning:
                    turn, again = step % len(plans), step // len(plans)
                    tuning.minimise([self.loss(model, base, plans[turn], again, tuning.generator)])
            losses += tuning.losses
        return new_edit(
            "stereo",
            self,
            model,
            concepts,
            tensors=tuning.tensors,
            cost=meter.cost(len(losses)),
            losses=losses,
        )

    def needs(self, concepts: Sequence[Concept], context: EraseContext) -> tuple[Need, ...]:
        """Pictures to invert, latents, if they are sampled beforehand, and the steps of all rounds."""
        pictures = [
            examples_needed(prompt_pairs(concept), self.images, "target", self._drawing(), context)
            for concept in concepts
        ]
        searched = len(concepts) * self.rounds * (self.search_steps + self.inversion_steps)
        answered = 1 + (self.towards > 0) + (1 + self.rounds) * (self.away > 0)
        own = self.steps * (FORWARD_AND_BACKWARD + self.passes + answered)
        search = searched * (FORWARD_AND_BACKWARD + 1)
        count = searched + self.steps
        passes = (search + own) * self.batch_size / max(count, 1)
        walks = self.walks_needed(len(concepts))
        return (*pictures, *walks, Need(unit="steps", count=count, passes=passes))

    def loss(
        self,
        model: DiffusionModel,
        base: DiffusionModel,
        plan: "Plan",
        number: int,
        generator: Generator,
    ) -> Tensor:
        """The erasure's loss at a concept's step `number`."""
        seen = plan.ways.draw(self.batch_size, generator)
        anchor = plan.anchors[number % len(plan.anchors)]
        target = self.target(base, seen, anchor[None], plan.words)
        rows = [0] * self.batch_size
        if self.trained == "all":
            rows = integers(generator, 0, len(plan.words), self.batch_size)
        return mse_loss(model.predict_noise(seen.latents, seen.timestep, plan.words[rows]), target)

    def search(
        self, base: DiffusionModel, concept: Concept, ways: Ways, clean: Tensor, context: EraseContext
    ) -> "Searched":
        """Words that bring the concept back in spite of ever more of them being erased."""
        edited = base.frozen_copy()
        captions = _CAPTIONS.get(concept.kind, TEMPLATES) if self.captions == "kind" else TEMPLATES
        written = "{}" if self.alone else _naming(concept)
        present, words, losses = ways.embeddings, [], []
        for number in range(self.rounds):
            seed = image_seed("search", concept.name, number, context.seed)
            own = replace(context, seed=seed)
            with self._tuning(edited, self.search_rate, self.search_steps, own) as tuning:
                for _ in tuning:
                    seen = ways.draw(self.batch_size, tuning.generator)
                    with torch.no_grad():
                        said = base.predict_noise(seen.latents, seen.timestep, present)
                    target = away_from(seen.unconditional, said, self.eta)
                    predicted = edited.predict_noise(seen.latents, seen.timestep, present)
                    tuning.minimise([mse_loss(predicted, target)])
            _load(edited, tuning.tensors)
            inverted = invert(
                edited,
                clean,
                word_embeddings(base, concept.anchor)[-1:],
                steps=self.inversion_steps,
                learning_rate=self.inversion_rate,
                batch_size=self.batch_size,
                context=own,
                templates=captions,
            )
            losses += [*tuning.losses, *inverted.losses]
            with torch.no_grad():
                vectors = inverted.vectors.to(base.device)
                present = encoded(base, with_word(base, [written], 1), vectors)
            words.append(present)
        return Searched(tuple(words), tuple(losses))

    def target(self, base: DiffusionModel, seen: OnTheWay, anchor: Tensor, words: Tensor) -> Tensor:
        """ε_∅ + s_a Δ(a) − s_n mean Δ(v); embeddings are [1, tokens, width] and [words, tokens, width]."""
        target = seen.unconditional.clone()
        with torch.no_grad():
            if self.towards:
                target += self.towards * self._lead(base, seen, anchor)
            if self.away:
                leads = [self._lead(base, seen, word[None]) for word in words]
                target -= self.away * torch.stack(leads).mean(0)
        return target

    def _lead(self, base: DiffusionModel, seen: OnTheWay, embeddings: Tensor) -> Tensor:
        """Δ of one prompt, for every latent."""
        said = base.predict_noise(seen.latents, seen.timestep, embeddings)
        return guided_part(said, seen.unconditional, self.parallel)

    def _tuning(self, model: DiffusionModel, rate: float, steps: int, context: EraseContext) -> FineTune:
        return FineTune(
            model,
            self.parameters,
            learning_rate=rate,
            steps=steps,
            context=context,
            optimiser=self.optimiser,
            gradient_checkpointing=self.gradient_checkpointing,
        )

    def _anchors(self, base: DiffusionModel, concept: Concept) -> Tensor:
        prompts = list(dict.fromkeys(pair.anchor for pair in prompt_pairs(concept)))[: self.anchors]
        with torch.no_grad():
            return base.encode_prompts(prompts)

    def _pictures(self, model: DiffusionModel, concept: Concept, context: EraseContext) -> Tensor:
        """Latents of the concept's pictures."""
        pairs = prompt_pairs(concept)
        shown = draw_examples(model, pairs, self.images, "target", self._drawing(), context)
        return clean_latents(model, as_floats(torch.stack([one.image for one in shown])))

    def _drawing(self) -> Drawing:
        return Drawing(scheduler=self.scheduler, steps=self.denoise_steps, guidance_scale=self.picture_scale)


class Plan(NamedTuple):
    """For one concept: latents on the way to its phrase's pictures, and embeddings [n, tokens, width] of the
    words to lead away from, its phrase the first of them, and of its anchor's prompts."""

    ways: Ways
    words: Tensor
    anchors: Tensor


class Searched(NamedTuple):
    """The text embeddings [1, tokens, width] of the words that were found, and the losses of all steps."""

    words: tuple[Tensor, ...]
    losses: tuple[float, ...]


def guided_part(said: Tensor, unconditional: Tensor, parallel: float) -> Tensor:
    """(ε_p − ε_∅)⊥ + ρ (ε_p − ε_∅)∥ for each of n images [n, channels, height, width], ρ = `parallel`.

    Sadat, Hilliges, Weber: Eliminating Oversaturation and Artifacts of High Guidance Scales (APG), ICLR 2025.
    """
    difference = said - unconditional
    length = said.square().sum((1, 2, 3), keepdim=True).clamp(min=1e-12)
    along = (difference * said).sum((1, 2, 3), keepdim=True) / length * said
    return difference - along + parallel * along


_CAPTIONS = {"style": OF_A_STYLE, "identity": OF_A_PERSON}
"""What a word stands in while it is sought, by the concept's kind; `TEMPLATES` where it is of no such one."""


def _naming(concept: Concept) -> str:
    """What a found word stands in: a style is added to a picture, anything else is its subject."""
    return "a picture in the style of {}" if concept.kind == "style" else "a photo of {}"


def _load(model: DiffusionModel, tensors: Mapping[str, Tensor]) -> None:
    own = model.named_tensors()
    with torch.no_grad():
        for name, tensor in tensors.items():
            own[name].copy_(tensor)


OFFICIAL: dict[str, Any] = {
    "parameters": "u",
    "sampled_by": "base",
    "eta": 0.0,
    "images": 500,
    "captions": "kind",
    "alone": True,
    "trained": "all",
    "towards": 1.0,
    "away": 3.0,
}
PAPER: dict[str, Any] = OFFICIAL | {"away": 2.0}
MICROWORLD: dict[str, Any] = {
    "sampled_by": "base",
    "timestep": "sampler",
    "denoise_steps": 20,
    "trajectories": 16,
    "parameters": "xattn",
    "away": 2.0,
    "rounds": 2,
    "search_steps": 25,
    "search_rate": 4e-4,
    "inversion_steps": 50,
    "inversion_rate": 2e-2,
    "images": 48,
    "picture_scale": 4.0,
    "trained": "all",
    "steps": 80,
    "batch_size": 8,
    "learning_rate": 6e-4,
}

STEREO = MethodCard(
    name="stereo",
    title="STEREO",
    paper="Srivatsan et al., STEREO: A Two-Stage Framework for Adversarially Robust Concept Erasing from "
    "Text-to-Image Diffusion Models, CVPR 2025, arXiv:2408.16807",
    formula="min_θ ‖ε_θ(x_t, c) − [ε_∅ + s_a Δ(a) − s_n mean_k Δ(v_k)]‖², v_k found by textual inversion",
    build=Stereo,
    presets={"official": OFFICIAL, "paper": PAPER, "microworld": MICROWORLD},
    quick={
        "rounds": 2,
        "denoise_steps": 4,
        "search_steps": 1,
        "inversion_steps": 2,
        "images": 2,
        "steps": 2,
    },
    many_concepts=True,
    notes="Preset official has the numbers of the code (86f124f), as its options are by default: a guidance "
    "scale of 2, which comes to η 0 in the search, s_a 1 and s_n 3 (preset paper: 2, not checked against "
    "the paper), ρ 1, which keeps both parts, and 500 pictures of the concept, there an equal part of them "
    "for each round. Its noxattn is every Linear and Conv2d without attn2, which is u here. Its command for "
    "nudity has 2 rounds. There latents are on the way to the phrase or word that a step trains, by the "
    "model as it is trained, and each round of the search learns from the model of the round before; here "
    "they are on the way to the phrase, and both are the base model's. Written from formulas: the code has "
    "no licence. Several concepts are searched for one by one.",
)
