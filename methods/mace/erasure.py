"""MACE: mass concept erasure.

Lu, Wang, Li, Liu, Kong: MACE: Mass Concept Erasure in Diffusion Models, CVPR 2024. Three steps, each for all
keys and values W of the cross-attention. First the other words of a prompt forget the concept: what a prompt
shares with its twin, which names the anchor in the concept's place, has embeddings e_f in the one and e_g in
the other,

    W' = argmin Σ ‖W' e_f − W e_g‖² + λ₁ Σ_p ‖W' e_p − W e_p‖²

Then every concept has an adapter of its own, W' + B D, of low rank, with which nothing in the region M of a
picture that the concept covers looks at the concept's own words any more:

    min_{B, D} Σ_layers ‖A ⊙ M‖²       t ~ σ(γ (t − t₁)) − σ(γ (t − t₂))

Last they become one, i over the concepts and f over all tokens of their prompts:

    W* = argmin Σ_i Σ_f ‖W* e_f − (W' + B_i D_i) e_f‖² + λ₂ Σ_p ‖W* e_p − W e_p‖²

Both fits have κ ‖W* − W‖² besides, so that there is one solution whatever the prompts.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple

import torch
from pydantic import NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt
from torch import Generator, Tensor, nn
from torch.nn.functional import interpolate

from erasure_bench.errors import BenchError
from erasure_bench.methods.base import EraseContext, MethodCard, Need
from erasure_bench.methods.edit import Edit, check_concepts, new_edit
from erasure_bench.methods.mace.fits import fitted, second_moment
from erasure_bench.methods.mace.pictures import Pictures, WithMasks
from erasure_bench.methods.mace.words import Alike
from erasure_bench.methods.machinery.adapters import DOWN, UP, adapted, new_adapter
from erasure_bench.methods.machinery.attention_maps import attention_maps
from erasure_bench.methods.machinery.closed_form import matrices, text_embeddings
from erasure_bench.methods.machinery.cost import Meter
from erasure_bench.methods.machinery.general_prompts import silent_on
from erasure_bench.methods.machinery.lots import integers
from erasure_bench.methods.machinery.prompt_pairs import prompt_pairs
from erasure_bench.methods.machinery.training import FORWARD_AND_BACKWARD, OptimiserName, Training
from erasure_bench.models.diffusion_model import DiffusionModel
from erasure_bench.models.image_model import wide
from erasure_bench.models.seeds import image_seed
from erasure_bench.prompt_suites.concepts import Concept


@dataclass(frozen=True, kw_only=True)
class MACE(WithMasks):
    """Settings of MACE; the card says which of the defaults are the paper's.

    What a prompt shares with its twin is its `words` alone, or `all` of its tokens: with its end token and
    the padding. `refine_prior` is λ₁, `fuse_prior` λ₂; e_p are all tokens of `prior_prompts` of the model's
    general prompts that do not speak of a concept. `keep_scale` is κ.

    The adapters have `rank` and take `steps` steps of `optimiser` at `learning_rate` each, on `batch_size`
    pictures with the noise of timesteps that are drawn `uniform`, or `focal`: around the stretch from
    `focal_from` (t₁) to `focal_to` (t₂), with γ `focal_slope`. `fusion` makes them one by the fit above, or
    takes their `mean`, W' + (1/q) Σ B_i D_i (equation 6, with equal weights). What the other settings mean,
    `WithMasks` says.
    """

    shared: Literal["words", "all"] = "all"
    prior_prompts: PositiveInt = 1000
    refine_prior: NonNegativeFloat = 0.01
    keep_scale: PositiveFloat = 0.1
    rank: PositiveInt = 1
    timesteps: Literal["focal", "uniform"] = "focal"
    focal_from: float = 200.0
    focal_to: float = 400.0
    focal_slope: PositiveFloat = 0.05
    steps: NonNegativeInt = 50
    optimiser: OptimiserName = "adamw"
    learning_rate: PositiveFloat = 1e-5
    batch_size: PositiveInt = 1
    fusion: Literal["fit", "mean"] = "fit"
    fuse_prior: NonNegativeFloat = 0.01

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.focal_from >= self.focal_to:
            raise BenchError(
                f"focal_from={self.focal_from:g}: valid: below focal_to={self.focal_to:g} "
                "(--method-option focal_from=…)"
            )

    def unused_settings(self) -> Mapping[str, str]:
        """Those of timesteps that are drawn uniformly, and of adapters whose mean is taken."""
        unused: dict[str, str] = {}
        if self.timesteps == "uniform":
            unused |= dict.fromkeys(("focal_from", "focal_to", "focal_slope"), "with timesteps=uniform")
        if self.fusion == "mean":
            unused["fuse_prior"] = "with fusion=mean"
        return unused

    def needs(self, concepts: Sequence[Concept], context: EraseContext) -> tuple[Need, ...]:
        """The pictures that the base model draws, and every concept's steps."""
        steps = Need(
            unit="steps", count=self.steps * len(concepts), passes=FORWARD_AND_BACKWARD * self.batch_size
        )
        return (*self.pictures_needed(concepts, context), steps)

    def erase(self, model: DiffusionModel, concepts: Sequence[Concept], context: EraseContext) -> Edit:
        """New keys and values of the cross-attention; the fits are solved in float64 on the CPU."""
        check_concepts(concepts)
        self._check_stretch(model.num_train_timesteps)
        pictures = [self.pictures(model, concept, context) for concept in concepts]
        losses: list[float] = []
        with Meter(model.device) as meter:
            prior = self._prior(model, concepts, context)
            original = {name: weight.double() for name, weight in matrices(model).items()}
            refined = model.frozen_copy()
            put_into(refined, self.refine(model, original, concepts, prior))
            start = {name: weight.double() for name, weight in matrices(refined).items()}
            adapters = []
            for concept, one in zip(concepts, pictures, strict=True):
                seed = image_seed("adapter", concept.name, 0, context.seed)
                trained = self.train(refined, one, replace(context, seed=seed))
                losses += trained.losses
                adapters.append(trained.changes)
            found = self.fuse(model, original, start, adapters, concepts, prior)
            tensors = {
                name: new
                for name, weight in matrices(model).items()
                if not torch.equal(new := found[name].to(weight.dtype), weight)
            }
        return new_edit(
            "mace", self, model, concepts, tensors=tensors, cost=meter.cost(len(losses)), losses=losses
        )

    def refine(
        self,
        model: DiffusionModel,
        original: Mapping[str, Tensor],
        concepts: Sequence[Concept],
        prior: Tensor,
    ) -> dict[str, Tensor]:
        """W' of every W in `original`; `prior` is Σ e_p e_pᵀ."""
        forgotten, instead = self.shared_tokens(model, concepts)
        seen, mixed = forgotten.T @ forgotten, instead.T @ forgotten
        held = self._held(self.refine_prior, prior)
        return {name: fitted(weight, weight @ mixed, seen, held) for name, weight in original.items()}

    def train(self, refined: DiffusionModel, pictures: Pictures, context: EraseContext) -> "Trained":
        """One concept's adapter in a model that has W'; the model stays as it is."""
        start = start_of_adapters(refined, self.rank, context.seed)
        parameters = {name: nn.Parameter(tensor) for name, tensor in start.items()}
        with Training(
            parameters,
            device=refined.device,
            learning_rate=self.learning_rate,
            steps=self.steps,
            context=context,
            optimiser=self.optimiser,
        ) as tuning:
            for _ in tuning:
                rows = integers(tuning.generator, 0, len(pictures.latents), self.batch_size)
                loss = self.loss(refined, parameters, pictures.chosen(rows), tuning.generator)
                tuning.minimise([loss])
        values = {name: tuning.tensors.get(name, tensor.detach().cpu()) for name, tensor in start.items()}
        changes = {
            name: values[f"{module_of(name)}.{UP}"].double() @ values[f"{module_of(name)}.{DOWN}"].double()
            for name in matrices(refined)
        }
        return Trained(changes, tuple(tuning.losses))

    def loss(
        self,
        model: DiffusionModel,
        adapters: Mapping[str, Tensor],
        pictures: Pictures,
        generator: Generator,
    ) -> Tensor:
        """Σ_layers ‖A ⊙ M‖² on the pictures, each with the noise of a timestep of its own."""
        timesteps = self._timesteps(model.num_train_timesteps, len(pictures.latents), generator)
        noise = torch.randn(pictures.latents.shape, generator=generator).to(pictures.latents)
        seen = model.add_noise(pictures.latents, noise, timesteps.to(model.device))
        # The maps are of the keys that the adapters have changed: their hooks come first.
        with adapted(model, adapters, place="beside"), attention_maps(model.unet) as maps:
            model.predict_noise(seen, timesteps.to(model.device), pictures.embeddings)
        return attention_inside(maps, pictures.words, pictures.masks)

    def fuse(
        self,
        model: DiffusionModel,
        original: Mapping[str, Tensor],
        refined: Mapping[str, Tensor],
        adapters: Sequence[Mapping[str, Tensor]],
        concepts: Sequence[Concept],
        prior: Tensor,
    ) -> dict[str, Tensor]:
        """W* of every W in `original`, from W' in `refined` and B_i D_i of every concept in `adapters`."""
        if self.fusion == "mean":
            return {
                name: weight + torch.stack([one[name] for one in adapters]).mean(0)
                for name, weight in refined.items()
            }
        seen = [second_moment(model, self._targets(concept)) for concept in concepts]
        held, every = self._held(self.fuse_prior, prior), torch.stack(seen).sum(0)
        return {
            name: fitted(
                weight,
                sum(
                    ((refined[name] + one[name]) @ own for one, own in zip(adapters, seen, strict=True)),
                    start=torch.zeros_like(weight),
                ),
                every,
                held,
            )
            for name, weight in original.items()
        }

    def shared_tokens(self, model: DiffusionModel, concepts: Sequence[Concept]) -> tuple[Tensor, Tensor]:
        """e_f and e_g, a row each, [n, width]: of every prompt of a concept and its twin."""
        pairs = [
            (target, pair.anchor)
            for concept in concepts
            for pair in prompt_pairs(concept)
            for target in pair.targets
        ]
        texts = text_embeddings(model, [text for pair in pairs for text in pair])
        forgotten, instead = [], []
        for target, anchor in pairs:
            alike = Alike.of(model.tokenizer, target, anchor)
            own, its = alike.places(len(texts[target]) if self.shared == "all" else None)
            forgotten.append(texts[target][own])
            instead.append(texts[anchor][its])
        return torch.cat(forgotten), torch.cat(instead)

    def _held(self, weight: float, prior: Tensor) -> Tensor:
        """λ Σ e_p e_pᵀ + κ I."""
        return weight * prior + self.keep_scale * torch.eye(len(prior), dtype=prior.dtype)

    def _prior(self, model: DiffusionModel, concepts: Sequence[Concept], context: EraseContext) -> Tensor:
        general = context.general_prompts
        silent = [general[place] for place in silent_on(concepts, general)][: self.prior_prompts]
        return second_moment(model, silent)

    def _targets(self, concept: Concept) -> list[str]:
        """All prompts of a concept."""
        return [target for pair in prompt_pairs(concept) for target in pair.targets]

    def _check_stretch(self, every: int) -> None:
        """Raises BenchError where none of the timesteps 0 to `every` − 1 lies in the focal stretch."""
        if self.timesteps == "focal" and not (self.focal_from < every and self.focal_to > 0):
            raise BenchError(
                f"focal_from={self.focal_from:g}, focal_to={self.focal_to:g}: none of the model's timesteps "
                f"0 to {every - 1} lies between (--method-option focal_from=…, timesteps=uniform)"
            )

    def _timesteps(self, every: int, count: int, generator: Generator) -> Tensor:
        if self.timesteps == "uniform":
            return torch.randint(0, every, (count,), generator=generator)
        weights = focal_weights(every, self.focal_from, self.focal_to, self.focal_slope)
        return torch.multinomial(weights, count, replacement=True, generator=generator)


class Trained(NamedTuple):
    """B D of every W, float64 on the CPU, and the losses."""

    changes: dict[str, Tensor]
    losses: tuple[float, ...]


def module_of(name: str) -> str:
    """The module in the UNet that a tensor of the model is the weight of."""
    return name.removeprefix("unet.").removesuffix(".weight")


def put_into(model: DiffusionModel, tensors: Mapping[str, Tensor]) -> None:
    """Sets a model's tensors of these names, in its own dtype."""
    own = model.named_tensors()
    with torch.no_grad():
        for name, tensor in tensors.items():
            own[name].copy_(tensor)


def start_of_adapters(model: DiffusionModel, rank: int, seed: int) -> dict[str, Tensor]:
    """D and B beside every key and value as they begin, in the model's dtype, on its device."""
    generator = Generator().manual_seed(seed)
    found = {}
    for name, weight in matrices(model).items():
        for part, tensor in zip((DOWN, UP), new_adapter(weight, rank, generator), strict=True):
            found[f"{module_of(name)}.{part}"] = tensor.to(model.device, model.dtype)
    return found


def focal_weights(every: int, start: float, end: float, slope: float) -> Tensor:
    """The probabilities of timesteps 0 to `every` − 1, σ(γ (t − t₁)) − σ(γ (t − t₂)) of their sum."""
    steps = torch.arange(every, dtype=torch.float64)
    weights = torch.sigmoid(slope * (steps - start)) - torch.sigmoid(slope * (steps - end))
    return weights / weights.sum()


def attention_inside(maps: Sequence[Tensor], words: Tensor, masks: Tensor) -> Tensor:
    """Σ_layers ‖A ⊙ M‖², a mean over pictures and heads.

    `maps` are [n, heads, positions, tokens], `words` [n, tokens] is true at the columns that count, and
    `masks` [n, 1, height, width] is brought to each map's own side.
    """
    total = torch.zeros((), device=maps[0].device, dtype=wide(maps[0]).dtype)
    for probabilities in maps:
        count, heads, positions, _ = probabilities.shape
        side = math.isqrt(positions)
        inside = interpolate(wide(masks), size=(side, side), mode="area").flatten(2)[..., None]
        kept = wide(probabilities) * inside * words.to(probabilities)[:, None, None, :]
        total = total + kept.square().sum() / (count * heads)
    return total


NUDITY: dict[str, Any] = {"steps": 120, "timesteps": "uniform"}
MICROWORLD: dict[str, Any] = {
    "refine_prior": 0.3,
    "fuse_prior": 0.3,
    "images": 24,
    "denoise_steps": 20,
    "guidance_scale": 4.0,
    "masks": "known",
    "mask_side": 8,
    "steps": 60,
    "learning_rate": 1e-3,
    "batch_size": 8,
}

MACE_CARD = MethodCard(
    name="mace",
    version="2",
    title="Mass Concept Erasure",
    paper="Lu et al., MACE: Mass Concept Erasure in Diffusion Models, CVPR 2024, arXiv:2403.06135",
    formula="W' = argmin Σ ‖W' e_f − W e_g‖² + λ₁ Σ_p ‖(W' − W) e_p‖²,  min_{B, D} Σ_layers ‖A ⊙ M‖²,  "
    "W* = argmin Σ_i Σ_f ‖W* e_f − (W' + B_i D_i) e_f‖² + λ₂ Σ_p ‖(W* − W) e_p‖²",
    build=MACE,
    presets={"official": {}, "official-nudity": NUDITY, "microworld": MICROWORLD},
    quick={"images": 2, "denoise_steps": 2, "mask_side": 8, "steps": 2, "batch_size": 1},
    many_concepts=True,
    general_prompts=True,
    notes="From the paper's three objectives; the official code's licence forbids commercial use, and it "
    "was not read. Held against the paper's text: the fits (equations 1, 2 and 7, e_p from COCO's "
    "captions), the loss (3), eight pictures a concept, 50 steps of each adapter, γ 0.05 from 200 to 400 "
    "(5), and fusion=mean, its naive fusion (6), whose weights sum to 1. Said to be the authors' and not in "
    "that text, whose appendix C was not at hand: rank 1, learning rate 1e-5, and for nudity 120 steps at "
    "timesteps drawn uniformly. Ours, as the paper's are not known: λ₁, λ₂, κ, which the paper does not "
    "have, AdamW, the prompts (the concept's anchor prompts with either in them; there a language model's), "
    "the prior's (the general ones), that end token and padding count among the other words, and that the "
    "last fit is over all tokens of a concept's prompts. The masks there are Grounded-SAM's; here they come "
    "from the base model's cross-attention, and in the built-in world's preset they are known, its pictures "
    "being drawn and not generated where a prompt allows it. Where a target has the anchor's word in it, as "
    "grumpy cat has cat, that is another word and not the concept's own; in the paper all of the target's "
    "words are. Of what is added to a prompt, as a style is, all of the addition is the concept's own: in "
    "mosaic style, and not mosaic alone.",
)
