"""Forget-Me-Not (FMN).

Zhang, Wang, Xu, Wang, Shi: Forget-Me-Not: Learning to Forget in Text-to-Image Diffusion Models,
arXiv:2303.17591. The concept is first found as vectors v of textual inversion, then the UNet is trained until
no cross-attention looks at its tokens any more (attention resteering):

    L = Σ_layers mean over heads, positions and the concept's tokens of A²         A = softmax(q kᵀ / √d)

or, as the official code has it, the norm of all these A in one.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple

import torch
from pydantic import NonNegativeInt, PositiveFloat, PositiveInt
from torch import Generator, Tensor

from erasure_bench.methods.base import EraseContext, MethodCard, Need
from erasure_bench.methods.edit import Edit, check_concepts, new_edit
from erasure_bench.methods.machinery.attention_maps import attention_maps
from erasure_bench.methods.machinery.base_images import as_floats
from erasure_bench.methods.machinery.cost import Meter
from erasure_bench.methods.machinery.drawn_pictures import DrawnPictures
from erasure_bench.methods.machinery.examples import clean_latents, draw_examples, examples_needed
from erasure_bench.methods.machinery.lots import integers
from erasure_bench.methods.machinery.parameters import UNetGroup
from erasure_bench.methods.machinery.prompt_pairs import prompt_pairs
from erasure_bench.methods.machinery.soft_tokens import (
    encoded,
    slot_mask,
    with_word,
    word_embeddings,
)
from erasure_bench.methods.machinery.textual_inversion import TEMPLATES, invert
from erasure_bench.methods.machinery.training import FORWARD_AND_BACKWARD, FineTune, OptimiserName
from erasure_bench.models.diffusion_model import DiffusionModel
from erasure_bench.models.seeds import image_seed
from erasure_bench.models.token_input import Tokens
from erasure_bench.prompt_suites.concepts import Concept


@dataclass(frozen=True, kw_only=True)
class ForgetMeNot(DrawnPictures):
    """Settings of Forget-Me-Not; the numbers of preset official are the official code's.

    The concept's tokens: `inversion_tokens` vectors that `inversion_steps` steps of textual inversion at
    `inversion_rate` find on the concept's pictures, or with no such step the concept's own phrase.
    `images` pictures of each concept are drawn by the base model with `denoise_steps` steps of `scheduler`,
    `eta` and `guidance_scale`.

    `parameters` take `steps` steps of `optimiser` at `learning_rate` on `batch_size` pictures with noise, the
    gradient no longer than `clip_norm`. The `loss` is the mean of each layer, summed, or the `norm` of all
    that is looked at; with `end_tokens` the end token is among the concept's, and with it the padding where
    that is the same token.
    """

    parameters: UNetGroup = "full"
    inversion_tokens: PositiveInt = 4
    inversion_steps: NonNegativeInt = 500
    inversion_rate: PositiveFloat = 1e-3
    images: PositiveInt = 8
    steps: NonNegativeInt = 35
    optimiser: OptimiserName = "adamw"
    learning_rate: PositiveFloat = 2e-6
    batch_size: PositiveInt = 1
    loss_of: Literal["layers", "norm"] = "layers"
    end_tokens: bool = False
    clip_norm: PositiveFloat | None = None
    gradient_checkpointing: bool = False

    def unused_settings(self) -> Mapping[str, str]:
        """Those of textual inversion, where the phrase itself is taken."""
        without = "with inversion_steps=0"
        return {} if self.inversion_steps else dict.fromkeys(("inversion_tokens", "inversion_rate"), without)

    def erase(self, model: DiffusionModel, concepts: Sequence[Concept], context: EraseContext) -> Edit:
        """The UNet's weights that look away from the concepts' tokens; each step is about one concept."""
        check_concepts(concepts)
        pictures = [self._pictures(model, concept, context) for concept in concepts]
        losses: list[float] = []
        with Meter(model.device) as meter:
            found = []
            for concept, clean in zip(concepts, pictures, strict=True):
                found.append(self.find(model, concept, clean, context))
                losses += found[-1].losses
            with FineTune(
                model,
                self.parameters,
                learning_rate=self.learning_rate,
                steps=self.steps,
                context=context,
                optimiser=self.optimiser,
                clip_norm=self.clip_norm,
                gradient_checkpointing=self.gradient_checkpointing,
            ) as tuning:
                for step in tuning:
                    turn = step % len(concepts)
                    tuning.minimise(self.loss(model, found[turn], pictures[turn], tuning.generator))
            losses += tuning.losses
        return new_edit(
            "forget-me-not",
            self,
            model,
            concepts,
            tensors=tuning.tensors,
            cost=meter.cost(len(losses)),
            losses=losses,
        )

    def needs(self, concepts: Sequence[Concept], context: EraseContext) -> tuple[Need, ...]:
        """The pictures of every concept, and the steps with those of textual inversion."""
        pictures = [
            examples_needed(prompt_pairs(concept), self.images, "target", self.drawing(), context)
            for concept in concepts
        ]
        count = self.inversion_steps * len(concepts) + self.steps
        return (*pictures, Need(unit="steps", count=count, passes=FORWARD_AND_BACKWARD * self.batch_size))

    def find(self, model: DiffusionModel, concept: Concept, clean: Tensor, context: EraseContext) -> "Found":
        """The concept's tokens: by textual inversion on its pictures' latents, or its phrase's own."""
        own = word_embeddings(model, concept.target)
        if not self.inversion_steps:
            return Found(own, with_word(model, TEMPLATES, len(own)), ())
        places = [place % len(own) for place in range(self.inversion_tokens)]
        seed = image_seed("inversion", concept.name, 0, context.seed)
        inverted = invert(
            model,
            clean,
            own[places],
            steps=self.inversion_steps,
            learning_rate=self.inversion_rate,
            batch_size=self.batch_size,
            context=replace(context, seed=seed),
        )
        prompts = with_word(model, TEMPLATES, self.inversion_tokens)
        return Found(inverted.vectors, prompts, inverted.losses)

    def loss(
        self, model: DiffusionModel, found: "Found", clean: Tensor, generator: Generator
    ) -> Iterator[Tensor]:
        """L on pictures with noise, under prompts with the concept's tokens in them: one summand."""
        rows = integers(generator, 0, len(clean), self.batch_size)
        said = integers(generator, 0, len(found.prompts.ids), self.batch_size)
        timesteps = torch.randint(0, model.num_train_timesteps, (len(rows),), generator=generator)
        noise = torch.randn(clean[rows].shape, generator=generator).to(clean)
        timesteps = timesteps.to(model.device)
        seen = model.add_noise(clean[rows], noise, timesteps)
        with torch.no_grad():
            embeddings = encoded(model, found.prompts, found.vectors.to(model.device))[said]
        tokens = slot_mask(found.prompts)
        if self.end_tokens:
            tokens = tokens | (found.prompts.ids == model.tokenizer.eos_token_id)
        # Gradient checkpointing runs blocks again for the gradient: the maps must be made there as well.
        with attention_maps(model.unet) as maps:
            model.predict_noise(seen, timesteps, embeddings)
            yield (attention_norm if self.loss_of == "norm" else attention_loss)(maps, tokens[said])

    def _pictures(self, model: DiffusionModel, concept: Concept, context: EraseContext) -> Tensor:
        """Latents of the concept's pictures."""
        pairs = prompt_pairs(concept)
        shown = draw_examples(model, pairs, self.images, "target", self.drawing(), context)
        return clean_latents(model, as_floats(torch.stack([one.image for one in shown])))


class Found(NamedTuple):
    """A concept's tokens [k, width], prompts with room for them, and the losses of finding them."""

    vectors: Tensor
    prompts: Tokens
    losses: tuple[float, ...]


def attention_loss(maps: Sequence[Tensor], tokens: Tensor) -> Tensor:
    """Σ over maps [n, heads, positions, tokens] of the mean A² at the `tokens` [n, tokens] that are true."""
    total = torch.zeros((), device=maps[0].device)
    for probabilities in maps:
        chosen = tokens.to(probabilities)[:, None, None, :]
        _, heads, positions, _ = probabilities.shape
        count = chosen.sum() * heads * positions
        total = total + (probabilities.float().square() * chosen).sum() / count
    return total


def attention_norm(maps: Sequence[Tensor], tokens: Tensor) -> Tensor:
    """√ Σ A² over all maps [n, heads, positions, tokens], at the `tokens` [n, tokens] that are true."""
    chosen = [probabilities.float() * tokens.to(probabilities)[:, None, None, :] for probabilities in maps]
    return torch.stack([each.square().sum() for each in chosen]).sum().sqrt()


OFFICIAL: dict[str, Any] = {
    "inversion_steps": 500,
    "steps": 35,
    "learning_rate": 2e-6,
    "loss_of": "norm",
    "end_tokens": True,
    "clip_norm": 1.0,
}
MICROWORLD: dict[str, Any] = {
    "images": 48,
    "denoise_steps": 20,
    "guidance_scale": 4.0,
    "inversion_steps": 0,
    "parameters": "xattn",
    "steps": 60,
    "batch_size": 8,
    "learning_rate": 2e-4,
    "end_tokens": True,
}

FMN = MethodCard(
    name="fmn",
    title="Forget-Me-Not",
    paper="Zhang et al., Forget-Me-Not: Learning to Forget in Text-to-Image Diffusion Models, "
    "CVPR Workshops 2024, arXiv:2303.17591",
    formula="min_θ Σ_layers ‖A_θ(x_t, v)‖² at the tokens v of the concept",
    build=ForgetMeNot,
    presets={"official": OFFICIAL, "microworld": MICROWORLD},
    quick={"images": 2, "denoise_steps": 2, "inversion_steps": 2, "steps": 2},
    many_concepts=True,
    notes="Preset official has the numbers of the code (a4a81e8), which are for Stable Diffusion 2.1: 500 "
    "steps of textual inversion at 1e-3 for 4 tokens, then 35 of AdamW at 2e-6 on all of the UNet, with its "
    "loss, the norm of all that is looked at, and its end token among the concept's (use_pooler). Its "
    "pictures are a user's, here the base model's; its prompts are a photo of the tokens, or of a style one "
    "in the style of them, here those that textual inversion has, of a style too; its textual inversion "
    "begins with two of the phrase's tokens and two random ones, and decays. In others' tables, too, a weak "
    "eraser. The built-in model's preset takes the phrase's own tokens and those of the end, without textual "
    "inversion, and a mean for each layer. Without the end tokens "
    "it takes more of them there, and what it draws in their place is mostly nothing.",
)
